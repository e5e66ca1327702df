package tokenauth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
)

// An answering is a Store whose Find always returns the same record and no error.
type answering struct {
	tokenauth.Store
	record *tokenauth.Record
}

func (s answering) Find(context.Context, tokenauth.Digest) (*tokenauth.Record, error) {
	return s.record, nil
}

// A change of one token must not change any other token, whether of the same user or of another
// user. Otherwise a user who rotates the key of one device would lock out other devices. The test
// compares the stored records and the responses of the middleware before and after each change.
func TestOneTokenNeverTouchesAnother(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store tokenauth.Store) {
		clock := newClock()
		m := newManager(store, &tokenauth.Options{Now: clock.Now})
		auth := must.Get(tokenauth.NewAuthenticator(m, anyUser, nil))
		handler := auth.RequireScopes("read")(whoami)

		changed, foo := issue(t, m, tokenauth.Spec{UserID: "anna", Name: "Foo", Scopes: []string{"read"}})
		bar, _ := issue(t, m, tokenauth.Spec{UserID: "anna", Name: "Bar", Scopes: []string{"read"}, ExpiresAt: start.Add(24 * time.Hour)})
		other, _ := issue(t, m, tokenauth.Spec{UserID: "ben", Name: "Foo", Scopes: []string{"read"}})
		others := func() (records []tokenauth.Record) {
			all, err := store.List(ctx, tokenauth.Query{AllUsers: true, IncludeRevoked: true})
			require.NoError(t, err)
			for _, r := range all {
				if r.Token.ID != foo.ID {
					records = append(records, r)
				}
			}
			return records
		}
		before := others()
		require.Len(t, before, 2)
		require.Equal(t, 200, get(handler, "Bearer "+changed).Code)

		for _, step := range []struct {
			name string
			do   func() error
			code int // status of a request with the first key of the token named Foo
		}{
			{"rotate", func() error { _, _, err := m.Rotate(ctx, "anna", foo.ID, 10*time.Minute); return err }, 200},
			{"rename", func() error {
				_, err := m.Update(ctx, "anna", foo.ID, tokenauth.Patch{Name: new("Baz")})
				return err
			}, 200},
			{"re-scope", func() error {
				_, err := m.Update(ctx, "anna", foo.ID, tokenauth.Patch{Scopes: &[]string{"write"}})
				return err
			}, 403},
			{"expire", func() error {
				_, err := m.Update(ctx, "anna", foo.ID, tokenauth.Patch{ExpiresAt: new(start.Add(time.Minute))})
				clock.Set(start.Add(time.Minute))
				return err
			}, 401},
			{"revoke", func() error { return m.Revoke(ctx, "anna", foo.ID) }, 401},
			{"prune", func() error {
				clock.Set(start.Add(time.Hour))
				_, err := m.Prune(ctx, clock.Now())
				return err
			}, 401},
		} {
			require.NoError(t, step.do(), step.name)
			require.Equal(t, before, others(), step.name)
			require.Equal(t, step.code, get(handler, "Bearer "+changed).Code, step.name)
			require.Equal(t, "anna", get(handler, "Bearer "+bar).Body.String(), step.name)
			require.Equal(t, "ben", get(handler, "Bearer "+other).Body.String(), step.name)
		}
		_, err := m.Get(ctx, "anna", foo.ID)
		require.ErrorIs(t, err, tokenauth.ErrNotFound)
	})
}

