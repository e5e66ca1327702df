package tokenimport_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
	"github.com/go-tokenauth/tokenauth/tokenimport"
)

// If a token of the service already has the name of a row, Run must add a number to the name of the
// row. The client of the row must not lose access.
// Case K11.
func TestRunNumbersTakenNames(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		db := sqlite.New(t)
		newDjango(t, db)
		m := newManager(store)
		for i := range 20 {
			addToken(t, db, drfKey(i), 1+i%9, fmt.Sprint("token ", i/9))
		}
		for _, name := range []string{"token 0", "token 0 (2)", "token 1"} {
			_, _, err := m.Issue(t.Context(), tokenauth.Spec{UserID: "3", Name: name})
			require.NoError(t, err)
		}
		report, _ := run(t, m, tokenimport.DRF(db, tokenauth.SQLite, manyTokens), tokenimport.Options{})
		require.Equal(t, 20, report.Imported)
		for i := range 20 {
			require.Equal(t, fmt.Sprint(1+i%9), userOf(t, m, drfKey(i)))
		}
		require.ElementsMatch(t, []string{"token 0", "token 0 (2)", "token 0 (3)", "token 1", "token 1 (2)"}, namesOf(t, m, "3"))
		require.ElementsMatch(t, []string{"token 0", "token 1"}, namesOf(t, m, "4"))
	})
}

// Other systems accept names with invisible characters, and a long name must be cut to get a
// number. Run must make an acceptable name of each, because one refused name would stop the import.
func TestRunCleansNames(t *testing.T) {
	t.Parallel()
	db := sqlite.New(t)
	newDjango(t, db)
	const family = "👨\u200d👩\u200d👧\u200d👦" // 7 characters
	for i, name := range []string{
		strings.Repeat(family, 9) + "x", strings.Repeat(family, 9) + "x", "lap\u00adtop\ufe0f", "\u3164",
	} {
		addToken(t, db, drfKey(i), 3, name)
	}
	m := newManager(tokenauth.NewMemoryStore())
	report, refused := run(t, m, tokenimport.DRF(db, tokenauth.SQLite, manyTokens), tokenimport.Options{})
	require.Empty(t, refused)
	require.Equal(t, 4, report.Imported)
	require.ElementsMatch(t, []string{
		strings.Repeat(family, 9) + "x", strings.Repeat(family, 8) + "👨\u200d👩 (2)", "laptop", "drf",
	}, namesOf(t, m, "3"))
}

// A user may take a name while Run looks for free names. Run must then try other names. If all rows
// of a page have the same name, Run must still store the page with few statements.
// Case K11.
func TestRunNumbersNamesTakenMeanwhile(t *testing.T) {
	t.Parallel()
	db := sqlite.New(t)
	newDjango(t, db)
	addTokens(t, db, 500, func(int) string { return "laptop" })
	for taken := range 4 {
		memory := tokenauth.NewMemoryStore()
		store := tokenauthtest.NewStore(memory)
		store.Intercept(func(ctx context.Context, method string, next func() error) error {
			if n := store.Count("Create"); method == "Create" && n <= taken {
				name := "laptop" // the name that Run has chosen for a token of user 1
				if n > 1 {
					name = fmt.Sprintf("laptop (%d)", n)
				}
				rival := tokenauth.Token{ID: fmt.Sprint("rival", n), UserID: "1", Name: name, CreatedAt: time.Now()}
				if err := memory.Create(ctx, tokenauth.Record{Token: rival, Digest: tokenauth.DigestOf(rival.ID)}); err != nil {
					return err
				}
			}
			return next()
		})
		report, _ := run(t, newManager(store), tokenimport.DRF(db, tokenauth.SQLite, manyTokens), tokenimport.Options{})
		require.Equal(t, tokenimport.Report{Read: 500, Imported: 500}, report)
		require.Equal(t, max(2, taken+1), store.Count("Create"), "statements for a page")
	}
}
