package integration

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// In these tests the settings of a session or of a server differ from the defaults.

func mariaDBWith(parameters ...string) setup {
	name := strings.Join(append([]string{"MariaDB"}, parameters...), ", ")
	return setup{name: name, driver: "mysql", dialect: tokenauth.MySQL, dsn: onMariaDB(parameters...)}
}

func postgresWith(driver string, parameters ...string) setup {
	name := strings.Join(append([]string{"PostgreSQL", driver}, parameters...), ", ")
	return setup{name: name, driver: driver, dialect: tokenauth.PostgreSQL, dsn: onPostgres(parameters...)}
}

// unusualSessions are setups whose session settings could change the results of statements. Other
// code of a service may need these settings.
var unusualSessions = []setup{
	mariaDBWith("sql_mode=%27%27"),
	mariaDBWith("sql_mode=%27NO_BACKSLASH_ESCAPES%27", "interpolateParams=true"),
	mariaDBWith("sql_mode=%27ANSI,PIPES_AS_CONCAT,IGNORE_SPACE,PAD_CHAR_TO_FULL_LENGTH%27", "interpolateParams=true"),
	mariaDBWith("sql_mode=%27ORACLE%27"),
	mariaDBWith("charset=latin1"),
	mariaDBWith("charset=latin1", "interpolateParams=true"),
	mariaDBWith("charset=gbk"),
	mariaDBWith("charset=sjis"),
	mariaDBWith("charset=big5"),
	mariaDBWith("collation=utf8mb4_turkish_ci"),
	postgresWith("pgx", "standard_conforming_strings=off", "bytea_output=escape"),
	postgresWith("pgx", "quote_all_identifiers=on"),
	postgresWith("pgx", "default_query_exec_mode=simple_protocol"),
	postgresWith("pgx", "default_query_exec_mode=describe_exec"),
	postgresWith("pgxstore", "bytea_output=escape"),
	postgresWith("pgxstore", "default_query_exec_mode=exec"),
	postgresWith("pgxstore", "default_query_exec_mode=simple_protocol"),
	postgresWith("postgres", "standard_conforming_strings=off", "bytea_output=escape"),
	postgresWith("postgres", "binary_parameters=yes"),
}

