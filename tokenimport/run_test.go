package tokenimport_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
	"github.com/go-tokenauth/tokenauth/tokenimport"
)

// Run must report each refused row with the reason, and import the other rows. No key may sign in
// another user.
// Case K11.
func TestRunReportsRefusedRows(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		db := sqlite.New(t)
		newDjango(t, db)
		good := []string{}
		add := func(userID, name any) {
			good = append(good, drfKey(fmt.Sprint("good", len(good))))
			addToken(t, db, good[len(good)-1], userID, name)
		}
		add(1, "laptop")
		add(1, "laptop")                   // duplicate name
		add(2, "laptop")                   // another user has this name
		add(3, "")                         // no name
		add(3, nil)                        // no name again
		add(4, strings.Repeat("é", 65))    // too long
		add(4, strings.Repeat("é", 64))    // equal to the name before, after the cut
		add(5, " a\x00b\u202ec\xff\u200b") // characters that a name must not contain
		add(5, "\t\u200b")                 // only such characters
		refusedRows := []struct {
			key    string
			userID any
			reason tokenimport.Reason
		}{
			{drfKey("none"), 11, tokenimport.ReasonNoUser},
			{drfKey("null"), nil, tokenimport.ReasonNoUser},
			{drfKey("inactive"), 10, tokenimport.ReasonInactive},
			{drfKey("short")[:39], 1, tokenimport.ReasonMalformed},
			{drfKey("long") + "0", 1, tokenimport.ReasonMalformed},
			{strings.ToUpper(drfKey("upper")), 1, tokenimport.ReasonMalformed},
			{"", 1, tokenimport.ReasonMalformed},
			{good[0], 6, tokenimport.ReasonKeyTaken}, // key of another user
		}
		var want []tokenimport.Refusal
		for i, r := range refusedRows {
			addToken(t, db, r.key, r.userID, "x")
			want = append(want, tokenimport.Refusal{Row: fmt.Sprint("id=", len(good)+1+i), Reason: r.reason})
		}
		addToken(t, db, drfKey("last"), 9, "last")
		execute(t, db, "INSERT INTO tokens_token (key, user_id, name, created) VALUES (?, 9, 'time', 'yesterday')", drfKey("time"))
		want = append(want, tokenimport.Refusal{Row: fmt.Sprint("id=", len(good)+len(refusedRows)+2), Reason: tokenimport.ReasonTime})

		m := newManager(store)
		dry, refused := run(t, m, tokenimport.DRF(db, tokenauth.SQLite, manyTokens), tokenimport.Options{DryRun: true})
		require.Equal(t, want, refused)
		tokens, err := m.List(t.Context(), tokenauth.Query{AllUsers: true, IncludeRevoked: true})
		require.NoError(t, err)
		require.Empty(t, tokens, "a dry run must store nothing")

		report, refused := run(t, m, tokenimport.DRF(db, tokenauth.SQLite, manyTokens), tokenimport.Options{})
		require.Equal(t, want, refused)
		require.Equal(t, report, dry)
		require.Equal(t, len(good)+1, report.Imported)
		for i, user := range []string{"1", "1", "2", "3", "3", "4", "4", "5", "5"} {
			require.Equal(t, user, userOf(t, m, good[i]))
		}
		for _, r := range refusedRows[:7] {
			require.Empty(t, userOf(t, m, r.key), r.reason)
		}
		require.ElementsMatch(t, []string{"laptop", "laptop (2)"}, namesOf(t, m, "1"))
		require.ElementsMatch(t, []string{"laptop"}, namesOf(t, m, "2"))
		require.ElementsMatch(t, []string{"drf", "drf (2)"}, namesOf(t, m, "3"))
		require.ElementsMatch(t, []string{strings.Repeat("é", 64), strings.Repeat("é", 60) + " (2)"}, namesOf(t, m, "4"))
		require.ElementsMatch(t, []string{"abc", "drf"}, namesOf(t, m, "5"))
	})
}

