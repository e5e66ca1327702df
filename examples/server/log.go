package main

import (
	"cmp"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// A logged response keeps the status and the token for the log.
type logged struct {
	http.ResponseWriter
	status  int // if zero, 200
	tokenID string
}

func (l *logged) WriteHeader(status int) {
	if l.status == 0 && status >= 200 { // a lower status precedes the final one
		l.status = status
	}
	l.ResponseWriter.WriteHeader(status)
}

// Unwrap is for [http.ResponseController].
func (l *logged) Unwrap() http.ResponseWriter { return l.ResponseWriter }

// logRequests logs one line per request, also for a refused one.
func logRequests(logger *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin, response := time.Now(), &logged{ResponseWriter: w}
		next.ServeHTTP(response, r)
		logger.LogAttrs(r.Context(), slog.LevelInfo, "request",
			// The pattern of the route, not the path or the method of the request: some clients
			// put a key into these by mistake.
			slog.String("route", r.Pattern),
			slog.Int("status", cmp.Or(response.status, http.StatusOK)),
			slog.Duration("duration", time.Since(begin)),
			slog.String("token", response.tokenID))
	})
}

// logToken adds the ID of the request's token to the line that logRequests writes. logRequests
// itself cannot read it: it runs before the Authenticator adds the token to the context.
func logToken(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := tokenauth.TokenFrom(r.Context())
		if l, ok := w.(*logged); ok {
			l.tokenID = token.ID
		}
		next.ServeHTTP(w, r)
	})
}
