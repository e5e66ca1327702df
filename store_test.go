package tokenauth_test

import (
	"testing"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/storetest"
)

func TestStores(t *testing.T) {
	for name, newStore := range map[string]func(t *testing.T) tokenauth.Store{
		"memory": func(*testing.T) tokenauth.Store { return tokenauth.NewMemoryStore() },
		"SQLite": func(t *testing.T) tokenauth.Store { return newSQLiteStore(t, openSQLite(t), nil) },
		"SQLite with a table name of its own": func(t *testing.T) tokenauth.Store {
			return newSQLiteStore(t, openSQLite(t), &tokenauth.SQLOptions{Table: "Acme_api_tokens2"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, newStore)
		})
	}
}
