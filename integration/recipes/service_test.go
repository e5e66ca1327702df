package recipes

import (
	"bytes"
	"context"
	"database/sql"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/integration/servers"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// A service that follows docs/production.md must refuse to start without its table. When it stops,
// it must write the last-used times that are still in memory.
func TestServiceChecksSchemaAndWritesLastUsedTimes(t *testing.T) {
	server := servers.Started(t, func() (*servers.PostgresServer, error) { return servers.Postgres() })
	require.NoError(t, server.CreateDatabase("recipes"))
	db, err := sql.Open("pgx", server.DSN("recipes"))
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	_, _, err = openTokens(t.Context(), db, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "0001_tokens.up.sql")

	migrate, err := tokenauth.NewSQLStore(db, tokenauth.PostgreSQL, nil)
	require.NoError(t, err)
	require.NoError(t, migrate.CreateSchema(t.Context()))
	require.NoError(t, migrate.Close())
	tokens, store, err := openTokens(t.Context(), db, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	key, _, err := tokens.Issue(t.Context(), tokenauth.Spec{UserID: "42", Name: "laptop", Scopes: []string{"orders:write"}})
	require.NoError(t, err)
	leak.Default.Secret(key.Reveal())
	auth, err := tokenauth.NewAuthenticator(tokens, func(_ context.Context, id string) (string, error) { return id, nil }, nil)
	require.NoError(t, err)

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	orders := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	go func() {
		handler := newHandler(auth, http.NotFoundHandler(), orders, slog.New(slog.DiscardHandler))
		stopped <- Serve(ctx, newServer(handler), listener, tokens, store, slog.New(slog.DiscardHandler))
	}()
	request, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+listener.Addr().String()+"/orders/1", nil)
	require.NoError(t, err)
	tokenauthtest.SetKey(request, key)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusOK, response.StatusCode)
	stop()
	require.NoError(t, <-stopped)
	var used sql.NullInt64
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT last_used_at FROM tokenauth_tokens").Scan(&used))
	require.True(t, used.Valid, "the last use was not written")
}

// The order of the middleware must let a browser app send its preflight request, must limit each
// token, and must log the token of each request.
func TestMiddlewareWorksTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // the clock stands still
		kit, auth := newKit(t, nil)
		key, id := issue(t, kit, "orders:write")
		var lines bytes.Buffer
		created := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) })
		handler := newHandler(auth, http.NotFoundHandler(), created, slog.New(slog.NewTextHandler(&lines, nil)))

		preflight := httptest.NewRequest("OPTIONS", "/orders/1", nil)
		preflight.Header.Set("Origin", "https://app.example.com")
		preflight.Header.Set("Access-Control-Request-Method", "POST")
		preflight.Header.Set("Access-Control-Request-Headers", "authorization")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, preflight)
		require.Equal(t, "https://app.example.com", w.Header().Get("Access-Control-Allow-Origin"))

		for range 50 {
			require.Equal(t, http.StatusCreated, send(handler, "POST /orders/1 "+key).Code)
		}
		statuses := map[int]int{}
		for range 50 {
			statuses[send(handler, "POST /orders/1 "+key).Code]++
		}
		require.Positive(t, statuses[http.StatusTooManyRequests])
		require.Equal(t, http.StatusTooManyRequests, send(handler, "GET /api/tokens "+key).Code, "the limit holds for all routes")
		require.Equal(t, 102, strings.Count(lines.String(), "msg=request"))
		require.Equal(t, 101, strings.Count(lines.String(), "token="+id))
		require.NotContains(t, lines.String(), key)
		require.NoError(t, kit.Manager.Close(t.Context()))
	})
}
