package recipes

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/integration/servers"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// A service that follows docs/production.md must refuse to start without its table. When it stops,
// it must write the last-used times that are still in memory.
func TestServiceChecksSchemaAndWritesLastUsedTimes(t *testing.T) {
	server, err := servers.Postgres()
	if errors.Is(err, servers.ErrMissing) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	require.NoError(t, err)
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
	key, _, err := tokens.Issue(t.Context(), tokenauth.Spec{UserID: "42", Name: "laptop", Scopes: []string{"orders:read"}})
	require.NoError(t, err)
	leak.Default.Secret(key.Reveal())
	auth, err := tokenauth.NewAuthenticator(tokens, func(_ context.Context, id string) (string, error) { return id, nil }, nil)
	require.NoError(t, err)

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	handler := auth.RequireScopes("orders:read")(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	go func() {
		stopped <- Serve(ctx, newServer(handler), listener, tokens, store, slog.New(slog.DiscardHandler))
	}()
	request, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+listener.Addr().String(), nil)
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
