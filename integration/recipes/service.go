package recipes

import (
	"context"
	"database/sql"
	"log/slog"
	"net/http"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/rs/cors"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/storecache"
)

// openTokens returns the Manager of a service on PostgreSQL, and its store.
func openTokens(ctx context.Context, db *sql.DB, logger *slog.Logger) (*tokenauth.Manager, *tokenauth.SQLStore, error) {
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
	return tokens, store, nil
}

// newHandler returns the handler of the whole service.
func newHandler(auth *tokenauth.Authenticator[string], api, orders http.Handler, logger *slog.Logger) http.Handler {
	browserApp := cors.New(cors.Options{AllowedOrigins: []string{"https://app.example.com"}, AllowedHeaders: []string{"Authorization"}})
	// docs: together
	limit := NewRateLimit(10, 50) // ten requests per second and token, and up to 50 at once
	mux := http.NewServeMux()
	mux.Handle("POST /orders/{id}", auth.RequireScopes("orders:write")(LogToken(limit.Handler(orders))))
	mux.Handle("/api/", auth.Optional(LogToken(limit.Handler(http.StripPrefix("/api", api))))) // tokenapi
	handler := AccessLog(logger, browserApp.Handler(mux))                                      // CORS
	// docs: end
	return handler
}

// newServer returns a server that limits the time and the memory that a client can use.
func newServer(handler http.Handler) *http.Server {
	// docs: server
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	// docs: end
	return server
}
