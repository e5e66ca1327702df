package boltstore

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/storetest"
)

func TestMain(m *testing.M) { leak.Main(m) }

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
