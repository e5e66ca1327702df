package tokenauth_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
)

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
func TestTransaction(t *testing.T) {
	t.Parallel()
	for name, commit := range map[string]bool{"commit keeps both": true, "rollback undoes both": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, store := newOrders(t)
			before, r := sqlRecord("before"), sqlRecord("laptop")
			require.NoError(t, store.Create(ctx, before))
			tx, err := db.BeginTx(ctx, nil)
			require.NoError(t, err)
			in := store.With(tx)
			require.NoError(t, in.Create(ctx, r))
			require.NoError(t, in.Rotate(ctx, "u", r.Token.ID, sqlRotation("second"), start))
			require.NoError(t, in.Revoke(ctx, "u", before.Token.ID, start))
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
			requireNoAnswer(t, err) // the transaction has ended
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
	foo, bar, second := sqlRecord("foo"), sqlRecord("bar"), sqlRecord("second")
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
		{"one of several", tokenauth.ErrNameTaken, in.Create(ctx, sqlRecord("third"), ofName)},
		{"rename", tokenauth.ErrNameTaken, in.Update(ctx, "u", bar.Token.ID, tokenauth.Patch{Name: new("foo")}, start)},
		{"rotation to a taken digest", tokenauth.ErrKeyTaken, in.Rotate(ctx, "u", bar.Token.ID, sqlRotation("key of foo"), start)},
		{"rotation of another generation", tokenauth.ErrConflict, in.Rotate(ctx, "u", bar.Token.ID, tokenauth.Rotation{Replaces: 7, GraceUntil: start}, start)},
		{"unknown token", tokenauth.ErrNotFound, in.Revoke(ctx, "u", "unknown", start)},
		{"not expired", tokenauth.ErrConflict, in.RevokeExpired(ctx, "u", bar.Token.ID, start)},
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

// A failingHandle returns err from each ExecContext. It has no method BeginTx, so the store treats
// it as a transaction.
type failingHandle struct {
	tokenauth.DB
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
func (e sqliteError) Code() int     { return e.code }

// When a database rolls back a statement, it may roll back the whole transaction. If the store
// retried only that statement, the service would commit only a part of its changes.
func TestTransactionRetriesNothing(t *testing.T) {
	t.Parallel()
	h := &failingHandle{DB: sqlite.New(t), err: sqliteError{5}}
	store, err := tokenauth.NewSQLStore(h, tokenauth.SQLite, sqlite.Patient())
	require.NoError(t, err)
	err = store.Create(ctx, sqlRecord("laptop"))
	require.ErrorIs(t, err, h.err)
	requireNoAnswer(t, err)
	require.Equal(t, 1, h.calls)
}

// A *sql.Conn has a method BeginTx. Therefore the store must not treat it as a transaction.
func TestStoreOnConn(t *testing.T) {
	t.Parallel()
	db := sqlite.New(t)
	store := sqlite.NewStore(t, db, nil)
	conn, err := db.Conn(ctx)
	require.NoError(t, err)
	on := store.With(conn)
	require.NoError(t, on.Create(ctx, sqlRecord("laptop")))
	got, err := on.Find(ctx, sqlRecord("laptop").Digest)
	require.NoError(t, err)
	require.Equal(t, sqlRecord("laptop"), *got)
	require.NoError(t, on.Close())
	require.NoError(t, conn.Close())
}
