package recipes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/tokenapi"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// A logged is a service with an access log.
type logged struct {
	*tokenauthtest.Kit
	handler http.Handler
	lines   *bytes.Buffer
}

func newLogged(t *testing.T, orders http.HandlerFunc) logged {
	t.Helper()
	s := logged{lines: &bytes.Buffer{}}
	kit, auth := newKit(t, LogRefused(ignore))
	s.Kit = kit
	logger, mux := slog.New(slog.NewJSONHandler(s.lines, nil)), http.NewServeMux()
	api, err := tokenapi.New(auth, func(*http.Request) (string, error) { return "", nil }, nil)
	require.NoError(t, err)
	// docs: mount access log
	mux.Handle("POST /orders/{id}", auth.RequireScopes("orders:write")(LogToken(orders)))
	mux.Handle("/api/", auth.Optional(LogToken(http.StripPrefix("/api", api)))) // tokenapi
	handler := AccessLog(logger, mux)
	// docs: end
	mux.Handle("/proxy/{name}/", http.NotFoundHandler())
	s.handler = handler
	return s
}

// line returns the only line of the log, without its times, and clears the log.
func (s logged) line(t *testing.T) map[string]any {
	t.Helper()
	_, _ = leak.Default.Write(s.lines.Bytes())
	fields := map[string]any{}
	require.NoError(t, json.Unmarshal(s.lines.Bytes(), &fields), s.lines.String())
	require.GreaterOrEqual(t, fields["duration"], 0.0)
	for _, name := range []string{"time", "level", "msg", "duration"} {
		delete(fields, name)
	}
	s.lines.Reset()
	return fields
}

// An operator must find each request of a token in the log, also the refused ones, and must never
// find a key, a path or a query.
func TestAccessLogHasTokenOfEachRequest(t *testing.T) {
	t.Parallel()
	s := newLogged(t, func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("id") == "taken" {
			w.WriteHeader(http.StatusConflict)
		}
	})
	key, id := issue(t, s.Kit, "orders:write")
	reader, readerID := issue(t, s.Kit)
	want := func(status int, token, reason string) map[string]any {
		user := ""
		if token != "" {
			user = "42"
		}
		return map[string]any{"method": "POST", "route": "POST /orders/{id}", "status": float64(status), "token": token, "user": user, "reason": reason}
	}
	tests := []struct {
		name, request string
		want          map[string]any
	}{
		{"accepted", "POST /orders/1?secret=1 " + key, want(200, id, "")},
		{"the handler sets a status", "POST /orders/taken " + key, want(409, id, "")},
		{"no key", "POST /orders/1", want(401, "", "")},
		{"malformed key", "POST /orders/1 junk", want(401, "", "malformed")},
		{"no scope", "POST /orders/1 " + reader, want(403, readerID, "scope_missing")},
		{"no route, with a key in the path", "GET /" + key, map[string]any{"method": "GET", "route": "", "status": 404.0, "token": "", "user": "", "reason": ""}},
		{"a route of tokenapi", "GET /api/tokens " + reader, map[string]any{"method": "GET", "route": "/api/", "status": 403.0, "token": readerID, "user": "42", "reason": ""}},
		{"a redirected CONNECT, with a key in the path", "CONNECT /proxy/" + key, map[string]any{"method": "CONNECT", "route": "", "status": 307.0, "token": "", "user": "", "reason": ""}},
		{"a key as the method", key + " /orders/1", map[string]any{"method": "other", "route": "", "status": 405.0, "token": "", "user": "", "reason": ""}},
	}
	for _, tt := range tests {
		send(s.handler, tt.request)
		require.Equal(t, tt.want, s.line(t), tt.name)
	}

	require.NoError(t, s.Manager.Revoke(t.Context(), "42", id))
	send(s.handler, "POST /orders/1 "+key)
	require.Equal(t, want(401, id, "revoked"), s.line(t))
	s.Store.Fail(errors.New("connection refused"))
	send(s.handler, "POST /orders/1 "+key)
	require.Equal(t, want(503, "", "store_failed"), s.line(t))
}

// Middleware around AccessLog, such as that of OpenTelemetry, must see the pattern of the route.
func TestAccessLogPassesPatternOn(t *testing.T) {
	t.Parallel()
	s := newLogged(t, func(http.ResponseWriter, *http.Request) {})
	r := httptest.NewRequest(http.MethodPost, "/orders/1", nil)
	s.handler.ServeHTTP(httptest.NewRecorder(), r)
	require.Equal(t, "POST /orders/{id}", r.Pattern)
}

// A request whose handler panics must not be missing in the log.
func TestAccessLogHasPanickingRequest(t *testing.T) {
	t.Parallel()
	s := newLogged(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	key, id := issue(t, s.Kit, "orders:write")
	require.PanicsWithValue(t, http.ErrAbortHandler, func() { send(s.handler, "POST /orders/1 "+key) })
	line := s.line(t)
	require.Equal(t, 0.0, line["status"])
	require.Equal(t, id, line["token"])
}

// A handler must be able to flush and to set deadlines, and the log must have the final status and
// not an informational one.
func TestAccessLogKeepsResponseController(t *testing.T) {
	t.Parallel()
	s := newLogged(t, func(w http.ResponseWriter, _ *http.Request) {
		control := http.NewResponseController(w)
		w.WriteHeader(http.StatusEarlyHints)
		err := errors.Join(control.SetWriteDeadline(time.Now().Add(time.Minute)), control.Flush())
		_, _ = fmt.Fprint(w, err)
	})
	server := httptest.NewServer(s.handler)
	defer server.Close()
	key, _ := issue(t, s.Kit, "orders:write")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/orders/1", nil)
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+key)
	response, err := server.Client().Do(r)
	require.NoError(t, err)
	var body bytes.Buffer
	_, err = body.ReadFrom(response.Body)
	require.NoError(t, errors.Join(err, response.Body.Close()))
	require.Equal(t, "<nil>", body.String())
	server.Close() // waits for the line
	require.Equal(t, 200.0, s.line(t)["status"])
}

// The events of a Manager that no request calls, such as those of a command, must pass through.
func TestLogRefusedPassesEventsOn(t *testing.T) {
	t.Parallel()
	var got []tokenauth.EventKind
	kit, _ := newKit(t, LogRefused(func(_ context.Context, e tokenauth.Event) { got = append(got, e.Kind) }))
	issue(t, kit)
	_, err := kit.Manager.Authenticate(t.Context(), "junk")
	require.ErrorIs(t, err, tokenauth.ErrInvalidKey)
	require.Equal(t, []tokenauth.EventKind{tokenauth.EventIssued, tokenauth.EventRejected}, got)
}
