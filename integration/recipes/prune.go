package recipes

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// docs: prune

// PruneHourly deletes tokens that expired or were revoked more than 30 days ago, until ctx ends.
func PruneHourly(ctx context.Context, tokens *tokenauth.Manager, logger *slog.Logger) {
	ticker := time.NewTicker(time.Hour)
	defer ticker.Stop()
	for {
		_, err := tokens.Prune(ctx, tokens.Now().AddDate(0, 0, -30))
		if err != nil && ctx.Err() == nil {
			logger.ErrorContext(ctx, "cannot prune tokens", "error", err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// docs: end

// Serve serves requests until ctx ends. Then it finishes the requests that have begun.
func Serve(ctx context.Context, server *http.Server, listener net.Listener, tokens *tokenauth.Manager, store io.Closer, logger *slog.Logger) error {
	// docs: shutdown
	ctx, stop := context.WithCancel(ctx) // or signal.NotifyContext
	defer stop()
	var jobs sync.WaitGroup
	jobs.Go(func() { PruneHourly(ctx, tokens, logger) })
	jobs.Go(func() {
		<-ctx.Done()
		deadline, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = server.Shutdown(deadline) // waits for the requests that have begun
	})
	err := server.Serve(listener)
	if errors.Is(err, http.ErrServerClosed) { // after Shutdown
		err = nil
	}
	stop() // also if Serve failed
	jobs.Wait()
	// After the last request. Close the database after the store.
	err = errors.Join(err, tokens.Close(context.Background()), store.Close())
	// docs: end
	return err
}
