package tokenimport

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// timeOf must read the times of each database. A misread time would accept an expired key or show a
// wrong age.
// Case K11.
func TestTimeOfReadsTimesOfDatabases(t *testing.T) {
	t.Parallel()
	want := time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)
	for name, v := range map[string]any{
		"SQLite and MySQL": "2026-03-01 12:00:00.123456",
		"with a T":         "2026-03-01T12:00:00.123456",
		"in UTC":           "2026-03-01T12:00:00.123456Z",
		"with an offset":   "2026-03-01 17:30:00.123456+05:30",
		"with hours":       "2026-03-01 10:00:00.123456-02",
	} {
		got, ok := timeOf(v, time.UTC)
		require.True(t, ok, name)
		require.Equal(t, want, got, name)
	}
	berlin := time.FixedZone("CET", 60*60)
	for v, hour := range map[string]int{"2026-03-01 12:00:00": 11, "2026-03-01 12:00:00+00": 12, "2026-03-01T12:00:00Z": 12} {
		got, ok := timeOf(v, berlin)
		require.True(t, ok, v)
		require.Equal(t, time.Date(2026, 3, 1, hour, 0, 0, 0, time.UTC), got, v)
	}
	got, ok := timeOf(nil, time.UTC)
	require.True(t, ok)
	require.True(t, got.IsZero())
	for name, v := range map[string]any{
		"empty": "", "a word": "infinity", "a day": "2026-03-01", "MySQL's zero": "0000-00-00 00:00:00", "the zero time": "0001-01-01 00:00:00",
		"seconds": int64(1772366400), "no such day": "2026-02-30 12:00:00", "text after the time": "2026-03-01 12:00:00 x",
	} {
		_, ok := timeOf(v, time.UTC)
		require.False(t, ok, name)
	}
}

// isTrue must treat every unknown value as false, so that only active users keep their keys.
func TestIsTrueRefusesUnknownValues(t *testing.T) {
	t.Parallel()
	for _, v := range []any{true, int64(1), "1", "true", "t"} {
		require.True(t, isTrue(v), "%T %v", v, v)
	}
	for _, v := range []any{nil, false, int64(0), int64(2), "", "0", "f", "yes", "\x01"} {
		require.False(t, isTrue(v), "%T %q", v, v)
	}
}

// newTestSource returns a source with the keys 0 to n-1. The function f returns the row for a key.
func newTestSource(t *testing.T, n int, f func(i int) row) *Source {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "app.db"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	_, err = db.Exec("CREATE TABLE numbers (n integer PRIMARY KEY)")
	require.NoError(t, err)
	_, err = db.Exec("WITH RECURSIVE all_of (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM all_of WHERE n < ?) INSERT INTO numbers SELECT n FROM all_of", n-1)
	require.NoError(t, err)
	s := newSource(db, tokenauth.SQLite, "test")
	s.table, s.key, s.columns = "numbers", "n", []string{"''"}
	s.read = func(key any, _ []any) row { return f(int(key.(int64))) }
	return s
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func spec(i int) tokenauth.ImportSpec {
	return tokenauth.ImportSpec{UserID: "u", Name: fmt.Sprint("token ", i), Origin: "test", Digest: tokenauth.DigestOf(fmt.Sprint("key ", i))}
}

func refusals(t *testing.T, m *tokenauth.Manager, s *Source, opts Options) (Report, map[string]Reason) {
	t.Helper()
	refused := map[string]Reason{}
	opts.OnRefused = func(r Refusal) { refused[r.Row] = r.Reason }
	report, err := Run(t.Context(), m, s, &opts)
	require.NoError(t, err)
	return report, refused
}

// Run must not import an expired key, because its token would only occupy a name. A key with a
// later expiry must keep that expiry.
// Case K11.
func TestRunRefusesExpiredRows(t *testing.T) {
	t.Parallel()
	s := newTestSource(t, 4, func(i int) row {
		r := row{label: fmt.Sprint("n=", i), spec: spec(i)}
		r.spec.ExpiresAt = noon.Add(time.Duration(i-2) * time.Microsecond)
		if i == 0 {
			r.spec.ExpiresAt = time.Time{}
		}
		return r
	})
	m := must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "acme", &tokenauth.Options{Now: func() time.Time { return noon }}))
	report, refused := refusals(t, m, s, Options{})
	require.Equal(t, map[string]Reason{"n=1": ReasonExpired, "n=2": ReasonExpired}, refused)
	require.Equal(t, Report{Read: 4, Imported: 2, Refused: 2}, report)
	tokens, err := m.List(t.Context(), tokenauth.Query{UserID: "u"})
	require.NoError(t, err)
	require.Len(t, tokens, 2)
	for _, token := range tokens {
		require.Equal(t, token.Name == "token 3", token.ExpiresAt.Equal(noon.Add(time.Microsecond)))
	}
	report, _ = refusals(t, m, s, Options{}) // the token has expired since, but still exists
	require.Equal(t, Report{Read: 4, Existing: 2, Refused: 2}, report)
}

