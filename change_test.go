package tokenauth_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
)

// A failing store returns err from every method.
type failing struct{ err error }

func (s failing) Create(context.Context, ...tokenauth.Record) error { return s.err }
func (s failing) Find(context.Context, tokenauth.Digest) (*tokenauth.Record, error) {
	return nil, s.err
}
func (s failing) List(context.Context, tokenauth.Query) ([]tokenauth.Record, error) {
	return nil, s.err
}
func (s failing) Update(context.Context, string, string, tokenauth.Patch, time.Time) error {
	return s.err
}
func (s failing) Rotate(context.Context, string, string, tokenauth.Rotation, time.Time) error {
	return s.err
}
func (s failing) Revoke(context.Context, string, string, time.Time) error        { return s.err }
func (s failing) RevokeExpired(context.Context, string, string, time.Time) error { return s.err }
func (s failing) RevokeAll(context.Context, string, time.Time) (int, error)      { return 0, s.err }
func (s failing) Touch(context.Context, ...tokenauth.Use) error                  { return s.err }
func (s failing) Prune(context.Context, time.Time, int) (int, error)             { return 0, s.err }

// An answering store returns the same record from every Find.
type answering struct {
	failing
	record *tokenauth.Record
}

func (s answering) Find(context.Context, tokenauth.Digest) (*tokenauth.Record, error) {
	return s.record, nil
}

// A change of one token must leave all other tokens unchanged, of the same user and of
// other users. The test checks the stored records and the responses of the middleware. This
// is the purpose of the library.
func TestOneTokenNeverTouchesAnother(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store tokenauth.Store) {
		clock := newClock()
		m := newManager(store, &tokenauth.Options{Now: clock.Now})
		auth := tokenauth.NewAuthenticator(m, anyUser, nil)
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
			code int // for the first key of the changed token
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

// Update must change only the fields that the patch sets, and must refuse invalid changes.
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
		clock.Set(start.Add(time.Minute)) // an expired token cannot be changed
		_, err = m.Update(ctx, "u", token.ID, tokenauth.Patch{ExpiresAt: new(start.Add(time.Hour))})
		require.ErrorIs(t, err, tokenauth.ErrConflict)
	})
}

// The pages of a list must neither repeat nor skip a token. A query without a user must be
// an error, so that a missing user ID does not list the tokens of other users.
func TestList(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store tokenauth.Store) {
		m := newManager(store, &tokenauth.Options{Now: newClock().Now}) // all tokens have the same CreatedAt
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
			require.NoError(t, m.Revoke(ctx, "u", last.ID)) // Case S21. The token of the cursor is revoked.
		}
		require.Len(t, seen, 7)

		for name, c := range map[string]struct {
			query tokenauth.Query
			want  int
		}{
			"live ones":         {tokenauth.Query{UserID: "u"}, 5},
			"revoked ones too":  {tokenauth.Query{UserID: "u", IncludeRevoked: true}, 7},
			"all users":         {tokenauth.Query{AllUsers: true, IncludeRevoked: true}, 8},
			"one by ID":         {tokenauth.Query{AllUsers: true, IDs: []string{other.ID}}, 1},
			"another's by ID":   {tokenauth.Query{UserID: "u", IDs: []string{other.ID}}, 0},
			"what can be no ID": {tokenauth.Query{UserID: "u", IDs: []string{"a b"}}, 0},
			"unknown user":      {tokenauth.Query{UserID: "nobody"}, 0},
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

// Prune must delete any number of expired tokens, and must keep imported tokens.
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
		n, err := m.Prune(ctx, start.Add(time.Hour)) // the tokens expire at this instant, not before it
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
	_, err := newManager(failing{errors.New("down")}, nil).Prune(ctx, start)
	require.Error(t, err)
}

