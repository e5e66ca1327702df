package systemtest_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
)

// A hookedConn is a connection that calls before, and after, each statement that contains a text.
// If lost is true, it then loses the response of the statement.
type hookedConn struct {
	db            *sql.DB
	text          string
	before, after func()
	lost          bool
}

func (c *hookedConn) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	hooked := c.text != "" && strings.Contains(query, c.text)
	if hooked {
		c.text = ""
		if c.before != nil {
			c.before()
		}
	}
	result, err := c.db.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	if hooked && c.after != nil {
		c.after()
	}
	if hooked && c.lost {
		return 0, errors.New("unexpected EOF")
	}
	return result.RowsAffected()
}

func (c *hookedConn) Query(ctx context.Context, query string, args ...any) (tokenauth.SQLRows, error) {
	return c.db.QueryContext(ctx, query, args...)
}

func (c *hookedConn) InTransaction() bool { return false }

// If the response of a statement is lost and another call changes the row afterwards, the store
// must not return an error that denies the change, and an event must report the change.
func TestLostChangeIsReportedAfterLaterChange(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		call func(m *tokenauth.Manager, token tokenauth.Token) error
		then func(db *sql.DB, other *tokenauth.Manager, token tokenauth.Token) error
	}{
		"rotation before another rotation": {"SET retired_digest", func(m *tokenauth.Manager, token tokenauth.Token) error {
			_, _, err := m.Rotate(ctx, "u", token.ID, time.Hour)
			return err
		}, func(_ *sql.DB, other *tokenauth.Manager, token tokenauth.Token) error {
			_, _, err := other.Rotate(ctx, "u", token.ID, time.Hour)
			return err
		}},
		"update before another update": {"SET hint = hint", func(m *tokenauth.Manager, token tokenauth.Token) error {
			_, err := m.Update(ctx, "u", token.ID, tokenauth.Patch{Scopes: &[]string{"a"}, Replaces: &token})
			return err
		}, func(_ *sql.DB, other *tokenauth.Manager, token tokenauth.Token) error {
			_, err := other.Update(ctx, "u", token.ID, tokenauth.Patch{Scopes: &[]string{"b"}})
			return err
		}},
		"revocation before a deletion": {"SET revoked_at", func(m *tokenauth.Manager, token tokenauth.Token) error {
			return m.Revoke(ctx, "u", token.ID)
		}, func(db *sql.DB, _ *tokenauth.Manager, _ tokenauth.Token) error {
			_, err := db.Exec("DELETE FROM tokenauth_tokens")
			return err
		}},
		"issue before a rotation": {"INSERT", func(m *tokenauth.Manager, _ tokenauth.Token) error {
			_, _, err := m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: "new"})
			return err
		}, func(_ *sql.DB, other *tokenauth.Manager, _ tokenauth.Token) error {
			live, err := other.List(ctx, tokenauth.Query{UserID: "u"})
			if err == nil {
				_, _, err = other.Rotate(ctx, "u", live[len(live)-1].ID, 0)
			}
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := sqlite.New(t)
			other := fixture.NewManager(sqlite.NewStore(t, db, nil), nil)
			conn := &hookedConn{db: db}
			var events fixture.Recorder
			// The engine of MySQL can lose a response, and SQLite understands these statements too.
			m := fixture.NewManager(must.Get(tokenauth.NewSQLStoreOn(conn, tokenauth.MySQL, sqlite.Patient())), &tokenauth.Options{OnEvent: events.Record})
			_, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n", Scopes: []string{"a", "b"}})
			events.Take()
			conn.text, conn.lost = c.text, true
			conn.after = func() { require.NoError(t, c.then(db, other, token)) }
			err := c.call(m, token)
			require.Equal(t, 503, tokenauth.StatusCode(err), "%v", err)
			told := events.Take()
			require.Len(t, told, 1)
			require.Error(t, told[0].Err)
		})
	}
}

// A token that is used or revoked while Prune looks for idle tokens must not be deleted.
func TestPruneKeepsTokenUsedMeanwhile(t *testing.T) {
	t.Parallel()
	db := sqlite.New(t)
	plain := sqlite.NewStore(t, db, nil)
	used, revoked := fixture.NewRecord("used"), fixture.NewRecord("revoked")
	require.NoError(t, plain.Create(ctx, used, revoked))
	late := fixture.Start.Add(10 * time.Hour)
	conn := &hookedConn{db: db, text: "IN (?", before: func() {
		require.NoError(t, plain.Touch(ctx, tokenauth.Use{ID: used.Token.ID, At: late}))
		require.NoError(t, plain.Revoke(ctx, revoked.Token.UserID, revoked.Token.ID, late, ""))
	}}
	store := must.Get(tokenauth.NewSQLStoreOn(conn, tokenauth.SQLite, sqlite.Patient()))
	n, err := store.Prune(ctx, fixture.Start, late.Add(-time.Hour), 10)
	require.NoError(t, err)
	require.Zero(t, n)
	require.Empty(t, conn.text, "Prune must have tried to delete the tokens")
}