// An administrator repeats an import to add new rows. The second run must not fail on tokens that
// exist. It must not restore a key that was rotated or revoked after the first run.
// Case K11.
func TestRunAgainImportsOnlyNewRows(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		db := sqlite.New(t)
		newDjango(t, db)
		for i := range 5 {
			addToken(t, db, drfKey(i), 1, fmt.Sprint("token ", i))
		}
		addToken(t, db, drfKey("sleeper"), 10, "x")
		m := newManager(store)
		again := func() tokenimport.Report {
			report, _ := run(t, m, tokenimport.DRF(db, tokenauth.SQLite, manyTokens), tokenimport.Options{})
			return report
		}
		require.Equal(t, tokenimport.Report{Read: 6, Imported: 5, Refused: 1}, again())
		tokens, err := m.List(t.Context(), tokenauth.Query{UserID: "1"})
		require.NoError(t, err)
		byName := map[string]string{}
		for _, token := range tokens {
			byName[token.Name] = token.ID
		}
		key, _, err := m.Rotate(t.Context(), "1", byName["token 0"], 0)
		require.NoError(t, err)
		require.NoError(t, m.Revoke(t.Context(), "1", byName["token 1"]))
		_, err = m.Update(t.Context(), "1", byName["token 2"], tokenauth.Patch{Name: new("token 1")})
		require.NoError(t, err)
		_, err = m.Prune(t.Context(), time.Now())
		require.NoError(t, err)
		execute(t, db, "UPDATE auth_user SET is_active = id <> 1") // deactivates user 1 and activates user 10
		addToken(t, db, drfKey("new"), 2, "new")

		require.Equal(t, tokenimport.Report{Read: 7, Imported: 2, Existing: 5}, again())
		require.Equal(t, tokenimport.Report{Read: 7, Existing: 7}, again())
		var users []string
		for _, k := range []string{drfKey(0), key.Reveal(), drfKey(1), drfKey(2), drfKey("sleeper"), drfKey("new")} {
			users = append(users, userOf(t, m, k))
		}
		require.Equal(t, []string{"", "1", "", "1", "10", "2"}, users)
		require.ElementsMatch(t, []string{"token 0", "token 1", "token 3", "token 4"}, namesOf(t, m, "1"))
	})
}

func numbered(i int) string { return fmt.Sprint("token ", i) }

var errDown = errors.New("the database is down")

// If the store fails or the context ends during an import, the report must count only stored rows.
// The next run must import the other rows.
// Case K11.
func TestRunContinuesAfterInterruption(t *testing.T) {
	t.Parallel()
	db := sqlite.New(t)
	newDjango(t, db)
	addTokens(t, db, 1200, numbered)
	for name, c := range map[string]struct {
		interrupt func(s *tokenauthtest.Store, cancel context.CancelFunc)
		want      error
	}{
		"the store fails":     {func(s *tokenauthtest.Store, _ context.CancelFunc) { s.Fail(errDown) }, errDown},
		"the context is done": {func(_ *tokenauthtest.Store, cancel context.CancelFunc) { cancel() }, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := tokenauthtest.NewStore(tokenauth.NewMemoryStore())
			m := newManager(store)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			report, err := tokenimport.Run(ctx, m, tokenimport.DRF(db, tokenauth.SQLite, manyTokens), &tokenimport.Options{
				Progress: func(tokenimport.Report) { c.interrupt(store, cancel) },
			})
			require.ErrorIs(t, fixture.Noted(err), c.want)
			require.Equal(t, 500, report.Imported)
			store.Fail(nil)
			report, _ = run(t, m, tokenimport.DRF(db, tokenauth.SQLite, manyTokens), tokenimport.Options{})
			require.Equal(t, tokenimport.Report{Read: 1200, Imported: 700, Existing: 500}, report)
			for i := range 1200 {
				require.Equal(t, fmt.Sprint(1+i%9), userOf(t, m, drfKey(i)))
			}
		})
	}
}