// Update must change only those fields of a token that the Patch sets. It must return an error if
// the token does not exist, or if the Patch contains an invalid value.
func TestUpdate(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store tokenauth.Store) {
		clock := newClock()
		m := newManager(store, &tokenauth.Options{Now: clock.Now, Scopes: []string{"a", "b"}})
		_, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: "n", Scopes: []string{"a"}, ExpiresAt: start.Add(time.Hour)})
		issue(t, m, tokenauth.Spec{UserID: "u", Name: "taken"})
		_, revoked := issue(t, m, tokenauth.Spec{UserID: "u", Name: "revoked"})
		require.NoError(t, m.Revoke(ctx, "u", revoked.ID))

		for name, c := range map[string]struct {
			userID, id string
			patch      tokenauth.Patch
			want       error
		}{
			"S10 another user's": {"v", token.ID, tokenauth.Patch{Name: new("x")}, tokenauth.ErrNotFound},
			"S9 unknown":         {"u", "UNKNOWN", tokenauth.Patch{Name: new("x")}, tokenauth.ErrNotFound},
			"revoked":            {"u", revoked.ID, tokenauth.Patch{Name: new("x")}, tokenauth.ErrNotFound},
			"name taken":         {"u", token.ID, tokenauth.Patch{Name: new("taken")}, tokenauth.ErrNameTaken},
			"name malformed":     {"u", token.ID, tokenauth.Patch{Name: new("\u200b")}, tokenauth.ErrInvalidSpec},
			"scope unknown":      {"u", token.ID, tokenauth.Patch{Scopes: &[]string{"c"}}, tokenauth.ErrInvalidSpec},
			"expiry past":        {"u", token.ID, tokenauth.Patch{ExpiresAt: new(start)}, tokenauth.ErrInvalidSpec},
			"no user":            {"", token.ID, tokenauth.Patch{}, tokenauth.ErrInvalidSpec},
		} {
			_, err := m.Update(ctx, c.userID, c.id, c.patch)
			require.ErrorIs(t, noted(err), c.want, name)
			require.NotErrorIs(t, err, tokenauth.ErrInvalidKey, name)
		}

		want := token
		for name, c := range map[string]struct {
			patch tokenauth.Patch
			apply func()
		}{
			"nothing":    {tokenauth.Patch{}, func() {}},
			"name":       {tokenauth.Patch{Name: new(" renamed ")}, func() { want.Name = "renamed" }},
			"same name":  {tokenauth.Patch{Name: new("renamed")}, func() { want.Name = "renamed" }},
			"scopes":     {tokenauth.Patch{Scopes: &[]string{"b", "a"}}, func() { want.Scopes = []string{"a", "b"} }},
			"no scopes":  {tokenauth.Patch{Scopes: &[]string{}}, func() { want.Scopes = nil }},
			"expiry":     {tokenauth.Patch{ExpiresAt: new(start.Add(2 * time.Hour))}, func() { want.ExpiresAt = start.Add(2 * time.Hour) }},
			"expiry off": {tokenauth.Patch{ExpiresAt: new(time.Time{})}, func() { want.ExpiresAt = time.Time{} }},
		} {
			got, err := m.Update(ctx, "u", token.ID, c.patch)
			require.NoError(t, err, name)
			c.apply()
			require.Equal(t, want, got, name)
		}

		_, err := m.Update(ctx, "u", token.ID, tokenauth.Patch{ExpiresAt: new(start.Add(time.Minute))})
		require.NoError(t, err)
		clock.Set(start.Add(time.Minute)) // the token expires, so Update must refuse to change it
		_, err = m.Update(ctx, "u", token.ID, tokenauth.Patch{ExpiresAt: new(start.Add(time.Hour))})
		require.ErrorIs(t, err, tokenauth.ErrConflict)
	})
}

// The pages that List returns must neither repeat nor skip a token. List must return an error for a
// Query without a user ID. Otherwise a service that forgets the user ID would show one user the
// tokens of all users.
func TestList(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store tokenauth.Store) {
		// The clock stands still, so all tokens have the same CreatedAt.
		m := newManager(store, &tokenauth.Options{Now: newClock().Now})
		for i := range 7 {
			issue(t, m, tokenauth.Spec{UserID: "u", Name: fmt.Sprint(i)})
		}
		_, other := issue(t, m, tokenauth.Spec{UserID: "v", Name: "0"})
		seen := map[string]bool{}
		query := tokenauth.Query{UserID: "u", Limit: 3}
		for pages := 1; ; pages++ {
			page, err := m.List(ctx, query)
			require.NoError(t, err)
			for _, token := range page {
				require.False(t, seen[token.ID])
				seen[token.ID] = true
			}
			if len(page) < query.Limit {
				require.Equal(t, 3, pages)
				break
			}
			last := page[len(page)-1]
			query.After = last.Cursor()
			// List must find the next page even if the token of the cursor is revoked. Case S21.
			require.NoError(t, m.Revoke(ctx, "u", last.ID))
		}
		require.Len(t, seen, 7)

		for name, c := range map[string]struct {
			query tokenauth.Query
			want  int
		}{
			"live tokens":             {tokenauth.Query{UserID: "u"}, 5},
			"live and revoked tokens": {tokenauth.Query{UserID: "u", IncludeRevoked: true}, 7},
			"all users":               {tokenauth.Query{AllUsers: true, IncludeRevoked: true}, 8},
			"ID of a token":           {tokenauth.Query{AllUsers: true, IDs: []string{other.ID}}, 1},
			"ID of another user":      {tokenauth.Query{UserID: "u", IDs: []string{other.ID}}, 0},
			"malformed ID":            {tokenauth.Query{UserID: "u", IDs: []string{"a b"}}, 0},
			"unknown user":            {tokenauth.Query{UserID: "nobody"}, 0},
		} {
			tokens, err := m.List(ctx, c.query)
			require.NoError(t, err, name)
			require.Len(t, tokens, c.want, name)
		}
		_, err := m.List(ctx, tokenauth.Query{})
		require.ErrorIs(t, noted(err), tokenauth.ErrInvalidSpec)
		_, err = m.List(ctx, tokenauth.Query{UserID: "u", AllUsers: true})
		require.Error(t, err)
		_, err = m.Get(ctx, "u", other.ID)
		require.ErrorIs(t, noted(err), tokenauth.ErrNotFound)
	})
}

