// Package recipes has the code that docs/production.md and docs/manage-tokens.md show.
package recipes

import (
	"bufio"
	"cmp"
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// docs: access log

// An outcome is the result of the authentication of one request. Its reason is empty if the
// request was accepted.
type outcome struct {
	token  tokenauth.Token
	reason tokenauth.Reason
}

type outcomeKey struct{}

// setOutcome stores the outcome in the place that AccessLog put into ctx.
func setOutcome(ctx context.Context, o outcome) {
	if place, ok := ctx.Value(outcomeKey{}).(*atomic.Pointer[outcome]); ok {
		place.Store(&o)
	}
}

// LogToken is middleware for the handlers inside Require.
func LogToken(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := tokenauth.TokenFrom(r.Context())
		setOutcome(r.Context(), outcome{token: token})
		next.ServeHTTP(w, r)
	})
}

// LogRefused returns a function for Options.OnEvent that passes each event on to next.
func LogRefused(next func(context.Context, tokenauth.Event)) func(context.Context, tokenauth.Event) {
	return func(ctx context.Context, e tokenauth.Event) {
		if e.Kind == tokenauth.EventRejected {
			setOutcome(ctx, outcome{e.Token, e.Reason})
		}
		next(ctx, e)
	}
}

// A statusWriter keeps the status of a response.
type statusWriter struct {
	http.ResponseWriter
	status   int
	hijacked bool
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// http.ResponseController calls Unwrap and FlushError. Libraries for gRPC and WebSockets call Flush
// and Hijack.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *statusWriter) FlushError() error {
	return http.NewResponseController(w.ResponseWriter).Flush()
}

func (w *statusWriter) Flush() { _ = w.FlushError() }

func (w *statusWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffer, err := http.NewResponseController(w.ResponseWriter).Hijack()
	w.hijacked = w.hijacked || err == nil
	return conn, buffer, err
}

// AccessLog returns middleware for the whole service. It logs one line per request. The status in
// the log is 0 if the handler panics or takes over the connection before it calls WriteHeader.
func AccessLog(logger *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin, response, place, returned := time.Now(), &statusWriter{ResponseWriter: w}, &atomic.Pointer[outcome]{}, false
		place.Store(&outcome{})
		inner := r.WithContext(context.WithValue(r.Context(), outcomeKey{}, place))
		defer func() {
			r.Pattern, r.MultipartForm = inner.Pattern, inner.MultipartForm // for code around AccessLog
			if !returned && r.MultipartForm != nil {
				_ = r.MultipartForm.RemoveAll() // after a panic, net/http leaves uploaded files on the disk
			}
			o, method, route := place.Load(), r.Method, r.Pattern
			if len(method) > len(http.MethodOptions) {
				method = "other" // a client may send a key as the method by mistake
			}
			if method == http.MethodConnect {
				route = "" // ServeMux may set Pattern to the path
			}
			logger.LogAttrs(r.Context(), slog.LevelInfo, "request",
				slog.String("method", method), slog.String("route", route),
				slog.Int("status", response.status), slog.Duration("duration", time.Since(begin)),
				slog.String("token", o.token.ID), slog.String("user", o.token.UserID), slog.String("reason", string(o.reason)))
		}()
		next.ServeHTTP(response, inner)
		if returned = true; !response.hijacked {
			response.status = cmp.Or(response.status, http.StatusOK)
		}
	})
}

// docs: end
