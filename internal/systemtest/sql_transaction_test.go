package systemtest_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
)

// A service may issue a token in a transaction of its own. The database must then commit or roll
// back the token together with the row of the service.
func TestManagerIssuesInTransaction(t *testing.T) {
	t.Parallel()
	db := sqlite.New(t)
	store := sqlite.NewStore(t, db, nil)
	m := fixture.NewManager(store, &tokenauth.Options{MaxPerUser: 2})
	_, err := db.Exec("CREATE TABLE devices (token_id TEXT)")
	require.NoError(t, err)
	for _, commit := range []bool{false, true} {
		tx, err := db.Begin()
		require.NoError(t, err)
		key, token := fixture.Issue(t, m.WithStore(store.With(tx), nil), tokenauth.Spec{UserID: "u", Name: "phone"})
		_, err = tx.Exec("INSERT INTO devices VALUES (?)", token.ID)
		require.NoError(t, err)
		_, _, err = m.WithStore(store.With(tx), nil).Issue(ctx, tokenauth.Spec{UserID: "u", Name: "phone"})
		require.ErrorIs(t, err, tokenauth.ErrNameTaken)
		if commit {
			require.NoError(t, tx.Commit())
		} else {
			require.NoError(t, tx.Rollback())
		}
		require.Equal(t, []bool{commit}, fixture.Accepts(m, key))
	}
}

// newOrders returns a database and a store in it. The database also has the table orders, like the
// database of a service.
func newOrders(t *testing.T) (*sql.DB, *tokenauth.SQLStore) {
	t.Helper()
	db := sqlite.New(t)
	_, err := db.Exec("CREATE TABLE orders (id TEXT NOT NULL PRIMARY KEY)")
	require.NoError(t, err)
	return db, sqlite.NewStore(t, db, nil)
}

func countOrders(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	require.NoError(t, db.QueryRow("SELECT count(*) FROM orders").Scan(&n))
	return n
}

// If a store uses the service's transaction, a commit or rollback must apply both to the token and
// to the service's own row.
func TestTransactionCoversTokenAndService(t *testing.T) {
	t.Parallel()
	for name, commit := range map[string]bool{"commit keeps both": true, "rollback undoes both": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, store := newOrders(t)
			before, r := fixture.NewRecord("before"), fixture.NewRecord("laptop")
			require.NoError(t, store.Create(ctx, before))
			tx, err := db.BeginTx(ctx, nil)
			require.NoError(t, err)
			in := store.With(tx)
			require.NoError(t, in.Create(ctx, r))
			require.NoError(t, in.Rotate(ctx, "u", r.Token.ID, fixture.NewRotation("second"), fixture.Start))
			require.NoError(t, in.Revoke(ctx, "u", before.Token.ID, fixture.Start, ""))
			_, err = tx.Exec("INSERT INTO orders VALUES ('1')")
			require.NoError(t, err)

			_, err = in.Find(ctx, tokenauth.DigestOf("second"))
			require.NoError(t, err, "Find in the transaction must see the changes of the transaction")
			_, err = store.Find(ctx, r.Digest)
			require.ErrorIs(t, err, tokenauth.ErrNotFound, "Find outside the transaction must not see uncommitted changes")

			want := []string{"before"}
			if commit {
				require.NoError(t, tx.Commit())
				require.Equal(t, 1, countOrders(t, db))
				want = []string{"laptop"}
			} else {
				require.NoError(t, tx.Rollback())
				require.Zero(t, countOrders(t, db))
			}
			require.Equal(t, want, liveNames(t, store))
			_, err = in.Find(ctx, before.Digest)
			fixture.RequireStoreFailure(t, err) // the transaction has ended
		})
	}
}

func liveNames(t *testing.T, store tokenauth.Store) (names []string) {
	t.Helper()
	records, err := store.List(ctx, tokenauth.Query{AllUsers: true})
	require.NoError(t, err)
	for _, r := range records {
		names = append(names, r.Token.Name)
	}
	return names
}