// If the Manager refuses one row, Run must import the other rows of the page.
// Case K11.
func TestInvalidRowDoesNotStopItsPage(t *testing.T) {
	t.Parallel()
	const rows = 1010
	s := newTestSource(t, rows, func(i int) row {
		r := row{label: fmt.Sprint("n=", i), spec: spec(i)}
		switch i % 505 {
		case 7:
			r.spec.ExpiresAt = noon.AddDate(9000, 0, 0)
		case 8:
			r.spec.UserID = "a\nb"
		case 9:
			r.spec.Hint = "too long"
		}
		return r
	})
	m := must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil))
	user, hint := Reason("user_id must not contain a control character"), Reason("hint must be at most 4 letters, digits, - and _")
	want := map[string]Reason{"n=7": ReasonYear, "n=8": user, "n=512": ReasonYear, "n=513": user}
	_, refused := refusals(t, m, s, Options{DryRun: true})
	require.Equal(t, want, refused)
	report, refused := refusals(t, m, s, Options{})
	want["n=9"], want["n=514"] = hint, hint // a dry run does not detect them, and no source returns such a hint
	require.Equal(t, want, refused)
	require.Equal(t, Report{Read: rows, Imported: rows - 6, Refused: 6}, report)
}

// A listCounter is a Store that counts the records that its List returns.
type listCounter struct {
	tokenauth.Store
	listed int
}

func (s *listCounter) List(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
	records, err := s.Store.List(ctx, q)
	s.listed += len(records)
	return records, err
}

// A page of the source may have only rows without a key. Run must then load no token. Otherwise, it
// would load the whole table of tokens for each such page and exhaust the memory.
func TestRefusedPageLoadsNoTokens(t *testing.T) {
	t.Parallel()
	store := &listCounter{Store: tokenauth.NewMemoryStore()}
	m := must.Get(tokenauth.New(store, "acme", nil))
	_, err := m.Import(t.Context(), spec(0), spec(1), spec(2))
	require.NoError(t, err)
	store.listed = 0
	s := newTestSource(t, pageSize+1, func(int) row { return row{refused: ReasonMalformed} })
	report, err := Run(t.Context(), m, s, nil)
	require.NoError(t, err)
	require.Equal(t, Report{Read: pageSize + 1, Refused: pageSize + 1}, report)
	require.Zero(t, store.listed, "records that List returned")
}

// A user may have thousands of tokens with the same name, because a client of knox gets a new token
// at each login. If an import tried all numbers for each token, it would take hours.
func TestNameNumbersAreNotTriedAgain(t *testing.T) {
	all := namesOf([]tokenauth.Token{{Name: "laptop"}, {Name: "laptop (3)"}})
	require.Equal(t, "laptop (2)", all.take("laptop"))
	require.Equal(t, "laptop (4)", all.take("laptop"))
	require.Equal(t, "phone", all.take("phone"))
	require.Equal(t, "laptop (5)", all.take("laptop"))
	for range 2000 {
		all.take("laptop")
	}
	require.Less(t, testing.AllocsPerRun(100, func() { all.take("laptop") }), 20.0) // AllocsPerRun panics in parallel tests
}

// If another client takes each name that Run chooses for a row, Run must refuse only this row and
// must end.
// Case K11.
func TestRunRefusesRowWhoseNamesAreTaken(t *testing.T) {
	t.Parallel()
	s := newTestSource(t, 5, func(i int) row {
		r := row{label: fmt.Sprint("n=", i), spec: spec(i)}
		if i != 3 {
			r.spec.UserID = "v"
		}
		return r
	})
	memory, taken := tokenauth.NewMemoryStore(), namesOf(nil)
	store := tokenauthtest.NewStore(memory)
	store.Intercept(func(ctx context.Context, method string, next func() error) error {
		if method == "Create" {
			name := taken.take("token 3") // the name that Run has chosen
			rival := tokenauth.Token{ID: name, UserID: "u", Name: name, CreatedAt: time.Now()}
			if err := memory.Create(ctx, tokenauth.Record{Token: rival, Digest: tokenauth.DigestOf(name)}); err != nil {
				return err
			}
		}
		return next()
	})
	report, refused := refusals(t, must.Get(tokenauth.New(store, "acme", nil)), s, Options{})
	require.Equal(t, map[string]Reason{"n=3": ReasonNameTaken}, refused)
	require.Equal(t, Report{Read: 5, Imported: 4, Refused: 1}, report)
}

// Run must refuse a key column with duplicate or NULL values. Otherwise Run would omit rows or read
// the same page forever. SQLite allows NULL in a primary key, and bytes in a text column.
func TestRunRefusesAmbiguousKeyColumn(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]string{
		"twice": "n / 2",
		"NULL":  "NULL",
		"bytes": "CAST(1000 + n AS BLOB)",
	} {
		s := newTestSource(t, pageSize+1, func(int) row { return row{refused: ReasonMalformed} })
		_, err := s.db.Exec("CREATE TABLE odd AS SELECT " + key + " AS n FROM numbers")
		require.NoError(t, err)
		read := s.read
		s.table, s.read = "odd", func(any, []any) row { return read(int64(0), nil) }
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		_, err = Run(ctx, must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil)), s, nil)
		cancel()
		require.ErrorContains(t, err, "column n must be unique", name)
	}
}
