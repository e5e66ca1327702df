package main

import (
	"cmp"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// A logged is a ResponseWriter that records the status and the ID of the token for the log.
type logged struct {
	http.ResponseWriter
	status  int // 0 if the handler has not set a status; the status is then 200
	tokenID string
}

func (l *logged) WriteHeader(status int) {
	if l.status == 0 && status >= 200 { // a 1xx response precedes the final response
		l.status = status
	}
	l.ResponseWriter.WriteHeader(status)
}

// Unwrap returns the wrapped ResponseWriter, which [http.ResponseController] needs.
func (l *logged) Unwrap() http.ResponseWriter { return l.ResponseWriter }

// logRequests logs one line per request, even if the request is refused.
func logRequests(logger *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin, response := time.Now(), &logged{ResponseWriter: w}
		next.ServeHTTP(response, r)
		logger.LogAttrs(r.Context(), slog.LevelInfo, "request",
			// Log the pattern of the route, and neither the path nor the method of the request. Some clients
			// put a key into the path or the method by mistake.
			slog.String("route", r.Pattern),
			slog.Int("status", cmp.Or(response.status, http.StatusOK)),
			slog.Duration("duration", time.Since(begin)),
			slog.String("token", response.tokenID))
	})
}

// logToken adds the ID of the request's token to the line that logRequests writes. logRequests
// cannot read the ID itself, because it runs before the Authenticator adds the token to the
// context.
func logToken(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := tokenauth.TokenFrom(r.Context())
		if l, ok := w.(*logged); ok {
			l.tokenID = token.ID
		}
		next.ServeHTTP(w, r)
	})
}
