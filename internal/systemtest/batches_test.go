package systemtest_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
)

// A service may pass any number of records, IDs or uses in one call. Databases limit the number of
// parameters of a statement, so the store must split such calls. Create must nevertheless create
// all of the records or none.
func TestStoresSplitLargeCalls(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("creates thousands of tokens")
	}
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		const n = 600 // more than one statement creates
		records := make([]tokenauth.Record, n)
		var ids []string
		var uses []tokenauth.Use
		for i := range records {
			records[i] = fixture.NewRecord(fmt.Sprint("token ", i))
			ids = append(ids, records[i].Token.ID)
			uses = append(uses, tokenauth.Use{ID: records[i].Token.ID, At: fixture.Start.Add(time.Minute)})
		}
		other := fixture.NewRecord("other")
		require.NoError(t, store.Create(ctx, other))

		taken := records[n-1].Token.Name
		records[n-1].Token.Name = other.Token.Name
		err := store.Create(ctx, records...)
		require.ErrorIs(t, err, tokenauth.ErrNameTaken)
		var failed *tokenauth.RecordError
		require.ErrorAs(t, err, &failed)
		require.Equal(t, n-1, failed.Index)
		stored, err := store.List(ctx, tokenauth.Query{AllUsers: true})
		require.NoError(t, err)
		require.Len(t, stored, 1)

		records[n-1].Token.Name = taken
		require.NoError(t, store.Create(ctx, records...))
		require.NoError(t, store.Create(ctx, records...), "a repeated call changes nothing")
		for len(ids) < 2000 {
			ids = append(ids, fmt.Sprint("unknown-", len(ids)))
			uses = append(uses, tokenauth.Use{ID: ids[len(ids)-1], At: fixture.Start})
		}
		require.NoError(t, store.Touch(ctx, uses...))
		stored, err = store.List(ctx, tokenauth.Query{UserID: "u", IDs: ids})
		require.NoError(t, err)
		require.Len(t, stored, n)
		for i := range stored {
			require.Equal(t, fixture.Start.Add(time.Minute), stored[i].Token.LastUsedAt)
		}
		first, err := store.List(ctx, tokenauth.Query{UserID: "u", IDs: ids, Limit: 10})
		require.NoError(t, err)
		require.Equal(t, stored[:10], first)
		rest, err := store.List(ctx, tokenauth.Query{UserID: "u", IDs: ids, After: stored[n-3].Token.Cursor()})
		require.NoError(t, err)
		require.Equal(t, stored[n-2:], rest)
	})
}

// An importer must learn which token could not be imported, and must not be told that a key works
// for a user although the key belongs to another user. Case K11.
func TestImportNamesPosition(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		var events fixture.Recorder
		m := fixture.NewLegacyManager(store, fixture.DRF).WithStore(store, events.Record)
		spec := func(userID, name string) tokenauth.ImportSpec {
			return tokenauth.ImportSpec{UserID: userID, Name: name, Origin: "drf", Digest: tokenauth.DigestOf(name)}
		}
		_, err := m.Import(ctx, spec("7", "old"))
		require.NoError(t, err)
		_, err = m.Import(ctx, spec("user-7", "old"))
		require.ErrorIs(t, err, tokenauth.ErrKeyTaken)

		sameName := spec("7", "phone")
		sameName.Name = "old"
		bad := spec("7", "bad")
		bad.Scopes = []string{"a b"}
		for name, c := range map[string]struct {
			specs []tokenauth.ImportSpec
			want  error
			index int
		}{
			"key of another user":  {[]tokenauth.ImportSpec{spec("8", "a"), spec("8", "b"), spec("8", "old")}, tokenauth.ErrKeyTaken, 2},
			"name taken":           {[]tokenauth.ImportSpec{spec("8", "a"), sameName, spec("8", "b")}, tokenauth.ErrNameTaken, 1},
			"malformed":            {[]tokenauth.ImportSpec{bad, spec("8", "a")}, tokenauth.ErrInvalidSpec, 0},
			"key twice":            {[]tokenauth.ImportSpec{spec("8", "a"), spec("8", "b"), spec("9", "a")}, tokenauth.ErrInvalidSpec, 2},
			"key twice, same user": {[]tokenauth.ImportSpec{spec("8", "a"), spec("8", "a")}, tokenauth.ErrInvalidSpec, 1},
		} {
			_, err := m.Import(ctx, c.specs...)
			require.ErrorIs(t, err, c.want, name)
			var failed *tokenauth.RecordError
			require.ErrorAs(t, err, &failed, name)
			require.Equal(t, c.index, failed.Index, name)
		}
		all, err := m.List(ctx, tokenauth.Query{AllUsers: true})
		require.NoError(t, err)
		require.Len(t, all, 1)
		require.Len(t, events.Take(), 1)

		_, err = m.Update(ctx, "7", all[0].ID, tokenauth.Patch{Name: new("renamed")})
		require.NoError(t, err)
		tokens, err := m.Import(ctx, spec("8", "a"), spec("7", "old"), spec("8", "b"))
		require.NoError(t, err)
		require.Equal(t, []string{"a", "renamed", "b"}, []string{tokens[0].Name, tokens[1].Name, tokens[2].Name}, "the result must say what is stored")
	})
}

// An import into a busy SQLite file must wait for the write lock, as a single statement does.
func TestLargeCreateWaitsForWriter(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("creates thousands of tokens")
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "busy.db")+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	store := sqlite.NewStore(t, db, &tokenauth.SQLOptions{Timeout: time.Minute})
	used := fixture.NewRecord("used")
	require.NoError(t, store.Create(ctx, used))
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 1; ; i++ {
			select {
			case <-stop:
				return
			default:
				_ = store.Touch(ctx, tokenauth.Use{ID: used.Token.ID, At: fixture.Start.Add(time.Duration(i) * time.Second)})
			}
		}
	}()
	for i := range 5 {
		var records []tokenauth.Record
		for j := range 600 {
			records = append(records, fixture.NewRecord(fmt.Sprint("token ", i, " ", j)))
		}
		require.NoError(t, store.Create(ctx, records...))
	}
	close(stop)
	<-stopped
}

// A large Create takes a transaction. On a single connection, concurrent calls would become part of
// it, and be lost if it is rolled back. Therefore Create must refuse.
func TestLargeCreateNeedsPoolOrTransaction(t *testing.T) {
	t.Parallel()
	db := sqlite.New(t)
	store := sqlite.NewStore(t, db, nil)
	records := make([]tokenauth.Record, 513)
	for i := range records {
		records[i] = fixture.NewRecord(fmt.Sprint(i))
	}
	conn, err := db.Conn(ctx)
	require.NoError(t, err)
	require.ErrorContains(t, store.With(conn).Create(ctx, records...), "more than 512 records require a transaction")
	require.NoError(t, store.With(conn).Create(ctx, records[0]))
	tx, err := conn.BeginTx(ctx, nil)
	require.NoError(t, err)
	require.NoError(t, store.With(tx).Create(ctx, records...))
	require.NoError(t, tx.Commit())
	require.NoError(t, conn.Close())
	require.NoError(t, store.Create(ctx, records...))
}