// If the response of the database is lost, the rows may or may not be stored. The next run must
// neither lose nor duplicate them.
// Cases K11, F8.
func TestRunContinuesAfterLostResponse(t *testing.T) {
	t.Parallel()
	db := sqlite.New(t)
	newDjango(t, db)
	addTokens(t, db, 700, numbered)
	store := tokenauthtest.NewStore(tokenauth.NewMemoryStore())
	store.Intercept(func(_ context.Context, method string, next func() error) error {
		err := next()
		if method == "Create" && store.Count("Create") == 2 {
			return errors.Join(errDown, err)
		}
		return err
	})
	m := newManager(store)
	report, err := tokenimport.Run(t.Context(), m, tokenimport.DRF(db, tokenauth.SQLite, manyTokens), nil)
	require.ErrorIs(t, fixture.Noted(err), errDown)
	require.Equal(t, tokenimport.Report{Read: 700, Imported: 500}, report)
	report, _ = run(t, m, tokenimport.DRF(db, tokenauth.SQLite, manyTokens), tokenimport.Options{})
	require.Equal(t, tokenimport.Report{Read: 700, Existing: 700}, report)
}

// Two administrators may start the import at the same time. Each row must become one token.
// Case K11.
func TestConcurrentRunsImportEachRowOnce(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		db := sqlite.New(t)
		newDjango(t, db)
		const rows = 510
		addTokens(t, db, rows, func(int) string { return "laptop" }) // each token needs a number in its name
		m := newManager(store)
		var running sync.WaitGroup
		for range 2 {
			running.Go(func() {
				report, err := tokenimport.Run(context.Background(), m, tokenimport.DRF(db, tokenauth.SQLite, manyTokens), nil)
				if err != nil || report.Refused > 0 {
					t.Errorf("%+v, %v", report, err)
				}
			})
		}
		running.Wait()
		report, _ := run(t, m, tokenimport.DRF(db, tokenauth.SQLite, manyTokens), tokenimport.Options{})
		require.Equal(t, tokenimport.Report{Read: rows, Existing: rows}, report)
		tokens, err := m.List(t.Context(), tokenauth.Query{AllUsers: true, IncludeRevoked: true})
		require.NoError(t, err)
		require.Len(t, tokens, rows)
	})
}

// A concurrent import may add a row first, and its user may rotate the token. Run must count the
// row as existing, and must not restore the previous key.
// Case K11.
func TestRunLeavesTokenRotatedMeanwhile(t *testing.T) {
	t.Parallel()
	db := sqlite.New(t)
	newDjango(t, db)
	for i := range 3 {
		addToken(t, db, drfKey(i), 1, fmt.Sprint("token ", i))
	}
	memory := tokenauth.NewMemoryStore()
	inner, store := newManager(memory), tokenauthtest.NewStore(memory)
	store.Intercept(func(_ context.Context, method string, next func() error) error {
		if method != "Create" || store.Count("Create") > 1 {
			return next()
		}
		run(t, inner, tokenimport.DRF(db, tokenauth.SQLite, manyTokens), tokenimport.Options{})
		tokens, err := inner.List(t.Context(), tokenauth.Query{UserID: "1"})
		require.NoError(t, err)
		_, _, err = inner.Rotate(t.Context(), "1", tokens[0].ID, 0)
		require.NoError(t, err)
		return next()
	})
	report, _ := run(t, newManager(store), tokenimport.DRF(db, tokenauth.SQLite, manyTokens), tokenimport.Options{})
	require.Equal(t, 1, report.Existing)
	require.Zero(t, report.Refused)
	require.Len(t, namesOf(t, inner, "1"), 3)
}