// Case S19. The Manager must not accept the record of another key, which a faulty driver
// may return.
func TestS19AnotherKeysRecord(t *testing.T) {
	t.Parallel()
	good := newManager(tokenauth.NewMemoryStore(), nil)
	key, _ := issue(t, good, tokenauth.Spec{UserID: "u", Name: "n"})
	for name, record := range map[string]*tokenauth.Record{
		"another's":               {Digest: tokenauth.DigestOf("another"), Token: tokenauth.Token{UserID: "v"}},
		"another's, and retired":  {Retired: &tokenauth.RetiredKey{Digest: tokenauth.DigestOf("another"), Until: start.AddDate(100, 0, 0)}},
		"none, and not an error":  nil,
		"one without any digests": {},
	} {
		m := newManager(answering{record: record}, nil)
		_, err := m.Authenticate(ctx, key)
		require.Error(t, noted(err), name)
		require.Equal(t, 503, tokenauth.StatusCode(err), name) // 503, not 401, because the key is valid
		require.NotErrorIs(t, err, tokenauth.ErrInvalidKey, name)
	}
}

// Cases S17, F1. If the store fails, the status must be 503. This must hold even if the
// error of the store is or wraps an error of this package.
func TestStoreFails(t *testing.T) {
	t.Parallel()
	key, _ := issue(t, newManager(tokenauth.NewMemoryStore(), nil), tokenauth.Spec{UserID: "u", Name: "n"})
	for _, cause := range []error{errors.New("dial tcp: refused"), context.Canceled, context.DeadlineExceeded, tokenauth.ErrConflict, tokenauth.ErrRevoked} {
		_, err := newManager(failing{cause}, nil).Authenticate(ctx, key)
		require.ErrorIs(t, noted(err), cause)
		require.Equal(t, 503, tokenauth.StatusCode(err), cause)
	}
	m := newManager(failing{errors.New("down")}, nil)
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

// In a transaction of the caller, the token and the service's own row must be committed
// together.
func TestWithStoreInTransaction(t *testing.T) {
	t.Parallel()
	db := openSQLite(t)
	store := newSQLiteStore(t, db, nil)
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

// Invalid arguments of a constructor must cause a panic at the start of the service, not an
// error on the first request.
func TestNewPanics(t *testing.T) {
	t.Parallel()
	store := tokenauth.NewMemoryStore()
	m := tokenauth.New(store, "acme", &tokenauth.Options{Scopes: []string{"a"}})
	auth := tokenauth.NewAuthenticator(m, anyUser, nil)
	canonical := func(s string) (string, bool) { return s, true }
	for name, build := range map[string]func(){
		"nil store":           func() { tokenauth.New(nil, "acme", nil) },
		"nil store later":     func() { m.WithStore(nil) },
		"no prefix":           func() { tokenauth.New(store, "", nil) },
		"former prefix":       func() { tokenauth.New(store, "acme", &tokenauth.Options{FormerPrefixes: []string{"A"}}) },
		"scope":               func() { tokenauth.New(store, "acme", &tokenauth.Options{Scopes: []string{"a b"}}) },
		"negative DefaultTTL": func() { tokenauth.New(store, "acme", &tokenauth.Options{DefaultTTL: -1}) },
		"negative MaxTTL":     func() { tokenauth.New(store, "acme", &tokenauth.Options{MaxTTL: -1}) },
		"DefaultTTL > MaxTTL": func() { tokenauth.New(store, "acme", &tokenauth.Options{DefaultTTL: 2, MaxTTL: 1}) },
		"legacy without text": func() {
			tokenauth.New(store, "acme", &tokenauth.Options{Legacy: []tokenauth.LegacyFormat{{Origin: "x"}}})
		},
		"legacy without name": func() {
			tokenauth.New(store, "acme", &tokenauth.Options{Legacy: []tokenauth.LegacyFormat{{Canonical: canonical}}})
		},
		"nil manager": func() { tokenauth.NewAuthenticator(nil, anyUser, nil) },
		"nil find":    func() { tokenauth.NewAuthenticator[*user](m, nil, nil) },
		"key header":  func() { tokenauth.NewAuthenticator(m, anyUser, &tokenauth.AuthenticatorOptions{KeyHeader: "X Key"}) },
		"key header is ours": func() {
			tokenauth.NewAuthenticator(m, anyUser, &tokenauth.AuthenticatorOptions{KeyHeader: "authorization"})
		},
		"nil handler":          func() { auth.Require(nil) },
		"no scope":             func() { auth.RequireScopes() },
		"P4 malformed scope":   func() { auth.RequireScopes("a b") },
		"scope does not exist": func() { auth.RequireScopes("b") },
	} {
		require.Panics(t, build, name)
	}
	require.Equal(t, []string{"a"}, m.Scopes())
}
