package recipes

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// The job must delete old tokens, must go on after an error, and must stop with its context.
func TestPruneHourlyDeletesOldTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kit := tokenauthtest.New(t, nil)
		_, id := issue(t, kit)
		require.NoError(t, kit.Manager.Revoke(t.Context(), "42", id))
		left := func() int {
			tokens, err := kit.Manager.List(t.Context(), tokenauth.Query{AllUsers: true, IncludeRevoked: true})
			require.NoError(t, err)
			return len(tokens)
		}
		var lines bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		stopped := make(chan struct{})
		go func() {
			PruneHourly(ctx, kit.Manager, slog.New(slog.NewTextHandler(&lines, nil)))
			close(stopped)
		}()
		synctest.Wait()
		require.Equal(t, 1, left(), "the token was revoked just now")

		kit.Clock.Advance(31 * 24 * time.Hour)
		kit.Store.Fail(errors.New("connection refused"))
		time.Sleep(time.Hour) // of the bubble
		synctest.Wait()
		kit.Store.Fail(nil)
		require.Equal(t, 1, left())
		require.Contains(t, lines.String(), "connection refused")
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Zero(t, left())
		cancel()
		<-stopped
	})
}
