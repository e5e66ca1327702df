package tokenauth_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/load"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
	"github.com/go-tokenauth/tokenauth/storetest"
)

func TestMain(m *testing.M) { leak.Main(m) }

var ctx = context.Background()

// Both stores must fulfill the contract of Store, so that a service can change from one to the
// other. Case S30.
func TestConformance(t *testing.T) {
	db := sqlite.New(t)
	db.SetMaxOpenConns(8)
	onSQLite := sqlite.NewStore(t, db, nil)
	stores := map[string]func(t *testing.T) tokenauth.Store{
		"memory": func(*testing.T) tokenauth.Store { return tokenauth.NewMemoryStore() },
		"SQLite": func(t *testing.T) tokenauth.Store { // creating a table takes longer than most tests
			_, err := db.Exec("DELETE FROM tokenauth_tokens")
			require.NoError(t, err)
			return onSQLite
		},
	}
	if load.Long() { // TestEveryStatementUsesNamedTable is the short form
		stores["SQLite, another table"] = func(t *testing.T) tokenauth.Store { return sqlite.NewPooledStore(t, "Acme_api_tokens2") }
	}
	for name, newStore := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, newStore)
		})
	}
}

// New and NewAuthenticator must return an error if an option is invalid. Otherwise the mistake
// would appear only at the first request.
func TestConstructorsRefuseBadOptions(t *testing.T) {
	t.Parallel()
	store := tokenauth.NewMemoryStore()
	canonical := func(s string) (string, bool) { return s, true }
	for option, opts := range map[string]tokenauth.Options{
		"FormerPrefixes":                {FormerPrefixes: []string{"A"}},
		"Scopes":                        {Scopes: []string{"a b"}},
		"DefaultTTL and MaxTTL":         {DefaultTTL: -1},
		"DefaultTTL and MaxTTL must":    {MaxTTL: -1},
		"DefaultTTL must":               {DefaultTTL: 2, MaxTTL: 1},
		"Legacy":                        {Legacy: []tokenauth.LegacyFormat{{Origin: "x"}}},
		"Legacy: a format":              {Legacy: []tokenauth.LegacyFormat{{Canonical: canonical}}},
		"IdleTimeout":                   {IdleTimeout: -1},
		"IdleTimeout must be":           {IdleTimeout: time.Minute},
		"IdleTimeout requires":          {IdleTimeout: time.Hour, TouchEvery: -1},
		"IdleTimeout must be at least ": {IdleTimeout: time.Hour, TouchEvery: 31 * time.Minute},
	} {
		_, err := tokenauth.New(store, "acme", &opts)
		require.ErrorContains(t, err, "Options."+option)
	}
	m := fixture.NewManager(store, nil)
	for option, opts := range map[string]tokenauth.AuthenticatorOptions{
		"Realm":                         {Realm: "a\"b"},
		"KeyHeader":                     {KeyHeader: "X Key"},
		"KeyHeader must not":            {KeyHeader: "authorization"},
		"KeyHeaderOnly requires":        {KeyHeaderOnly: true},
		"KeyHeaderOnly excludes":        {KeyHeader: "X-Key", KeyHeaderOnly: true, Schemes: []string{"Bearer"}},
		"Schemes: a scheme must be":     {Schemes: []string{"Api Key"}},
		"Schemes: a scheme must be 1":   {Schemes: []string{""}},
		"Schemes: a scheme must not be": {Schemes: []string{"Bearer", "bearer"}},
	} {
		_, err := tokenauth.NewAuthenticator(m, fixture.AnyUser, &opts)
		require.ErrorContains(t, err, "AuthenticatorOptions."+option)
	}
}

// A nil argument or an invalid scope is a programming error. It must cause a panic when the service
// starts. A nil pointer in an interface must cause a panic, too. If NewSQLStore fails, it returns a
// nil *SQLStore, and a service that ignores the error passes this pointer to New.
func TestNilArgumentsPanic(t *testing.T) {
	t.Parallel()
	store := tokenauth.NewMemoryStore()
	m := fixture.NewManager(store, &tokenauth.Options{Scopes: []string{"a"}})
	auth := must.Get(tokenauth.NewAuthenticator(m, fixture.AnyUser, nil))
	for name, call := range map[string]func(){
		"nil store":            func() { _, _ = tokenauth.New(nil, "acme", nil) },
		"nil pointer as store": func() { _, _ = tokenauth.New((*tokenauth.SQLStore)(nil), "acme", nil) },
		"nil store later":      func() { m.WithStore((*tokenauth.MemoryStore)(nil), nil) },
		"nil manager":          func() { _, _ = tokenauth.NewAuthenticator(nil, fixture.AnyUser, nil) },
		"nil find":             func() { _, _ = tokenauth.NewAuthenticator[*fixture.User](m, nil, nil) },
		"nil handler":          func() { auth.Require(nil) },
		"nil func as handler":  func() { auth.Optional(http.HandlerFunc(nil)) },
		"nil mux as handler":   func() { auth.RequireScopes("a")((*http.ServeMux)(nil)) },
		"no scope":             func() { auth.RequireScopes() },
		"malformed scope":      func() { auth.RequireScopes("a b") },
		"scope does not exist": func() { auth.RequireScopes("b") },
		"nil need":             func() { auth.RequireFunc(nil) },
		"nil optional need":    func() { auth.OptionalFunc(nil) },
	} {
		require.Panics(t, call, name)
	}
	require.Equal(t, []string{"a"}, m.Scopes())
}

// Manager.MaxTTL must return the option MaxTTL, so that a page can offer only expiries that Issue
// accepts.
func TestMaxTTLReturnsOption(t *testing.T) {
	t.Parallel()
	require.Equal(t, 48*time.Hour, fixture.NewManager(tokenauth.NewMemoryStore(), &tokenauth.Options{MaxTTL: 48 * time.Hour}).MaxTTL())
	require.Zero(t, fixture.NewManager(tokenauth.NewMemoryStore(), nil).MaxTTL())
}

// If Options.Now returns the zero time, Revoke must still revoke the token.
func TestRevokeWorksAtZeroTime(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		m := fixture.NewManager(store, &tokenauth.Options{Now: func() time.Time { return time.Time{} }})
		key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
		require.NoError(t, m.Revoke(ctx, "u", token.ID))
		require.Equal(t, []bool{false}, fixture.Accepts(m, key))
	})
}