// Prune must delete all tokens that expired before the given time, even thousands of tokens. Prune
// must keep imported tokens, because a deleted token could be imported again.
func TestPrune(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store tokenauth.Store) {
		clock := newClock()
		m := newManager(store, &tokenauth.Options{Now: clock.Now, MaxPerUser: -1})
		var records []tokenauth.Record
		for i := range 2500 {
			records = append(records, tokenauth.Record{
				Digest: tokenauth.DigestOf(fmt.Sprint(i)),
				Token: tokenauth.Token{ID: fmt.Sprint("T", i), UserID: fmt.Sprint(i % 50), Name: fmt.Sprint(i), Generation: 1,
					CreatedAt: start, ExpiresAt: start.Add(time.Hour)},
			})
		}
		for len(records) > 0 {
			n := min(500, len(records))
			require.NoError(t, store.Create(ctx, records[:n]...))
			records = records[n:]
		}
		kept, _ := issue(t, m, tokenauth.Spec{UserID: "u", Name: "kept"})
		_, err := m.Import(ctx, tokenauth.ImportSpec{UserID: "u", Name: "imported", Origin: "drf", Digest: tokenauth.DigestOf("x"), ExpiresAt: start.Add(1)})
		require.NoError(t, err)

		clock.Set(start.Add(24 * time.Hour))
		// The tokens expire exactly at this time, so Prune must not delete them yet.
		n, err := m.Prune(ctx, start.Add(time.Hour))
		require.NoError(t, err)
		require.Zero(t, n)
		n, err = m.Prune(ctx, start.Add(time.Hour+time.Microsecond))
		require.NoError(t, err)
		require.Equal(t, 2500, n)
		require.Equal(t, []bool{true}, accepts(m, kept))
		tokens, err := m.List(ctx, tokenauth.Query{AllUsers: true})
		require.NoError(t, err)
		require.Len(t, tokens, 2)
	})
	_, err := newManager(newFailingStore(errors.New("down")), nil).Prune(ctx, start)
	require.Error(t, err)
}

// If Find of a faulty store returns the record of another key, the Manager must return an error.
// Otherwise the client would act as the user of the other key. Case S19.
func TestS19AnotherKeysRecord(t *testing.T) {
	t.Parallel()
	good := newManager(tokenauth.NewMemoryStore(), nil)
	key, _ := issue(t, good, tokenauth.Spec{UserID: "u", Name: "n"})
	for name, record := range map[string]*tokenauth.Record{
		"record of another key":           {Digest: tokenauth.DigestOf("another"), Token: tokenauth.Token{UserID: "v"}},
		"record with another retired key": {Retired: &tokenauth.RetiredKey{Digest: tokenauth.DigestOf("another"), Until: start.AddDate(100, 0, 0)}},
		"nil record and nil error":        nil,
		"record without digests":          {},
	} {
		m := newManager(answering{record: record}, nil)
		_, err := m.Authenticate(ctx, key)
		require.Error(t, noted(err), name)
		// The key is valid, so the status must be 503. With 401, the client would discard the key.
		require.Equal(t, 503, tokenauth.StatusCode(err), name)
		require.NotErrorIs(t, err, tokenauth.ErrInvalidKey, name)
	}
}

