package boltstore

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/differential"
)

// Each call must return the same as from MemoryStore, because readers copy this example.
func TestRandomCallsMatchMemoryStore(t *testing.T) {
	t.Parallel()
	differential.Run(t, differential.Target{Open: func() tokenauth.Store {
		store, err := Open(filepath.Join(t.TempDir(), "tokens.db"), &bbolt.Options{NoSync: true})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, store.Close()) })
		return store
	}}, 60, 0)
}
