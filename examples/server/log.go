package main

import (
	"cmp"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// A logged response remembers what the log is to say of it.
type logged struct {
	http.ResponseWriter
	status  int // zero: not set, which means 200
	tokenID string
}

func (l *logged) WriteHeader(status int) {
	if l.status == 0 && status >= 200 { // others announce the one to come
		l.status = status
	}
	l.ResponseWriter.WriteHeader(status)
}

// Unwrap is for [http.ResponseController].
func (l *logged) Unwrap() http.ResponseWriter { return l.ResponseWriter }

// logRequests writes one line for each request, also for those that are refused.
func logRequests(logger *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin, response := time.Now(), &logged{ResponseWriter: w}
		next.ServeHTTP(response, r)
		logger.LogAttrs(r.Context(), slog.LevelInfo, "request",
			// Not what the client wrote, but which of our routes it took: some
			// put a key into the path, or where the method belongs.
			slog.String("route", r.Pattern),
			slog.Int("status", cmp.Or(response.status, http.StatusOK)),
			slog.Duration("duration", time.Since(begin)),
			slog.String("token", response.tokenID))
	})
}

// logToken puts the token that an Authenticator found on the line of the log.
// The Authenticator passes a context on, so what stands outside it can't see it.
func logToken(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := tokenauth.TokenFrom(r.Context())
		if l, ok := w.(*logged); ok {
			l.tokenID = token.ID
		}
		next.ServeHTTP(w, r)
	})
}