// If a call of the store fails, StatusCode must return 503. This must hold even if the error of the
// store is or wraps an error of package tokenauth. With status 401, clients would discard valid
// keys. Cases S17, F1.
func TestStoreFails(t *testing.T) {
	t.Parallel()
	key, _ := issue(t, newManager(tokenauth.NewMemoryStore(), nil), tokenauth.Spec{UserID: "u", Name: "n"})
	for _, cause := range []error{errors.New("dial tcp: refused"), context.Canceled, context.DeadlineExceeded, tokenauth.ErrConflict, tokenauth.ErrRevoked} {
		_, err := newManager(newFailingStore(cause), nil).Authenticate(ctx, key)
		require.ErrorIs(t, noted(err), cause)
		require.Equal(t, 503, tokenauth.StatusCode(err), cause)
	}
	m := newManager(newFailingStore(errors.New("down")), nil)
	for name, call := range map[string]func() error{
		"Issue":  func() error { _, _, err := m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: "n"}); return err },
		"Get":    func() error { _, err := m.Get(ctx, "u", "ID"); return err },
		"List":   func() error { _, err := m.List(ctx, tokenauth.Query{UserID: "u"}); return err },
		"Update": func() error { _, err := m.Update(ctx, "u", "ID", tokenauth.Patch{}); return err },
		"Rotate": func() error { _, _, err := m.Rotate(ctx, "u", "ID", 0); return err },
		"Import": func() error {
			_, err := m.Import(ctx, tokenauth.ImportSpec{UserID: "u", Name: "n", Origin: "drf", Digest: tokenauth.Digest{1}})
			return err
		},
	} {
		err := noted(call())
		require.Error(t, err, name)
		require.Equal(t, 503, tokenauth.StatusCode(err), name)
	}
}

// A service may issue a token in a transaction of its own. The database must then commit or roll
// back the token together with the row of the service.
func TestWithStoreInTransaction(t *testing.T) {
	t.Parallel()
	db := sqlite.New(t)
	store := sqlite.NewStore(t, db, nil)
	m := newManager(store, &tokenauth.Options{MaxPerUser: 2})
	_, err := db.Exec("CREATE TABLE devices (token_id TEXT)")
	require.NoError(t, err)
	for _, commit := range []bool{false, true} {
		tx, err := db.Begin()
		require.NoError(t, err)
		key, token := issue(t, m.WithStore(store.With(tx)), tokenauth.Spec{UserID: "u", Name: "phone"})
		_, err = tx.Exec("INSERT INTO devices VALUES (?)", token.ID)
		require.NoError(t, err)
		_, _, err = m.WithStore(store.With(tx)).Issue(ctx, tokenauth.Spec{UserID: "u", Name: "phone"})
		require.ErrorIs(t, err, tokenauth.ErrNameTaken)
		if commit {
			require.NoError(t, tx.Commit())
		} else {
			require.NoError(t, tx.Rollback())
		}
		require.Equal(t, []bool{commit}, accepts(m, key))
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
	m := newManager(store, nil)
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
		_, err := tokenauth.NewAuthenticator(m, anyUser, &opts)
		require.ErrorContains(t, err, "AuthenticatorOptions."+option)
	}
}

// A nil argument or an invalid scope is a programming error. It must cause a panic when the service
// starts. A nil pointer in an interface must cause a panic, too. If NewSQLStore fails, it returns a
// nil *SQLStore, and a service that ignores the error passes this pointer to New.
func TestNilArgumentsPanic(t *testing.T) {
	t.Parallel()
	store := tokenauth.NewMemoryStore()
	m := newManager(store, &tokenauth.Options{Scopes: []string{"a"}})
	auth := must.Get(tokenauth.NewAuthenticator(m, anyUser, nil))
	for name, call := range map[string]func(){
		"nil store":            func() { _, _ = tokenauth.New(nil, "acme", nil) },
		"nil pointer as store": func() { _, _ = tokenauth.New((*tokenauth.SQLStore)(nil), "acme", nil) },
		"nil store later":      func() { m.WithStore((*tokenauth.MemoryStore)(nil)) },
		"nil manager":          func() { _, _ = tokenauth.NewAuthenticator(nil, anyUser, nil) },
		"nil find":             func() { _, _ = tokenauth.NewAuthenticator[*user](m, nil, nil) },
		"nil handler":          func() { auth.Require(nil) },
		"nil func as handler":  func() { auth.Optional(http.HandlerFunc(nil)) },
		"nil mux as handler":   func() { auth.RequireScopes("a")((*http.ServeMux)(nil)) },
		"no scope":             func() { auth.RequireScopes() },
		"P4 malformed scope":   func() { auth.RequireScopes("a b") },
		"scope does not exist": func() { auth.RequireScopes("b") },
		"nil need":             func() { auth.RequireFunc(nil) },
	} {
		require.Panics(t, call, name)
	}
	require.Equal(t, []string{"a"}, m.Scopes())
}
