package storetest

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// A store whose calls end with their context must pass RunStalled.
func TestStalledStorePasses(t *testing.T) {
	t.Parallel()
	store := tokenauthtest.NewStore(tokenauth.NewMemoryStore())
	store.Intercept(func(ctx context.Context, _ string, _ func() error) error {
		<-ctx.Done()
		return fmt.Errorf("no response: %w", ctx.Err())
	})
	RunStalled(t, store)
}

// A store must fail RunStalled if it waits for its own timeout, or if it returns another error than
// that of the context. Otherwise requests of a service wait for a database that does not respond.
func TestStalledStoreFails(t *testing.T) {
	t.Parallel()
	for name, intercept := range map[string]func(ctx context.Context, method string, next func() error) error{
		"the store waits for its own timeout": func(ctx context.Context, _ string, _ func() error) error {
			<-time.After(4 * time.Second)
			return ctx.Err()
		},
		"Touch waits for its own timeout": func(ctx context.Context, method string, _ func() error) error {
			if <-ctx.Done(); method == "Touch" {
				<-time.After(4 * time.Second)
			}
			return ctx.Err()
		},
		"the store does not wrap the error of the context": func(ctx context.Context, _ string, _ func() error) error {
			<-ctx.Done()
			return fmt.Errorf("i/o timeout: %v", ctx.Err())
		},
		"the store returns a sentinel error": func(ctx context.Context, _ string, _ func() error) error {
			<-ctx.Done()
			return fmt.Errorf("%w: %w", tokenauth.ErrNotFound, ctx.Err())
		},
		"the store returns no error": func(ctx context.Context, _ string, _ func() error) error {
			<-ctx.Done()
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, c := range stalledCases {
				synctest.Test(t, func(t *testing.T) {
					store := tokenauthtest.NewStore(tokenauth.NewMemoryStore())
					store.Intercept(intercept)
					require.Contains(t, failureOf(t.Context(), c, store), "a Store should "+c.should+", but ")
					time.Sleep(time.Minute) // until the call of the store has returned
				})
			}
		})
	}
}
