package tokenimport_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
	"github.com/go-tokenauth/tokenauth/tokenimport"
)

// fixtures has the options for each database in testdata/drf. Django has written these databases.
var fixtures = map[string]*tokenimport.DRFOptions{"stock_authtoken": nil, "many_tokens": manyTokens}

// After a service has moved, each key of an active user must sign in the same user as before. Keys
// of inactive users must be refused.
// Case K10.
func TestDRFKeysKeepWorking(t *testing.T) {
	t.Parallel()
	for name, opts := range fixtures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
				db := sqlite.New(t)
				rows := loadFixture(t, db, name)
				m := newManager(store)
				report, refused := run(t, m, tokenimport.DRF(db, tokenauth.SQLite, opts), tokenimport.Options{})
				require.Equal(t, len(rows), report.Read)
				auth := must.Get(tokenauth.NewAuthenticator(m, func(_ context.Context, id string) (string, error) { return id, nil }, nil))
				h := auth.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					user, _ := auth.User(r.Context())
					token, _ := auth.Token(r.Context())
					_, _ = fmt.Fprint(w, user, " ", token.Name)
				}))
				active := 0
				for _, row := range rows {
					r := httptest.NewRequest(http.MethodGet, "/", nil)
					r.Header.Set("Authorization", "Token "+row.key)
					w := httptest.NewRecorder()
					h.ServeHTTP(w, r)
					_, _ = fmt.Fprint(&leak.Default, w.Header(), w.Body)
					if !row.active {
						require.Equal(t, http.StatusUnauthorized, w.Code)
						continue
					}
					active++
					if row.name == "" {
						row.name = "drf"
					}
					require.Equal(t, row.userID+" "+row.name, w.Body.String())
				}
				require.Equal(t, active, report.Imported)
				for _, r := range refused {
					require.Equal(t, tokenimport.ReasonInactive, r.Reason)
				}
				again, _ := run(t, m, tokenimport.DRF(db, tokenauth.SQLite, opts), tokenimport.Options{})
				require.Equal(t, tokenimport.Report{Read: len(rows), Existing: active, Refused: report.Refused}, again)
			})
		})
	}
}

// An imported token must keep its name and age, and must show the end of its key as a hint.
// Otherwise a user would revoke the wrong token on the account page.
// Case K10.
func TestDRFImportKeepsNameAgeAndHint(t *testing.T) {
	t.Parallel()
	db := sqlite.New(t)
	newDjango(t, db)
	addToken(t, db, drfKey("a"), 7, "laptop")
	opts := *manyTokens
	opts.Scopes = []string{"write", "read"}
	m := newManager(sqlite.NewStore(t, db, nil))
	source := tokenimport.DRF(db, tokenauth.SQLite, &opts)
	opts.Scopes[0] = "admin" // must not change the source
	run(t, m, source, tokenimport.Options{})
	tokens, err := m.List(t.Context(), tokenauth.Query{UserID: "7"})
	require.NoError(t, err)
	require.Len(t, tokens, 1)
	require.Equal(t, tokenauth.Token{
		ID: tokens[0].ID, UserID: "7", Name: "laptop", Scopes: []string{"read", "write"}, Hint: drfKey("a")[36:], Origin: "drf",
		CreatedAt: time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC),
	}, tokens[0])
}

// Tables and columns of a service may have any name, even a keyword of SQL.
func TestDRFReadsTablesOfAnyName(t *testing.T) {
	t.Parallel()
	db := sqlite.New(t)
	execute(t, db, `CREATE TABLE people ("pk" text PRIMARY KEY, "in" bool)`)
	execute(t, db, `CREATE TABLE "order" ("select" text UNIQUE, "from" text, "where" text, "on" text, "1st" integer PRIMARY KEY)`)
	execute(t, db, `INSERT INTO people VALUES ('c0ffee', 1)`)
	execute(t, db, `INSERT INTO "order" VALUES (?, 'c0ffee', 'laptop', '2026-03-01', 3), ('x', 'c0ffee', 'x', ?, 5)`, drfKey("b"), created)
	opts := &tokenimport.DRFOptions{
		Table: "main.order", ID: "1st", Key: "select", UserID: "from", Name: "where", Created: "on", Users: "people", UserPK: "pk", Active: "in",
	}
	m := newManager(tokenauth.NewMemoryStore())
	_, refused := run(t, m, tokenimport.DRF(db, tokenauth.SQLite, opts), tokenimport.Options{})
	require.Equal(t, []tokenimport.Refusal{{Row: "1st=3", Reason: tokenimport.ReasonTime}, {Row: "1st=5", Reason: tokenimport.ReasonMalformed}}, refused)
	for _, opts.ID = range []string{"select", "SELECT"} { // OnRefused must not receive the key
		_, refused = run(t, m, tokenimport.DRF(db, tokenauth.SQLite, opts), tokenimport.Options{})
		require.Equal(t, []string{"from=c0ffee", "from=c0ffee"}, []string{refused[0].Row, refused[1].Row})
	}
	execute(t, db, `UPDATE "order" SET "on" = ? WHERE "1st" = 3`, created)
	run(t, m, tokenimport.DRF(db, tokenauth.SQLite, opts), tokenimport.Options{})
	require.Equal(t, "c0ffee", userOf(t, m, drfKey("b")))
}

