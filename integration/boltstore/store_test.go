package boltstore

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/storetest"
)

func TestMain(m *testing.M) { leak.Main(m) }

// The example must keep the contract of Store, because readers copy its code.

// docs: test

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) tokenauth.Store {
		store, err := Open(filepath.Join(t.TempDir(), "tokens.db"), &bbolt.Options{NoSync: true})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, store.Close()) })
		return store
	})
}

// docs: end

// Prune deletes 1,000 tokens in each transaction. It must also delete the tokens after the first
// 1,000.
func TestPruneDeletesManyTokens(t *testing.T) {
	store, err := Open(filepath.Join(t.TempDir(), "tokens.db"), &bbolt.Options{NoSync: true})
	require.NoError(t, err)
	defer store.Close()
	records := make([]tokenauth.Record, 1500)
	for i := range records {
		id := fmt.Sprintf("%026d", i)
		records[i] = tokenauth.Record{
			Digest: tokenauth.DigestOf("key of " + id),
			Token:  tokenauth.Token{ID: id, UserID: "anna", Name: id, CreatedAt: fixture.Start, ExpiresAt: fixture.Start.AddDate(0, 0, i%2)},
		}
	}
	require.NoError(t, store.Create(t.Context(), records...))
	for _, want := range []int{1200, 300, 0} { // 750 tokens are expired, and the others are idle
		n, err := store.Prune(t.Context(), fixture.Start.Add(time.Hour), fixture.Start, 1200)
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
}
