package systemtest_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

func by(actor string) context.Context { return tokenauth.ContextWithActor(ctx, actor) }

// After a leak, the owner of a service must be able to find out who made and revoked which token,
// also in the database. Case P15.
func TestActorIsStoredAndReported(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		var events fixture.Recorder
		clock := fixture.NewClock()
		m := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now, OnEvent: events.Record, Legacy: []tokenauth.LegacyFormat{fixture.DRF}, MaxPerUser: 3})
		issue := func(actor, name string, expiresAt time.Time) (string, tokenauth.Token) {
			key, token, err := m.Issue(by(actor), tokenauth.Spec{UserID: "u", Name: name, ExpiresAt: expiresAt})
			require.NoError(t, err)
			leak.Default.Secret(key.Reveal())
			return key.Reveal(), token
		}
		key, token := issue("user:u", "n", time.Time{})
		require.Equal(t, "user:u", token.CreatedBy)
		_, err := m.Update(by("token:X"), "u", token.ID, tokenauth.Patch{Name: new("m")})
		require.NoError(t, err)
		rotated, _, err := m.Rotate(by("cli"), "u", token.ID, time.Hour)
		require.NoError(t, err)
		leak.Default.Secret(rotated.Reveal())
		require.NoError(t, m.Revoke(by("staff:7"), "u", token.ID))
		require.NoError(t, m.Revoke(by("staff:8"), "u", token.ID)) // done already
		_, old := issue("", "old", fixture.Start.Add(time.Minute))
		clock.Advance(time.Minute)
		_, successor := issue("login", "old", time.Time{}) // revokes the expired token
		presented, found := issue("a", "presented", time.Time{})
		_, err = m.RevokeKey(by("scanner"), presented)
		require.NoError(t, err)
		_, err = m.RevokeAll(by("password"), "u")
		require.NoError(t, err)
		spec := tokenauth.ImportSpec{UserID: "u", Name: "imported", Origin: "drf", Digest: tokenauth.DigestOf(fixture.HexKey("lineage"))}
		imported := must.Get(m.Import(by("migration"), spec))[0]
		require.Equal(t, "migration", must.Get(m.Import(by("another"), spec))[0].CreatedBy)
		for id, want := range map[string][2]string{
			token.ID: {"user:u", "staff:7"}, old.ID: {"", "login"}, successor.ID: {"login", "password"},
			found.ID: {"a", "scanner"}, imported.ID: {"migration", ""},
		} {
			got := must.Get(m.Get(ctx, "u", id))
			require.Equal(t, want, [2]string{got.CreatedBy, got.RevokedBy}, got.Name)
		}
		_, err = m.Prune(by("cron"), clock.Now().Add(time.Hour))
		require.NoError(t, err)
		var told []string
		for _, e := range events.Take() {
			told = append(told, string(e.Kind)+" "+e.By)
		}
		require.Equal(t, []string{
			"issued user:u", "updated token:X", "rotated cli", "revoked staff:7", "revoked staff:8", "issued ", "revoked login", "issued login",
			"issued a", "revoked scanner", "revoked password", "imported migration", "imported another", "pruned cron",
		}, told)
		_, err = m.Authenticate(ctx, key)
		require.ErrorIs(t, err, tokenauth.ErrInvalidKey)
	})
}

// An actor with an odd name must neither make a change fail nor look like another actor in a log.
func TestActorIsCleaned(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, inner tokenauth.Store) {
		store := tokenauthtest.NewStore(inner)
		m := fixture.NewManager(store, nil)
		for name, c := range map[string]struct{ given, want string }{
			"control characters": {"staff:7\n\x00token:X\u0085", "staff:7token:X"},
			"invalid UTF-8":      {"user:\xff1", "user:1"},
			"255 bytes":          {"user:" + strings.Repeat("x", 250), "user:" + strings.Repeat("x", 250)},
			"long":               {"user:" + strings.Repeat("x", 255), "user:" + strings.Repeat("x", 217) + "#1cc51d9050d046918e8080bd6f3776c3"},
			"long, in letters":   {"user:" + strings.Repeat("ü", 200), "user:" + strings.Repeat("ü", 108) + "#1c6dbe6564a1efa5ba744bcf1e8b186b"},
			"none":               {"", ""},
		} {
			require.Equal(t, c.want, tokenauth.ActorFrom(by(c.given)), name)
			_, token, err := m.Issue(by(c.given), tokenauth.Spec{UserID: "u", Name: name})
			require.NoError(t, err, name)
			require.NoError(t, m.Revoke(by(c.given), "u", token.ID))
			stored := must.Get(m.Get(ctx, "u", token.ID))
			require.Equal(t, [2]string{c.want, c.want}, [2]string{stored.CreatedBy, stored.RevokedBy}, name)
			if c.given != "" {
				made := must.Get(m.List(ctx, tokenauth.Query{AllUsers: true, CreatedBy: c.given, IncludeRevoked: true}))
				require.Equal(t, []string{name}, []string{made[0].Name}, "the given text must find the tokens of the actor")
				require.Len(t, made, 1)
			}
		}
		store.ResetCalls()
		for _, odd := range []string{"\xff", "\x00"} { // a database may refuse these texts
			found, err := m.List(ctx, tokenauth.Query{AllUsers: true, CreatedBy: odd, IncludeRevoked: true})
			require.NoError(t, err)
			require.Empty(t, found)
			_, err = m.RevokeCreatedBy(ctx, odd)
			require.ErrorIs(t, err, tokenauth.ErrInvalidSpec)
		}
		require.Empty(t, store.Calls())
	})
	require.Empty(t, tokenauth.ActorFrom(ctx))
}