// Read access to the table must not allow anyone to sign in with a stored digest. A row must not
// take over a key that a token of another origin has.
// Case K12.
func TestStoredDigestIsNoKey(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		db := sqlite.New(t)
		newDjango(t, db)
		m := newManager(store)
		_, err := m.Import(t.Context(), tokenauth.ImportSpec{UserID: "1", Name: "x", Origin: "other", Digest: tokenauth.DigestOf(drfKey("x"))})
		require.NoError(t, err)
		addToken(t, db, drfKey("x"), 2, "x")
		addToken(t, db, drfKey("y"), 2, "y")
		_, refused := run(t, m, tokenimport.DRF(db, tokenauth.SQLite, manyTokens), tokenimport.Options{})
		require.Equal(t, []tokenimport.Refusal{{Row: "id=1", Reason: tokenimport.ReasonKeyTaken}}, refused)
		digest := tokenauth.DigestOf(drfKey("y"))
		stored := hex.EncodeToString(digest[:])
		for _, presented := range []string{drfKey("x"), stored, stored[:40], stored[24:], string(digest[:]), strings.ToUpper(drfKey("y"))} {
			require.Empty(t, userOf(t, m, presented))
		}
		require.Equal(t, "2", userOf(t, m, drfKey("y")))
	})
}

// An application whose pool has only one connection must be able to import. Run must not query the
// store while it reads rows.
// Case F5.
func TestRunNeedsOnlyOneConnection(t *testing.T) {
	t.Parallel()
	db := sqlite.New(t)
	db.SetMaxOpenConns(1)
	newDjango(t, db)
	addTokens(t, db, 501, numbered)
	m := newManager(sqlite.NewStore(t, db, nil))
	var progress []tokenimport.Report
	report, _ := run(t, m, tokenimport.DRF(db, tokenauth.SQLite, manyTokens), tokenimport.Options{
		Progress: func(r tokenimport.Report) { progress = append(progress, r) },
	})
	require.Equal(t, []tokenimport.Report{{Read: 500, Imported: 500}, {Read: 501, Imported: 501}}, progress)
	require.Equal(t, progress[1], report)
}

// Run must refuse a scope that the service does not know, also in a dry run. Otherwise clients
// would get status 403 after the move.
func TestRunRefusesUnknownScope(t *testing.T) {
	t.Parallel()
	db := sqlite.New(t)
	newDjango(t, db)
	addToken(t, db, drfKey("a"), 1, "x")
	m := must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "acme", &tokenauth.Options{Scopes: []string{"read"}}))
	opts := *manyTokens
	for _, dry := range []bool{true, false} {
		opts.Scopes = []string{"read"}
		_, refused := run(t, m, tokenimport.DRF(db, tokenauth.SQLite, &opts), tokenimport.Options{DryRun: true})
		require.Empty(t, refused)
		opts.Scopes = []string{"read", "write"}
		_, refused = run(t, m, tokenimport.DRF(db, tokenauth.SQLite, &opts), tokenimport.Options{DryRun: dry})
		require.Equal(t, []tokenimport.Refusal{{Row: "id=1", Reason: "scopes must not contain an unknown scope"}}, refused)
	}
}

