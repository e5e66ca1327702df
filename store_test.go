package tokenauth_test

import (
	"testing"
	"time"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
	"github.com/go-tokenauth/tokenauth/storetest"
)

func TestStores(t *testing.T) {
	for name, newStore := range map[string]func(t *testing.T) tokenauth.Store{
		"memory": func(*testing.T) tokenauth.Store { return tokenauth.NewMemoryStore() },
		"SQLite": func(t *testing.T) tokenauth.Store { return newPatientStore(t, "") },
		"SQLite with a table name of its own": func(t *testing.T) tokenauth.Store {
			return newPatientStore(t, "Acme_api_tokens2")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, newStore)
		})
	}
}

// newPatientStore returns a store on a new database file that also works on a busy machine. Its
// timeout is one minute, and it opens at most eight connections.
func newPatientStore(t *testing.T, table string) *tokenauth.SQLStore {
	db := sqlite.New(t)
	db.SetMaxOpenConns(8)
	db.SetMaxIdleConns(8)
	return sqlite.NewStore(t, db, &tokenauth.SQLOptions{Table: table, Timeout: time.Minute})
}