// texts are user IDs and names that a database could misinterpret.
var texts = []string{
	"x", " leading and trailing ", "Robert'); DROP TABLE tokenauth_tokens; --", `" OR ""="`, "' OR 1=1 -- ", "/* comment */", "# comment",
	`back\slash`, `\`, `\'`, `''`, "100 %", "a_b", "%", "_", "?", "$1", ":name", "@name", "{table}", "{columns}", "`t`", "NULL", "null", "0", "1e3", "0x41",
	"é", "e\u0301", "É", "ß", "ss", "x\u00a0x", "n", "N", "ñ", "İ", "i", "日本語", "表'", `能\`, "표'", "€'", "👩\u200d👩\u200d👧", "🙂", "🙃",
	strings.Repeat("é", 127) + "x", // 255 bytes
	strings.Repeat("🙂", 63),
}

// The store must return names and user IDs exactly as it got them, in every session. No quote may
// end a text, no collation may equate two texts, and no limit may truncate a text.
// Cases S14, S22.
func TestTextsRoundTripInEverySession(t *testing.T) {
	t.Parallel()
	for _, s := range append(unusualSessions, setups...) {
		if s.nodes != nil || !s.load && !long() {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			store := s.newStore(t, s.open(t))
			// A last-used time would change the compared records.
			m := must.Get(tokenauth.New(store, "acme", &tokenauth.Options{MaxPerUser: -1, TouchEvery: -1}))
			for i, text := range texts {
				spec := tokenauth.Spec{UserID: text, Name: "n"}
				spec.Scopes = []string{"it's:" + strings.Repeat("%_;--/*$1?{table}", 7), fmt.Sprint("scope:", i)}
				requireRoundTrip(t, m, spec)
				if runes := len([]rune(text)); runes <= 64 {
					requireRoundTrip(t, m, tokenauth.Spec{UserID: "one user", Name: text})
				}
			}
			requireRoundTrip(t, m, longest())
			requireTooLong(t, m)
		})
	}
}

// requireRoundTrip issues a token, and requires that each method finds this token and no other.
func requireRoundTrip(t *testing.T, m *tokenauth.Manager, spec tokenauth.Spec) {
	t.Helper()
	key, token, err := m.Issue(t.Context(), spec)
	require.NoError(t, err, "%q", spec.UserID+"/"+spec.Name)
	require.Equal(t, spec.UserID, token.UserID)
	require.Equal(t, strings.Join(strings.Fields(spec.Name), " "), token.Name)
	got, err := m.Authenticate(t.Context(), revealed(key))
	require.NoError(t, err)
	require.Equal(t, token, got)
	got, err = m.Get(t.Context(), spec.UserID, token.ID)
	require.NoError(t, err)
	require.Equal(t, token, got)
	_, _, err = m.Issue(t.Context(), spec)
	require.ErrorIs(t, err, tokenauth.ErrNameTaken)
	list, err := m.List(t.Context(), tokenauth.Query{UserID: spec.UserID})
	require.NoError(t, err)
	if spec.UserID != "one user" {
		require.Equal(t, []tokenauth.Token{token}, list)
	}
	name, scopes := spec.Name, []string{"changed"}
	_, err = m.Update(t.Context(), spec.UserID, token.ID, tokenauth.Patch{Name: &name, Scopes: &scopes})
	require.NoError(t, err)
	changed, err := m.Update(t.Context(), spec.UserID, token.ID, tokenauth.Patch{Scopes: (*[]string)(&token.Scopes)})
	require.NoError(t, err)
	require.Equal(t, token, changed)
}

// longest returns a spec whose texts all have the maximum length.
func longest() tokenauth.Spec {
	spec := tokenauth.Spec{UserID: strings.Repeat("🙂", 63) + "abc", Name: strings.Repeat("🙃", 64)}
	for i := range 100 {
		spec.Scopes = append(spec.Scopes, fmt.Sprintf("%03d%s", i, strings.Repeat("~", 125)))
	}
	return spec
}

// requireTooLong requires that the Manager refuses longer texts, because a database could truncate
// them.
func requireTooLong(t *testing.T, m *tokenauth.Manager) {
	t.Helper()
	for what, change := range map[string]func(*tokenauth.Spec){
		"user ID": func(s *tokenauth.Spec) { s.UserID += "x" },
		"name":    func(s *tokenauth.Spec) { s.Name += "x" },
		"scope":   func(s *tokenauth.Spec) { s.Scopes[0] += "x" },
		"scopes":  func(s *tokenauth.Spec) { s.Scopes = append(s.Scopes, "x") },
	} {
		spec := longest()
		spec.Name = spec.Name[:4*60]
		spec.Name += "more"
		change(&spec)
		_, _, err := m.Issue(t.Context(), spec)
		require.ErrorIs(t, err, tokenauth.ErrInvalidSpec, what)
	}
	list, err := m.List(t.Context(), tokenauth.Query{UserID: longest().UserID, IncludeRevoked: true})
	require.NoError(t, err)
	require.Len(t, list, 1)
}

// With interpolateParams, the driver writes texts into the statement. This is unsafe in some
// character sets, so the driver must refuse these character sets.
// Case S22.
func TestUnsafeCollationIsRefused(t *testing.T) {
	t.Parallel()
	for _, collation := range []string{"gbk_chinese_ci", "sjis_japanese_ci", "big5_chinese_ci", "cp932_japanese_ci"} {
		s := mariaDBWith("collation="+collation, "interpolateParams=true")
		_, err := sql.Open(s.driver, s.dsn(t))
		require.ErrorContains(t, err, "unsafe", collation)
	}
}

// Instances of a service in different time zones must read the same instant. This must also hold
// when the clocks change and on a leap day.
// Cases S15, S16.
func TestInstantsAreEqualInEveryTimeZone(t *testing.T) {
	t.Parallel()
	zones := map[string][]setup{
		"PostgreSQL": {
			postgresWith("pgx"), postgresWith("pgx", "timezone=America/New_York"), postgresWith("postgres", "timezone=Asia/Kolkata"),
		},
		"MariaDB": {
			mariaDBWith(), mariaDBWith("parseTime=true", "loc=Local"), mariaDBWith("time_zone=%27%2B03:00%27", "parseTime=true", "loc=America%2FNew_York"),
			mariaDBWith("time_zone=%27-11:00%27", "timestamp=86400"),
		},
		"SQLite": {setupNamed(t, "SQLite, modernc"), setupNamed(t, "SQLite, mattn")},
	}
	for engine, sessions := range zones {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			opts := newTable()
			var stores []tokenauth.Store
			file := sqliteFile(t)
			for _, s := range sessions {
				dsn := s.dsn(t)
				if s.dialect == tokenauth.SQLite {
					dsn = file + dsn[strings.Index(dsn, "?"):]
				}
				stores = append(stores, newStore(t, open(t, s.driver, dsn), s.dialect, opts))
			}
			for w, writer := range stores {
				for i, at := range instants(t) {
					requireInstant(t, fmt.Sprint(w, "-", i), at, writer, stores)
				}
			}
		})
	}
}

// instants returns times that a time zone or a calendar could change.
func instants(t *testing.T) []time.Time {
	t.Helper()
	newYork, err := time.LoadLocation("America/New_York")
	require.NoError(t, err)
	lordHowe, err := time.LoadLocation("Australia/Lord_Howe") // daylight saving time shifts by half an hour
	require.NoError(t, err)
	firstOneThirty := time.Date(2026, 11, 1, 1, 30, 0, 0, newYork)
	return []time.Time{
		firstOneThirty,
		firstOneThirty.Add(time.Hour),                            // the same local time an hour later
		time.Date(2026, 3, 8, 2, 30, 0, 0, newYork),              // a local time that does not exist
		time.Date(2026, 4, 5, 1, 45, 0, 0, lordHowe),             // a local time that occurs twice
		time.Date(2028, 2, 29, 23, 59, 59, 999_999_000, newYork), // a leap day
		time.Date(2028, 2, 29, 23, 59, 60, 0, time.UTC),          // the day after
		time.Date(2038, 1, 19, 3, 14, 8, 1000, time.UTC),         // one second after the end of TIMESTAMP
		time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC),
		time.Date(1969, 12, 31, 23, 59, 59, 999_999_000, time.UTC),
	}
}

// requireInstant writes an instant to each column with one store, and requires that all stores read
// the same instant.
func requireInstant(t *testing.T, id string, at time.Time, writer tokenauth.Store, readers []tokenauth.Store) {
	t.Helper()
	r := tokenauth.Record{Digest: tokenauth.DigestOf(id), Token: tokenauth.Token{
		ID: id, UserID: "u", Name: id, Hint: "x7Qf", Generation: 1, CreatedAt: at, ExpiresAt: at.Add(time.Hour),
	}}
	require.NoError(t, writer.Create(t.Context(), r))
	require.NoError(t, writer.Update(t.Context(), "u", id, tokenauth.Patch{ExpiresAt: &at}, at.Add(-time.Hour)))
	rotation := tokenauth.Rotation{Replaces: 1, Digest: tokenauth.DigestOf("new " + id), Hint: "new1", GraceUntil: at}
	require.NoError(t, writer.Rotate(t.Context(), "u", id, rotation, at.Add(-time.Hour)))
	require.NoError(t, writer.Touch(t.Context(), tokenauth.Use{ID: id, At: at}))
	for i, reader := range readers {
		err := reader.RevokeExpired(t.Context(), "u", id, at.Add(-time.Microsecond), "", time.Time{})
		require.ErrorIs(t, err, tokenauth.ErrConflict, "%v", at)
		got, err := reader.Find(t.Context(), r.Digest)
		require.NoError(t, err)
		want := at.UTC()
		require.Equal(t, []time.Time{want, want, want, want},
			[]time.Time{got.Token.CreatedAt, got.Token.ExpiresAt, got.Token.LastUsedAt, got.Retired.Until}, "reader %d", i)
		require.False(t, got.Token.ExpiredAt(at.Add(-time.Microsecond)))
		require.True(t, got.Token.ExpiredAt(at))
	}
	require.NoError(t, writer.RevokeExpired(t.Context(), "u", id, at, "", time.Time{}))
	got, err := readers[len(readers)-1].Find(t.Context(), r.Digest)
	require.NoError(t, err)
	require.Equal(t, at.UTC(), got.Token.RevokedAt)
}

// All instances of a service call CreateSchema when they start. If the instances start at the same
// time, no call may fail.
// Case S24.
func TestCreateSchemaIsSafeConcurrently(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"SQLite, modernc", "SQLite, mattn", "PostgreSQL, pgx", "PostgreSQL serializable, lib-pq", "PgBouncer, pgx", "pgxstore", "MariaDB"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setupNamed(t, name)
			const instances = 8
			dsn := s.dsn(t)
			var dbs [instances]*sql.DB
			for i := range dbs {
				dbs[i] = open(t, s.driver, dsn)
			}
			for range shortOrLong(5, 30) {
				opts := newTable()
				var errs [instances]error
				var all sync.WaitGroup
				begin := make(chan struct{})
				for i, db := range dbs {
					store, err := newStoreAs(db, s.dialect, opts)
					require.NoError(t, err)
					all.Go(func() {
						<-begin
						ctx := context.Background()
						errs[i] = errors.Join(store.CreateSchema(ctx), store.CheckSchema(ctx),
							store.CreateSchema(ctx), store.CheckSchema(ctx))
					})
				}
				close(begin)
				all.Wait()
				require.NoError(t, errors.Join(errs[:]...))
				useAll(t, must.Get(tokenauth.New(newStore(t, dbs[0], s.dialect, opts), "acme", nil)), "u")
			}
		})
	}
}

// Engines differ in whether the number of affected rows includes rows that an UPDATE leaves
// unchanged. The results of the store must not depend on this.
// Case S28.
func TestAffectedRowsDoNotChangeResults(t *testing.T) {
	t.Parallel()
	want := resultsOf(t, tokenauth.NewMemoryStore())
	require.Contains(t, want[2].call, "update to the same: <nil>")
	for _, s := range []setup{
		mariaDBWith(), mariaDBWith("clientFoundRows=true"), mariaDBWith("interpolateParams=true"),
		mariaDBWith("clientFoundRows=true", "interpolateParams=true"), setupNamed(t, "PostgreSQL, pgx"), setupNamed(t, "SQLite, mattn"),
	} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, want, resultsOf(t, s.newStore(t, s.open(t))))
		})
	}
}

// A callResult is the result of a call, and the content of the store after the call.
type callResult struct {
	call  string
	after []tokenauth.Record
}

// resultsOf calls methods of a store that mostly change nothing, and returns the results.
func resultsOf(t *testing.T, s tokenauth.Store) (results []callResult) {
	t.Helper()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ctx, name, scopes, later := t.Context(), "same", []string{"a"}, at.Add(time.Hour)
	r := tokenauth.Record{Slot: 1, Digest: tokenauth.DigestOf("key"), Token: tokenauth.Token{
		ID: "id", UserID: "u", Name: name, Scopes: scopes, Hint: "x7Qf", Generation: 1, CreatedAt: at, ExpiresAt: later, LastUsedAt: at,
	}}
	patch := tokenauth.Patch{Name: &name, Scopes: &scopes, ExpiresAt: &later}
	rotation := tokenauth.Rotation{Replaces: 1, Digest: tokenauth.DigestOf("new"), Hint: "new1", GraceUntil: later}
	note := func(what string, err error) {
		if err != nil && !errors.Is(err, tokenauth.ErrNotFound) && !errors.Is(err, tokenauth.ErrConflict) {
			require.NoError(t, err, what)
		}
		all := everything(t, s)
		results = append(results, callResult{fmt.Sprintf("%s: %v", what, err), all})
	}
	note("create", s.Create(ctx, r))
	note("create again", s.Create(ctx, r))
	note("update to the same", s.Update(ctx, "u", "id", patch, at))
	note("update nothing", s.Update(ctx, "u", "id", tokenauth.Patch{}, at))
	note("update an unknown token", s.Update(ctx, "u", "id2", patch, at))
	note("touch at the same time", s.Touch(ctx, tokenauth.Use{ID: "id", At: at}))
	note("touch at an older time", s.Touch(ctx, tokenauth.Use{ID: "id", At: at.Add(-time.Hour)}))
	note("rotate", s.Rotate(ctx, "u", "id", rotation, at))
	note("rotate again", s.Rotate(ctx, "u", "id", rotation, at))
	rotation.Digest = tokenauth.DigestOf("another")
	note("rotate an outdated generation", s.Rotate(ctx, "u", "id", rotation, at))
	note("revoke expired", s.RevokeExpired(ctx, "u", "id", at, "", time.Time{}))
	for _, what := range []string{"revoke", "revoke again"} {
		note(what, s.Revoke(ctx, "u", "id", at, ""))
	}
	note("revoke a token of another user", s.Revoke(ctx, "v", "id", at, ""))
	note("revoke expired again", s.RevokeExpired(ctx, "u", "id", later, "", time.Time{}))
	n, err := s.RevokeAll(ctx, "u", later, "", 1000)
	note(fmt.Sprint("revoke all, number of tokens: ", n), err)
	note("update a revoked token", s.Update(ctx, "u", "id", patch, at))
	n, err = s.Prune(ctx, at, time.Time{}, 10)
	note(fmt.Sprint("prune, number of tokens: ", n), err)
	return results
}