// If an administrator confuses the columns, keys must not become names of tokens or appear in a
// log.
// Case X1.
func TestKeyColumnIsNeitherNameNorLabel(t *testing.T) {
	t.Parallel()
	db := sqlite.New(t)
	newDjango(t, db)
	addToken(t, db, drfKey("a"), 1, "x")
	m := newManager(tokenauth.NewMemoryStore())
	_, refused := run(t, m, tokenimport.DRF(db, tokenauth.SQLite, &tokenimport.DRFOptions{Table: "tokens_token", ID: "key", Key: "id"}), tokenimport.Options{})
	require.Equal(t, []tokenimport.Refusal{{Row: "user_id=1", Reason: tokenimport.ReasonMalformed}}, refused)
	for _, s := range []*tokenimport.Source{
		tokenimport.DRF(db, tokenauth.SQLite, &tokenimport.DRFOptions{Table: "tokens_token", ID: "id", Name: "key"}),
		tokenimport.DRF(db, tokenauth.SQLite, &tokenimport.DRFOptions{Table: "tokens_token", UserID: "KEY"}),
		tokenimport.Knox(db, tokenauth.SQLite, tokenimport.Knox5, &tokenimport.KnoxOptions{Name: "Digest"}),
	} {
		_, err := tokenimport.Run(t.Context(), m, s, nil)
		require.ErrorIs(t, fixture.Noted(err), tokenauth.ErrInvalidSpec)
	}
}

// A name from a configuration must not become SQL. Run must return an error for a source that it
// cannot read.
func TestRunRefusesBadSources(t *testing.T) {
	t.Parallel()
	db := sqlite.New(t)
	newDjango(t, db)
	for name, s := range map[string]*tokenimport.Source{
		"no database":         tokenimport.DRF(nil, tokenauth.SQLite, nil),
		"an unknown dialect":  tokenimport.DRF(db, "oracle", nil),
		"a quote":             tokenimport.DRF(db, tokenauth.SQLite, &tokenimport.DRFOptions{Table: `tokens_token" --`}),
		"a quote of MySQL":    tokenimport.DRF(db, tokenauth.MySQL, &tokenimport.DRFOptions{Key: "key`"}),
		"an empty part":       tokenimport.DRF(db, tokenauth.SQLite, &tokenimport.DRFOptions{Table: "main."}),
		"a statement":         tokenimport.DRF(db, tokenauth.SQLite, &tokenimport.DRFOptions{Users: "auth_user; DROP TABLE tokens_token"}),
		"a missing table":     tokenimport.DRF(db, tokenauth.SQLite, nil),
		"a missing column":    tokenimport.DRF(db, tokenauth.SQLite, &tokenimport.DRFOptions{Table: "tokens_token", Active: "enabled"}),
		"a column with a dot": tokenimport.DRF(db, tokenauth.SQLite, &tokenimport.DRFOptions{Table: "tokens_token", Name: "t.name"}),
	} {
		report, err := tokenimport.Run(t.Context(), newManager(tokenauth.NewMemoryStore()), s, nil)
		require.ErrorContains(t, fixture.Noted(err), "tokenimport: ", name)
		require.Zero(t, report, name)
	}
}

// The format of DRF must refuse every string that is not a key of DRF, before a query.
// Cases H15, K12.
func TestDRFFormatRefusesOtherStrings(t *testing.T) {
	t.Parallel()
	f := tokenimport.DRFFormat()
	require.Equal(t, "drf", f.Origin)
	text, ok := f.Canonical(drfKey("c"))
	require.True(t, ok)
	require.Equal(t, drfKey("c"), text)
	for _, presented := range []string{
		"", drfKey("c")[1:], drfKey("c") + "0", strings.ToUpper(drfKey("c")), drfKey("c")[1:] + "g", drfKey("c")[1:] + " ",
		"1|" + drfKey("c"), strings.Repeat("é", 20),
	} {
		_, ok := f.Canonical(presented)
		require.False(t, ok, "%d characters", len(presented))
	}
}
