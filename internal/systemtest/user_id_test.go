package systemtest_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
	"github.com/go-tokenauth/tokenauth/storecache"
)

// A database may compare user IDs as numbers, or without letter case. Every method must then refuse
// a second spelling of an ID. Otherwise RevokeAll with the second spelling would revoke the rows in
// the database, while a cache, which compares bytes, still accepts the keys.
func TestSecondSpellingOfUserIDIsRefused(t *testing.T) {
	t.Parallel()
	store := tokenauth.NewMemoryStore()
	m := fixture.NewManager(must.Get(storecache.New(store, nil)), &tokenauth.Options{CheckUserID: tokenauth.DecimalUserID})
	_, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "1", Name: "n"})
	for _, id := range []string{"01", "+1", " 1", "1.0", "1e0", "0x1", "１", "abc", ""} {
		for name, call := range map[string]func() error{
			"CheckUserID": func() error { return m.CheckUserID(id) },
			"Issue":       func() error { _, _, err := m.Issue(ctx, tokenauth.Spec{UserID: id, Name: "x"}); return err },
			"Import": func() error {
				_, err := m.Import(ctx, tokenauth.ImportSpec{UserID: id, Name: "x", Origin: "drf", Digest: tokenauth.DigestOf("x")})
				return err
			},
			"Get":       func() error { _, err := m.Get(ctx, id, token.ID); return err },
			"List":      func() error { _, err := m.List(ctx, tokenauth.Query{UserID: id}); return err },
			"Update":    func() error { _, err := m.Update(ctx, id, token.ID, tokenauth.Patch{}); return err },
			"Rotate":    func() error { _, _, err := m.Rotate(ctx, id, token.ID, 0); return err },
			"Revoke":    func() error { return m.Revoke(ctx, id, token.ID) },
			"RevokeAll": func() error { _, err := m.RevokeAll(ctx, id); return err },
		} {
			var spec *tokenauth.SpecError
			require.ErrorAs(t, call(), &spec, "%s of user %q", name, id)
			require.Equal(t, "user_id", spec.Field)
		}
	}
	require.NoError(t, m.Revoke(ctx, "1", token.ID))
}

// A token may have been stored with another spelling before CheckUserID was set. Its key must be
// refused, because RevokeAll with the right spelling does not reach the token. RevokeKey must still
// revoke the token.
func TestStoredUserIDWithOtherSpellingIsRefused(t *testing.T) {
	t.Parallel()
	store := tokenauth.NewMemoryStore()
	key, token := fixture.Issue(t, fixture.NewManager(store, nil), tokenauth.Spec{UserID: "01", Name: "n"})
	m := fixture.NewManager(store, &tokenauth.Options{CheckUserID: tokenauth.DecimalUserID})
	_, err := m.Authenticate(ctx, key)
	require.ErrorIs(t, err, tokenauth.ErrNoUser)
	revoked, err := m.RevokeKey(ctx, key)
	require.NoError(t, err)
	require.Equal(t, token.ID, revoked.ID)
}

func TestReadyMadeUserIDChecksAllowOneSpelling(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		check     func(string) error
		good, bad []string
	}{
		{
			tokenauth.DecimalUserID,
			[]string{"0", "1", "42", "-7", "9223372036854775807", "-9223372036854775808"},
			[]string{"", "00", "01", "-0", "-01", "+1", "1 ", "1_0", "0b1", "9223372036854775808", "one"},
		},
		{
			tokenauth.UUIDUserID,
			[]string{"00000000-0000-0000-0000-000000000000", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"},
			[]string{
				"", "F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6", "f81d4fae7dec11d0a76500a0c91e6bf6", "{f81d4fae-7dec-11d0-a765-00a0c91e6bf6}",
				"urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6\n", "g81d4fae-7dec-11d0-a765-00a0c91e6bf6",
			},
		},
	} {
		for _, id := range c.good {
			require.NoError(t, c.check(id), id)
		}
		for _, id := range c.bad {
			require.Error(t, c.check(id), id)
		}
	}
}

// If user_id is a foreign key, a token for an unknown user is the caller's mistake and not a
// failure of the database: the response must be 400 and not 503.
func TestUnknownUserIsInvalidArgument(t *testing.T) {
	t.Parallel()
	db := sqlite.New(t)
	_, err := db.Exec("PRAGMA foreign_keys = 1; CREATE TABLE users (id TEXT PRIMARY KEY); INSERT INTO users VALUES ('anna')")
	require.NoError(t, err)
	db.SetMaxOpenConns(1) // the pragma applies to one connection
	store := must.Get(tokenauth.NewSQLStore(db, tokenauth.SQLite, sqlite.Patient()))
	_, err = db.Exec(strings.Replace(fixture.SchemaText(t, store), "user_id        TEXT    NOT NULL", "user_id TEXT NOT NULL REFERENCES users (id)", 1))
	require.NoError(t, err)
	var events fixture.Recorder
	m := fixture.NewManager(store, &tokenauth.Options{OnEvent: events.Record})
	auth := fixture.NewAuthenticator(m, nil)
	for name, create := range map[string]func(userID string) error{
		"Issue": func(userID string) error {
			_, _, err := m.Issue(ctx, tokenauth.Spec{UserID: userID, Name: "laptop"})
			return err
		},
		"Import": func(userID string) error {
			_, err := m.Import(ctx, tokenauth.ImportSpec{UserID: userID, Name: "one", Origin: "drf", Digest: tokenauth.DigestOf("one")},
				tokenauth.ImportSpec{UserID: userID, Name: "two", Origin: "drf", Digest: tokenauth.DigestOf("two")})
			return err
		},
	} {
		err := create("nobody")
		require.ErrorIs(t, err, tokenauth.ErrUserUnknown, name)
		require.ErrorIs(t, err, tokenauth.ErrInvalidSpec, name)
		var spec *tokenauth.SpecError
		require.ErrorAs(t, err, &spec)
		require.Equal(t, "user_id", spec.Field)
		require.Equal(t, http.StatusBadRequest, tokenauth.StatusCode(err))
		require.Contains(t, chain(err), "FOREIGN KEY constraint failed", "the error of the driver must be in the chain")
		require.Empty(t, events.Take(), "nothing was created")
		response := fixture.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { auth.WriteError(w, r, err) }), must.Get(http.NewRequest("GET", "/", nil)))
		require.Equal(t, http.StatusBadRequest, response.Code)
		require.NotContains(t, response.Body.String(), "FOREIGN")
		require.NoError(t, create("anna"), name)
		events.Take()
	}

	spec := func(userID, name string) tokenauth.ImportSpec {
		return tokenauth.ImportSpec{UserID: userID, Name: name, Origin: "drf", Digest: tokenauth.DigestOf(name)}
	}
	_, err = m.Import(ctx, spec("anna", "three"), spec("nobody", "four"), spec("anna", "five"))
	require.ErrorIs(t, err, tokenauth.ErrUserUnknown)
	var failed *tokenauth.RecordError
	require.ErrorAs(t, err, &failed)
	require.Equal(t, 1, failed.Index)
	require.Len(t, events.Take(), 1, "the first token was imported")
}

// chain returns the texts of all errors that err wraps.
func chain(err error) (text string) {
	if err == nil {
		return ""
	}
	text = err.Error()
	var several interface{ Unwrap() []error }
	if errors.As(err, &several) {
		for _, each := range several.Unwrap() {
			text += chain(each)
		}
	}
	return text
}
