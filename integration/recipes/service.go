// Package recipes has the code that docs/production.md shows.
package recipes

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/storecache"
)

// openTokens returns the Manager of a service on PostgreSQL, and a function that closes the Manager
// and its store.
func openTokens(ctx context.Context, db *sql.DB, logger *slog.Logger) (*tokenauth.Manager, func(context.Context) error, error) {
	// docs: open
	store, err := tokenauth.NewSQLStore(db, tokenauth.PostgreSQL, nil)
	if err != nil {
		return nil, nil, err
	}
	if err := store.CheckSchema(ctx); err != nil { // names the file of migrations that is missing
		return nil, nil, err
	}
	cache, err := storecache.New(store, nil)
	if err != nil {
		return nil, nil, err
	}
	tokens, err := tokenauth.New(cache, "acme", &tokenauth.Options{
		Scopes:      []string{"orders:read", "orders:write"}, // Issue and RequireScopes refuse others
		MaxTTL:      365 * 24 * time.Hour,                    // no token lives longer than a year
		CheckUserID: tokenauth.DecimalUserID,                 // users.id is a BIGINT
		OnEvent:     tokenauth.LogEvents(logger),
	})
	if err != nil {
		return nil, nil, err
	}
	// docs: end
	closeTokens := func(ctx context.Context) error {
		return errors.Join(tokens.Close(ctx), store.Close())
	}
	return tokens, closeTokens, nil
}

// docs: serve

// serve serves requests until ctx is done. In main, ctx comes from signal.NotifyContext.
func serve(ctx context.Context, listener net.Listener, handler http.Handler, closeTokens func(context.Context) error) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	// After the last request, Close of the Manager writes the last-used times.
	return errors.Join(err, server.Shutdown(end), closeTokens(end))
}

// docs: end
