package storecache_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
	"github.com/go-tokenauth/tokenauth/storecache"
)

const (
	childFile     = "STORECACHE_TEST_FILE"
	childMaxStale = 500 * time.Millisecond
)

// TestChildAuthenticatesUntilRefused is the second process of
// [TestRevocationReachesOtherProcessWithinMaxStale]. It authenticates one key repeatedly until the
// Manager refuses the key. Then it prints the start time of the last accepted call.
func TestChildAuthenticatesUntilRefused(t *testing.T) {
	path := os.Getenv(childFile)
	if path == "" {
		t.Skip("run by TestRevocationReachesOtherProcessWithinMaxStale")
	}
	in := bufio.NewScanner(os.Stdin)
	require.True(t, in.Scan())
	m := must.Get(tokenauth.New(must.Get(storecache.New(sqlite.NewStore(t, sqlite.Open(t, path), nil), &storecache.Options{MaxStale: childMaxStale})), "acme", nil))
	var last time.Time
	for accepted := 0; ; accepted++ {
		begin := time.Now()
		if _, err := m.Authenticate(context.Background(), in.Text()); err != nil {
			require.ErrorIs(t, err, tokenauth.ErrRevoked)
			fmt.Println("last accepted at", last.UnixNano())
			return
		}
		last = begin
		if accepted == 1 {
			fmt.Println("accepted")
		}
	}
}

// If one process revokes a token, another process must refuse the token within MaxStale.
// Case C2.
func TestRevocationReachesOtherProcessWithinMaxStale(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a process")
	}
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens.db")
	m := must.Get(tokenauth.New(must.Get(storecache.New(sqlite.NewStore(t, sqlite.Open(t, path), nil), nil)), "acme", nil))
	key, token, err := m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: "ci"})
	require.NoError(t, err)
	leak.Default.Secret(key.Reveal())

	child := fixture.StartChild(t, "TestChildAuthenticatesUntilRefused", childFile+"="+path)
	_, err = fmt.Fprintln(child.In, key.Reveal())
	require.NoError(t, err)
	require.True(t, child.Out.Scan())
	require.Equal(t, "accepted", child.Out.Text())

	require.NoError(t, m.Revoke(ctx, "u", token.ID))
	revoked := time.Now()
	_, err = m.Authenticate(ctx, key.Reveal())
	require.ErrorIs(t, err, tokenauth.ErrRevoked, "in the process that revoked")

	require.True(t, child.Out.Scan())
	var at int64
	_, err = fmt.Sscanf(child.Out.Text(), "last accepted at %d", &at)
	require.NoError(t, err, child.Out.Text())
	require.LessOrEqual(t, time.Unix(0, at).Sub(revoked), childMaxStale)
	for child.Out.Scan() {
	}
	require.NoError(t, child.Wait())
}