// An event of an update must say which values were set, so that a log shows what a token could do
// before a leak was found.
func TestUpdateEventHasPatch(t *testing.T) {
	t.Parallel()
	var events fixture.Recorder
	var log bytes.Buffer
	logged := tokenauth.LogEvents(slog.New(slog.NewTextHandler(&log, nil)))
	store := fixture.NewStore()
	options := projects("1")
	options.OnEvent = func(ctx context.Context, e tokenauth.Event) { events.Record(ctx, e); logged(ctx, e) }
	m := fixture.NewManager(store, options)
	_, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	at := time.Date(2100, 1, 2, 3, 4, 5, 999, time.UTC)
	patch := tokenauth.Patch{Name: new("  m "), Scopes: &[]string{"b", "a", "b"}, Resources: &[]string{"1"}, ExpiresAt: &at, Replaces: &token}
	want := &tokenauth.Patch{Name: new("m"), Scopes: &[]string{"a", "b"}, Resources: &[]string{"1"}, ExpiresAt: new(at.Truncate(time.Microsecond))}
	events.Take()
	_, err := m.Update(by("staff:7"), "u", token.ID, patch)
	require.NoError(t, err)
	require.Equal(t, want, events.Take()[0].Patch)
	require.Contains(t, log.String(), `by=staff:7 set.name=m set.scopes="[a b]" set.resources=[1] set.expires_at=2100-01-02T03:04:05.000Z`)

	_, err = m.Update(ctx, "u", token.ID, tokenauth.Patch{Resources: new([]string), ExpiresAt: new(time.Time)})
	require.NoError(t, err)
	require.Contains(t, log.String(), "set.resources=all set.expires_at=never")
	events.Take()
	store.Fail(context.DeadlineExceeded) // the update may have been made
	_, err = m.Update(ctx, "u", token.ID, tokenauth.Patch{Resources: new([]string)})
	fixture.RequireStoreFailure(t, err)
	failed := events.Take()[0]
	require.Equal(t, &tokenauth.Patch{Resources: new([]string)}, failed.Patch)
	require.Error(t, failed.Err)
}

// After a leak, one call must revoke everything that the leaked token made, directly or through
// other tokens, and nothing else. Case P15.
func TestRevokeCreatedByFollowsLineage(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		clock := fixture.NewClock()
		m := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now, MaxPerUser: -1})
		var names []string
		issue := func(actor, userID, name string) string {
			clock.Advance(time.Second)
			_, token, err := m.Issue(by(actor), tokenauth.Spec{UserID: userID, Name: name})
			require.NoError(t, err)
			return "token:" + token.ID
		}
		leaked := issue("user:u", "u", "leaked")
		child := issue(leaked, "u", "child")
		issue(leaked, "other user", "child of another user")
		grandchild := issue(child, "u", "grandchild")
		revoked := issue(grandchild, "u", "revoked")
		issue(revoked, "u", "descendant of a revoked one")
		sibling := issue("user:u", "u", "sibling")
		issue(sibling, "u", "child of sibling")
		issue(leaked+"X", "u", "child of a longer ID")
		require.NoError(t, m.Revoke(ctx, "u", strings.TrimPrefix(revoked, "token:")))

		n, err := m.RevokeCreatedBy(by("staff:7"), leaked)
		require.NoError(t, err)
		require.Equal(t, 4, n)
		for _, token := range must.Get(m.List(ctx, tokenauth.Query{AllUsers: true})) {
			names = append(names, token.Name)
		}
		slices.Sort(names)
		require.Equal(t, []string{"child of a longer ID", "child of sibling", "leaked", "sibling"}, names)
		n, err = m.RevokeCreatedBy(ctx, leaked)
		require.NoError(t, err)
		require.Zero(t, n)
		_, err = m.RevokeCreatedBy(ctx, "")
		require.ErrorIs(t, err, tokenauth.ErrInvalidSpec)
	})
}

