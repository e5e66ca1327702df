package integration

import (
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
)

// If a change in a transaction conflicts with another transaction, the error must wrap the error of
// the driver. Then the service can find out that it must repeat the transaction.
func TestConflictInTransactionContainsDriverError(t *testing.T) {
	t.Parallel()
	name, at := "taken", fixture.Start.Add(time.Minute)
	changes := map[string]func(tokenauth.Store) error{
		"rename": func(s tokenauth.Store) error {
			return s.Update(t.Context(), "u", "b", tokenauth.Patch{Name: &name}, at)
		},
		"create": func(s tokenauth.Store) error { return s.Create(t.Context(), fixture.NewRecord(name)) },
		"create two": func(s tokenauth.Store) error {
			return s.Create(t.Context(), fixture.NewRecord(name), fixture.NewRecord("c"))
		},
		"rotate":     func(s tokenauth.Store) error { return s.Rotate(t.Context(), "u", "a", fixture.NewRotation("new"), at) },
		"revoke":     func(s tokenauth.Store) error { return s.Revoke(t.Context(), "u", "a", at, "") },
		"revoke all": func(s tokenauth.Store) error { _, err := s.RevokeAll(t.Context(), "u", at, "", 10); return err },
		"touch":      func(s tokenauth.Store) error { return s.Touch(t.Context(), tokenauth.Use{ID: "a", At: at}) },
		"prune":      func(s tokenauth.Store) error { _, err := s.Prune(t.Context(), at, at, 10); return err },
	}
	for _, setup := range []string{"PostgreSQL, pgx", "PostgreSQL, lib-pq", "MariaDB, snapshot isolation"} {
		t.Run(setup, func(t *testing.T) {
			t.Parallel()
			shop := newShop(t, setup)
			for what, change := range changes {
				_, err := shop.db.Exec("DELETE FROM " + shop.orders[len("orders"):])
				require.NoError(t, err)
				require.NoError(t, shop.store.Create(t.Context(), fixture.NewRecord("a"), fixture.NewRecord("b")))
				tx, err := shop.db.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
				require.NoError(t, err)
				inside := shop.store.With(tx)
				_, err = inside.List(t.Context(), tokenauth.Query{UserID: "u"}) // takes the snapshot
				require.NoError(t, err)
				require.NoError(t, shop.store.Update(t.Context(), "u", "a", tokenauth.Patch{Name: &name}, at))

				err = change(inside)
				require.NoError(t, tx.Rollback())
				require.Error(t, err, what)
				require.NotContains(t, err.Error(), "outcome unknown", what)
				var state interface{ SQLState() string }
				var mysqlError *mysql.MySQLError
				if !errors.As(err, &state) && !errors.As(err, &mysqlError) {
					require.ErrorIs(t, err, tokenauth.ErrNameTaken, what) // the service can then choose another name
				}
			}
		})
	}
}
