package recipes

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
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

// Serve serves requests until ctx ends or the process gets a signal. Then it finishes the requests
// that have begun.
func Serve(ctx context.Context, server *http.Server, listener net.Listener, tokens *tokenauth.Manager, store io.Closer, logger *slog.Logger) error {
	// docs: shutdown
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	var jobs sync.WaitGroup
	jobs.Go(func() { PruneHourly(ctx, tokens, logger) })
	jobs.Go(func() {
		<-ctx.Done()
		deadline, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := server.Shutdown(deadline); err != nil { // waits for the requests that have begun
			logger.Error("some requests did not finish", "error", err)
			_ = server.Close() // closes their connections
		}
	})
	err := server.Serve(listener)
	if errors.Is(err, http.ErrServerClosed) { // after Shutdown
		err = nil
	}
	stop() // also if Serve failed
	jobs.Wait()
	deadline, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	// After the last request. Close the database after the store.
	err = errors.Join(err, tokens.Close(deadline), store.Close())
	// docs: end
	return err
}
