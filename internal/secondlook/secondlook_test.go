package secondlook_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/secondlook"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
)

var errEnded = errors.New("session ended")

// A token whose creator has lost the rights must not stay live, whether the second look returns an
// error, panics or hangs, and even if the client has disconnected.
func TestTokenStaysOnlyIfLookSucceeds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		look func(context.Context) error
		want error
		live bool
	}{
		"confirmed": {func(context.Context) error { return nil }, nil, true},
		"refused":   {func(context.Context) error { return errEnded }, errEnded, false},
		"hangs":     {func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, context.DeadlineExceeded, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := fixture.NewManager(tokenauth.NewMemoryStore(), &tokenauth.Options{TouchEvery: -1})
				key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
				disconnected, cancel := context.WithCancel(t.Context())
				cancel()
				begin := time.Now()
				refused, failed := secondlook.Confirm(disconnected, m, token, c.look)
				require.ErrorIs(t, refused, c.want)
				require.NoError(t, failed)
				require.Equal(t, []bool{c.live}, fixture.Accepts(m, key))
				require.LessOrEqual(t, time.Since(begin), 5*time.Second)
			})
		})
	}
}

// If a function of the service panics, nobody gets the key, so the token must not stay live.
func TestPanicOfLookRevokesToken(t *testing.T) {
	t.Parallel()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), nil)
	key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	require.Panics(t, func() {
		_, _ = secondlook.Confirm(t.Context(), m, token, func(context.Context) error { panic("session store") })
	})
	require.Equal(t, []bool{false}, fixture.Accepts(m, key))
}

// If the revocation gets no response, the caller must learn that the token may be live, and an
// event must name the token. The call must end even if the store hangs.
func TestFailedRevocationIsReported(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, events := fixture.NewStore(), &fixture.Recorder{}
		m := fixture.NewManager(store, &tokenauth.Options{TouchEvery: -1, OnEvent: events.Record})
		_, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
		events.Take()
		store.Intercept(func(ctx context.Context, _ string, _ func() error) error { <-ctx.Done(); return ctx.Err() })
		refused, failed := secondlook.Confirm(t.Context(), m, token, func(context.Context) error { return errEnded })
		require.Equal(t, errEnded, refused)
		require.ErrorIs(t, failed, context.DeadlineExceeded)
		told := events.Take()
		require.Len(t, told, 1)
		require.Equal(t, token.ID, told[0].Token.ID)
		require.Error(t, told[0].Err)

		store.Intercept(nil)
		refused, failed = secondlook.Confirm(t.Context(), m, tokenauth.Token{ID: "DELETED", UserID: "u"}, func(context.Context) error { return errEnded })
		require.Equal(t, errEnded, refused)
		require.NoError(t, failed, "a token that was deleted with its user is not live")
	})
}
