package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/storecache"
)

const (
	scopeRead   = "notes:read"
	scopeWrite  = "notes:write"
	scopeManage = "tokens:manage"
	scopeSelf   = "tokens:self"
)

// scopes describes each scope to people.
var scopes = map[string]string{
	scopeRead:   "See your notes",
	scopeWrite:  "Add notes",
	scopeManage: "Manage your tokens by the API",
	scopeSelf:   "Replace its own key by the API",
}

func newManager(store tokenauth.Store, touchEvery time.Duration, logger *slog.Logger) (*tokenauth.Manager, error) {
	return tokenauth.New(store, "notes", &tokenauth.Options{
		OnEvent:     tokenauth.LogEvents(logger),
		Scopes:      []string{scopeRead, scopeWrite, scopeManage, scopeSelf},
		TouchEvery:  touchEvery,
		CheckUserID: tokenauth.DecimalUserID,
	})
}

// cached returns a cache for store, or store itself if maxStale is zero.
func cached(store tokenauth.Store, maxStale time.Duration) (tokenauth.Store, error) {
	if maxStale <= 0 {
		return store, nil
	}
	return storecache.New(store, &storecache.Options{MaxStale: maxStale})
}

// pruneEachHour deletes the tokens that expired or were revoked longer ago than age. It does so
// immediately and then every hour, until ctx is done.
func pruneEachHour(ctx context.Context, tokens *tokenauth.Manager, age time.Duration, logger *slog.Logger) {
	hourly := time.NewTicker(time.Hour)
	defer hourly.Stop()
	for {
		if _, err := tokens.Prune(ctx, time.Now().Add(-age)); err != nil && ctx.Err() == nil {
			logger.Error("prune", "error", err) // the next call is in an hour
		}
		select {
		case <-hourly.C:
		case <-ctx.Done():
			return
		}
	}
}

// closeManager writes the last-used times that are not written yet, even if ctx is done.
func closeManager(ctx context.Context, tokens *tokenauth.Manager) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	return tokens.Close(ctx)
}