// A token that creates tokens while RevokeCreatedBy searches must not keep one, and a row whose
// creator is itself must not make the search endless. Case P15.
func TestRevokeCreatedByFindsLateTokens(t *testing.T) {
	t.Parallel()
	inner := tokenauth.NewMemoryStore()
	store := tokenauthtest.NewStore(inner)
	m := fixture.NewManager(store, &tokenauth.Options{MaxPerUser: -1})
	records := []tokenauth.Record{fixture.NewRecord("late"), fixture.NewRecord("first"), fixture.NewRecord("loop")}
	records[0].Token.CreatedBy, records[0].Token.CreatedAt = "login", fixture.Start.Add(-time.Hour) // behind the cursor
	records[1].Token.CreatedBy, records[2].Token.CreatedBy = "login", "token:loop"
	require.NoError(t, inner.Create(ctx, records[1:]...))
	added := false
	store.Intercept(func(ctx context.Context, method string, next func() error) error {
		err := next()
		if method == "Revoke" && !added {
			added = true
			require.NoError(t, inner.Create(ctx, records[0]))
		}
		return err
	})
	n, err := m.RevokeCreatedBy(ctx, "login")
	require.NoError(t, err)
	require.Equal(t, 2, n)
	n, err = m.RevokeCreatedBy(ctx, "token:loop")
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

// If the store fails halfway, the caller must learn how many tokens were revoked. A token that was
// deleted meanwhile is no failure.
func TestRevokeCreatedByReportsFailure(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		method string
		call   int
		err    error
		n      int
		want   error
	}{
		"the search fails":       {"List", 2, context.DeadlineExceeded, 2, context.DeadlineExceeded},
		"the first search fails": {"List", 1, context.DeadlineExceeded, 0, context.DeadlineExceeded},
		"a revocation fails":     {"Revoke", 2, context.DeadlineExceeded, 1, context.DeadlineExceeded},
		"a token is deleted":     {"Revoke", 1, tokenauth.ErrNotFound, 2, nil},
	} {
		store := fixture.NewStore()
		m := fixture.NewManager(store, nil)
		for _, name := range []string{"a", "b"} {
			_, _, err := m.Issue(by("login"), tokenauth.Spec{UserID: "u", Name: name})
			require.NoError(t, err)
		}
		store.ResetCalls()
		store.Intercept(func(_ context.Context, method string, next func() error) error {
			if method == c.method && store.Count(method) == c.call {
				return c.err
			}
			return next()
		})
		n, err := m.RevokeCreatedBy(ctx, "login")
		require.ErrorIs(t, err, c.want, name)
		require.Equal(t, c.n, n, name)
	}
}

// A call must end even if an actor goes on to create tokens, or if a transaction goes on to show
// the tokens that it has revoked as live.
func TestRevokeCreatedByEnds(t *testing.T) {
	t.Parallel()
	inner := tokenauth.NewMemoryStore()
	store := tokenauthtest.NewStore(inner)
	m := fixture.NewManager(store, &tokenauth.Options{MaxPerUser: -1})
	busy := func(ctx context.Context, method string, next func() error) error {
		if method == "Revoke" {
			r := fixture.NewRecord(fmt.Sprint("number ", store.Count("Revoke")))
			r.Token.CreatedBy = "login"
			require.NoError(t, inner.Create(ctx, r))
		}
		return next()
	}
	_, _, err := m.Issue(by("login"), tokenauth.Spec{UserID: "u", Name: "n"})
	require.NoError(t, err)
	store.Intercept(busy)
	n, err := m.RevokeCreatedBy(ctx, "login")
	require.ErrorIs(t, err, tokenauth.ErrConflict)
	require.Positive(t, n)

	store.Intercept(func(_ context.Context, method string, next func() error) error {
		if method == "Revoke" {
			return nil // the token stays live, as in an old snapshot
		}
		return next()
	})
	_, _, err = m.Issue(by("cli"), tokenauth.Spec{UserID: "u", Name: "cli"})
	require.NoError(t, err)
	n, err = m.RevokeCreatedBy(ctx, "cli")
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

// A token that was stored with another spelling of its user ID must not protect the others.
func TestRevokeCreatedByRevokesOddUserIDs(t *testing.T) {
	t.Parallel()
	store := tokenauth.NewMemoryStore()
	before := fixture.NewManager(store, nil)
	for _, userID := range []string{"007", "7"} {
		_, _, err := before.Issue(by("token:X"), tokenauth.Spec{UserID: userID, Name: "n"})
		require.NoError(t, err)
	}
	m := fixture.NewManager(store, &tokenauth.Options{CheckUserID: tokenauth.DecimalUserID})
	n, err := m.RevokeCreatedBy(ctx, "token:X")
	require.NoError(t, err)
	require.Equal(t, 2, n)
}

// An event must not say that somebody made a request whose key was refused.
func TestOnlyChangesHaveActors(t *testing.T) {
	t.Parallel()
	var events fixture.Recorder
	m := fixture.NewManager(tokenauth.NewMemoryStore(), &tokenauth.Options{OnEvent: events.Record})
	key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	_, _, err := m.Rotate(ctx, "u", token.ID, time.Hour)
	require.NoError(t, err)
	events.Take()
	_, err = m.Authenticate(by("user:1"), key)
	require.NoError(t, err)
	_, err = m.Authenticate(by("user:1"), "wrong")
	require.Error(t, err)
	for _, e := range events.Take() {
		require.Empty(t, e.By, e.Kind)
	}
}