// Remaining must count the imported tokens whose original key still works. If the count is too low,
// an administrator removes the format too early and locks clients out. Remaining cannot count
// previous keys within their grace period.
func TestRemainingCountsImportedKeys(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		m := newManager(store)
		left, err := tokenimport.Remaining(t.Context(), m, "drf")
		require.NoError(t, err)
		require.Zero(t, left)
		used := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		spec := func(i int) tokenauth.ImportSpec {
			return tokenauth.ImportSpec{
				UserID: "1", Name: fmt.Sprint("token ", i), Origin: "drf", Digest: tokenauth.DigestOf(drfKey(i)), CreatedAt: used.Add(time.Duration(-i) * time.Hour),
			}
		}
		var specs []tokenauth.ImportSpec
		for i := range 600 {
			specs = append(specs, spec(i))
		}
		specs[0].Origin = "knox"
		specs[1].ExpiresAt = time.Now().Add(-time.Second)
		specs[4].LastUsedAt, specs[598].LastUsedAt = used, used.Add(-time.Second)
		specs[0].LastUsedAt = used.Add(time.Hour)
		tokens, err := m.Import(t.Context(), specs...)
		require.NoError(t, err)
		_, _, err = m.Rotate(t.Context(), "1", tokens[2].ID, time.Hour)
		require.NoError(t, err)
		require.NoError(t, m.Revoke(t.Context(), "1", tokens[3].ID))
		_, _, err = m.Issue(t.Context(), tokenauth.Spec{UserID: "1", Name: "native"})
		require.NoError(t, err)

		left, err = tokenimport.Remaining(t.Context(), m, "drf")
		require.NoError(t, err)
		require.Equal(t, tokenimport.Remainder{Tokens: 596, LastUsedAt: used}, left)
	})
	failing := tokenauthtest.NewStore(tokenauth.NewMemoryStore())
	failing.Fail(errDown)
	_, err := tokenimport.Remaining(t.Context(), newManager(failing), "drf")
	require.ErrorIs(t, err, errDown)
}

// The key of a token that exceeded IdleTimeout is refused, so Remaining must not count the token.
// Otherwise an operator would wait forever for its client.
func TestRemainingOmitsIdleTokens(t *testing.T) {
	t.Parallel()
	clock := fixture.NewClock()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), &tokenauth.Options{Now: clock.Now, IdleTimeout: time.Hour})
	for i, usedBefore := range []time.Duration{0, 2 * time.Hour} {
		_, err := m.Import(t.Context(), tokenauth.ImportSpec{
			UserID: "1", Name: fmt.Sprint(i), Origin: "drf", Digest: tokenauth.DigestOf(drfKey(i)),
			CreatedAt: fixture.Start.Add(-5 * time.Hour), LastUsedAt: fixture.Start.Add(-usedBefore),
		})
		require.NoError(t, err)
	}
	left, err := tokenimport.Remaining(t.Context(), m, "drf")
	require.NoError(t, err)
	require.Equal(t, 1, left.Tokens)
}

// A dry run must refuse the user IDs that the Manager refuses, as the real run does.
func TestDryRunChecksUserIDs(t *testing.T) {
	t.Parallel()
	db := sqlite.New(t)
	newDjango(t, db)
	addToken(t, db, drfKey("one"), 1, "laptop")
	onlyUUIDs := fixture.NewManager(tokenauth.NewMemoryStore(), &tokenauth.Options{CheckUserID: tokenauth.UUIDUserID})
	for _, dry := range []bool{true, false} {
		report, refused := run(t, onlyUUIDs, tokenimport.DRF(db, tokenauth.SQLite, manyTokens), tokenimport.Options{DryRun: dry})
		require.Equal(t, 1, report.Refused)
		require.Contains(t, string(refused[0].Reason), "must be a UUID")
	}
}

// Remaining must also count the tokens after the first page of the list.
func TestRemainingCountsAllPages(t *testing.T) {
	if testing.Short() {
		t.Skip("creates 21,000 tokens")
	}
	t.Parallel()
	many := newManager(tokenauth.NewMemoryStore())
	for i := range 21 {
		specs := make([]tokenauth.ImportSpec, 1_000)
		for j := range specs {
			name := fmt.Sprint("token ", 1_000*i+j)
			specs[j] = tokenauth.ImportSpec{UserID: name, Name: name, Origin: "drf", Digest: tokenauth.DigestOf(name)}
		}
		_, err := many.Import(t.Context(), specs...)
		require.NoError(t, err)
	}
	left, err := tokenimport.Remaining(t.Context(), many, "drf")
	require.NoError(t, err)
	require.Equal(t, 21_000, left.Tokens)
}
