package systemtest_test

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
)

// A form that contains a token ID must issue only one token, even if it is sent twice at the same
// time, and even after the token was revoked. Otherwise a reloaded page would create a key that
// nobody knows about.
func TestIDIsIssuedOnce(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		m := fixture.NewManager(store, nil)
		spec := tokenauth.Spec{UserID: "u", Name: "laptop", ID: rand.Text()}
		issued := fixture.Together(8, func(int) bool {
			_, _, err := m.Issue(ctx, spec)
			return err == nil
		})
		require.Equal(t, 1, issued)
		token, err := m.Get(ctx, "u", spec.ID)
		require.NoError(t, err)
		require.Equal(t, "laptop", token.Name)

		require.NoError(t, m.Revoke(ctx, "u", spec.ID))
		for _, again := range []tokenauth.Spec{spec, {UserID: "u", Name: "phone", ID: spec.ID}, {UserID: "other", Name: "phone", ID: spec.ID}} {
			_, _, err = m.Issue(ctx, again)
			require.ErrorIs(t, err, tokenauth.ErrConflict)
			require.NotErrorIs(t, err, tokenauth.ErrKeyTaken)
		}
		all, err := store.List(ctx, tokenauth.Query{AllUsers: true, IncludeRevoked: true})
		require.NoError(t, err)
		require.Len(t, all, 1)
	})
}

// A client may send any text as an ID. Only IDs in the form that Issue itself uses may reach the
// store.
func TestIssueRefusesMalformedID(t *testing.T) {
	t.Parallel()
	store := fixture.NewStore()
	m := fixture.NewManager(store, nil)
	good := rand.Text()
	for _, id := range []string{good[1:], good + "A", "a" + good[1:], "1" + good[1:], good[:25] + "\n", good[:25] + "-", "x' OR '1'='1"} {
		_, _, err := m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: "n", ID: id})
		var spec *tokenauth.SpecError
		require.ErrorAs(t, err, &spec, id)
		require.Equal(t, "id", spec.Field)
	}
	require.Empty(t, store.Calls())
}

// A service must be able to refuse a malformed request before it finds out who the user is.
// CheckSpec must return the same errors as Issue, and must not call the store.
func TestCheckSpecAgreesWithIssue(t *testing.T) {
	t.Parallel()
	store := fixture.NewStore()
	m := fixture.NewManager(store, &tokenauth.Options{Now: fixture.NewClock().Now, Scopes: []string{"a"}, MaxTTL: time.Hour})
	for _, spec := range []tokenauth.Spec{
		{Name: ""}, {Name: "a\x00b"}, {Name: "n", Scopes: []string{"unknown"}}, {Name: "n", ID: "short"}, {Name: "n", NoExpiry: true},
		{Name: "n", ExpiresAt: fixture.Start}, {Name: "n", ExpiresAt: fixture.Start.Add(2 * time.Hour)},
	} {
		checked := m.CheckSpec(spec)
		require.ErrorIs(t, checked, tokenauth.ErrInvalidSpec)
		spec.UserID = "u"
		_, _, err := m.Issue(ctx, spec)
		require.Equal(t, err, checked)
	}
	require.NoError(t, m.CheckSpec(tokenauth.Spec{Name: "n", Scopes: []string{"a"}}))
	require.Empty(t, store.Calls())
}
