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
)

// scopes are what a token may be allowed to do, in words for its user.
var scopes = map[string]string{
	scopeRead:   "See your notes",
	scopeWrite:  "Add notes",
	scopeManage: "Manage your tokens by the API",
}

func newManager(store tokenauth.Store, touchEvery time.Duration, logger *slog.Logger) *tokenauth.Manager {
	return tokenauth.New(store, "notes", &tokenauth.Options{
		OnEvent:    tokenauth.LogEvents(logger),
		Scopes:     []string{scopeRead, scopeWrite, scopeManage},
		TouchEvery: touchEvery,
	})
}

// cached puts a cache in front of a store if what it keeps may be stale at all.
func cached(store tokenauth.Store, maxStale time.Duration) tokenauth.Store {
	if maxStale <= 0 {
		return store
	}
	return storecache.New(store, &storecache.Options{MaxStale: maxStale})
}

// pruneEachHour deletes what ended longer ago than age, until ctx is done.
func pruneEachHour(ctx context.Context, tokens *tokenauth.Manager, age time.Duration, logger *slog.Logger) {
	hourly := time.NewTicker(time.Hour)
	defer hourly.Stop()
	for {
		if _, err := tokens.Prune(ctx, time.Now().Add(-age)); err != nil && ctx.Err() == nil {
			logger.Error("prune", "error", err) // and again in an hour
		}
		select {
		case <-hourly.C:
		case <-ctx.Done():
			return
		}
	}
}

// flush writes the last uses that are still to be written.
func flush(ctx context.Context, tokens *tokenauth.Manager) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	return tokens.Flush(ctx)
}