// If a call returns a sentinel error such as ErrNameTaken, the service must still be able to use
// and commit the transaction.
func TestTransactionLivesOnAfterConflict(t *testing.T) {
	t.Parallel()
	db, store := newOrders(t)
	foo, bar, second := fixture.NewRecord("foo"), fixture.NewRecord("bar"), fixture.NewRecord("second")
	foo.Slot = 1
	require.NoError(t, store.Create(ctx, foo, bar))
	ofName, ofKey, ofSlot := second, second, second
	ofName.Token.Name, ofKey.Digest, ofSlot.Slot = "foo", foo.Digest, 1

	tx, err := db.BeginTx(ctx, nil)
	require.NoError(t, err)
	in := store.With(tx)
	for i, c := range []struct {
		name string
		want error
		call error
	}{
		{"name", tokenauth.ErrNameTaken, in.Create(ctx, ofName)},
		{"digest", tokenauth.ErrKeyTaken, in.Create(ctx, ofKey)},
		{"slot", tokenauth.ErrSlotTaken, in.Create(ctx, ofSlot)},
		{"one of several", tokenauth.ErrNameTaken, in.Create(ctx, fixture.NewRecord("third"), ofName)},
		{"rename", tokenauth.ErrNameTaken, in.Update(ctx, "u", bar.Token.ID, tokenauth.Patch{Name: new("foo")}, fixture.Start)},
		{"rotation to a taken digest", tokenauth.ErrKeyTaken, in.Rotate(ctx, "u", bar.Token.ID, fixture.NewRotation("key of foo"), fixture.Start)},
		{"rotation of another generation", tokenauth.ErrConflict, in.Rotate(ctx, "u", bar.Token.ID, tokenauth.Rotation{Replaces: 7, GraceUntil: fixture.Start}, fixture.Start)},
		{"unknown token", tokenauth.ErrNotFound, in.Revoke(ctx, "u", "unknown", fixture.Start, "")},
		{"not expired", tokenauth.ErrConflict, in.RevokeExpired(ctx, "u", bar.Token.ID, fixture.Start, "", time.Time{})},
	} {
		require.ErrorIs(t, c.call, c.want, c.name)
		_, err = tx.Exec("INSERT INTO orders VALUES (?)", i)
		require.NoError(t, err, c.name)
	}
	require.NoError(t, in.Create(ctx, second))
	require.NoError(t, tx.Commit())
	require.Equal(t, 9, countOrders(t, db))
	require.ElementsMatch(t, []string{"foo", "bar", "second"}, liveNames(t, store))
}

// A failingHandle is a transaction that returns err from each ExecContext.
type failingHandle struct {
	tokenauth.DB
	fixture.Transaction
	err   error
	calls int
}

func (h *failingHandle) ExecContext(context.Context, string, ...any) (sql.Result, error) {
	h.calls++
	return nil, h.err
}

// A sqliteError has a method Code, like the errors of SQLite drivers.
type sqliteError struct{ code int }

func (e sqliteError) Error() string { return "database is locked" }

func (e sqliteError) Code() int { return e.code }

// When a database rolls back a statement, it may roll back the whole transaction. If the store
// retried only that statement, the service would commit only a part of its changes.
func TestTransactionRetriesNothing(t *testing.T) {
	t.Parallel()
	h := &failingHandle{DB: sqlite.New(t), err: sqliteError{5}}
	store, err := tokenauth.NewSQLStore(h, tokenauth.SQLite, sqlite.Patient())
	require.NoError(t, err)
	err = store.Create(ctx, fixture.NewRecord("laptop"))
	require.ErrorIs(t, err, h.err)
	fixture.RequireStoreFailure(t, err)
	require.Equal(t, 1, h.calls)
}

// A *sql.Conn has a method BeginTx. Therefore the store must not treat it as a transaction.
func TestConnIsNoTransaction(t *testing.T) {
	t.Parallel()
	db := sqlite.New(t)
	store := sqlite.NewStore(t, db, nil)
	conn, err := db.Conn(ctx)
	require.NoError(t, err)
	on := store.With(conn)
	require.NoError(t, on.Create(ctx, fixture.NewRecord("laptop")))
	got, err := on.Find(ctx, fixture.NewRecord("laptop").Digest)
	require.NoError(t, err)
	require.Equal(t, fixture.NewRecord("laptop"), *got)
	require.NoError(t, on.Close())
	require.NoError(t, conn.Close())
}
