package systemtest_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
)

// This file has code that docs/databases.md shows, and tests of this code.

func issueWithDevice(ctx context.Context, db *sql.DB, store *tokenauth.SQLStore, tokens *tokenauth.Manager, spec tokenauth.Spec, model string) (tokenauth.Key, []tokenauth.Event, error) {
	// docs: transaction
	var events []tokenauth.Event
	collect := func(_ context.Context, e tokenauth.Event) { events = append(events, e) }

	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return tokenauth.Key{}, nil, err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after the commit
	key, token, err := tokens.WithStore(store.With(tx), collect).Issue(ctx, spec)
	if err != nil {
		return tokenauth.Key{}, nil, err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO devices (token_id, model) VALUES (?, ?)", token.ID, model)
	if err != nil {
		return tokenauth.Key{}, nil, err
	}
	if err := tx.Commit(); err != nil {
		return tokenauth.Key{}, nil, err
	}
	return key, events, nil // show the key and log the events only after the commit
	// docs: end
}

func changePassword(ctx context.Context, db *sql.DB, tokens *tokenauth.Manager, userID, hash string) error {
	// docs: password
	_, err := db.ExecContext(ctx, "UPDATE users SET password = ? WHERE id = ?", hash, userID) // commits
	if err != nil {
		return err
	}
	_, err = tokens.RevokeAll(ctx, userID) // after the commit; if it fails, call it again
	return err
	// docs: end
}

func newTokens(store tokenauth.Store) (*tokenauth.Manager, error) {
	// docs: user IDs
	tokens, err := tokenauth.New(store, "acme", &tokenauth.Options{
		CheckUserID: tokenauth.DecimalUserID, // or UUIDUserID
	})
	// docs: end
	return tokens, err
}

// newDevices returns a database with the table of tokens, and with the tables devices and users of
// the service.
func newDevices(t *testing.T) (*sql.DB, *tokenauth.SQLStore) {
	t.Helper()
	db := sqlite.New(t)
	fixture.ExecAll(t, db, "CREATE TABLE devices (token_id TEXT NOT NULL, model TEXT NOT NULL UNIQUE);"+
		"CREATE TABLE users (id INTEGER PRIMARY KEY, password TEXT); INSERT INTO users VALUES (42, 'old')")
	return db, sqlite.NewStore(t, db, nil)
}

// A user who copies the transaction of the page must get the key and the events only if the token
// and the row of the service are committed.
func TestTransactionOfPage(t *testing.T) {
	t.Parallel()
	db, store := newDevices(t)
	var sent fixture.Recorder
	tokens := fixture.NewManager(store, &tokenauth.Options{OnEvent: sent.Record})
	key, events, err := issueWithDevice(ctx, db, store, tokens, tokenauth.Spec{UserID: "42", Name: "a"}, "phone")
	require.NoError(t, err)
	require.Len(t, events, 1)
	require.Equal(t, []bool{true}, fixture.Accepts(tokens, key.Reveal()))
	_, events, err = issueWithDevice(ctx, db, store, tokens, tokenauth.Spec{UserID: "42", Name: "b"}, "phone")
	require.Error(t, err, "the model is not unique")
	require.Empty(t, events)
	require.Empty(t, sent.Take())
	records, err := store.List(ctx, tokenauth.Query{UserID: "42"})
	require.NoError(t, err)
	require.Len(t, records, 1)
}

// A user who copies the password change of the page must revoke all tokens, but none if the
// password is not changed.
func TestPasswordChangeOfPage(t *testing.T) {
	t.Parallel()
	db, store := newDevices(t)
	tokens, err := newTokens(store)
	require.NoError(t, err)
	key, _ := fixture.Issue(t, tokens, tokenauth.Spec{UserID: "42", Name: "a"})
	fixture.ExecAll(t, db, "ALTER TABLE users RENAME TO hidden")
	require.ErrorContains(t, changePassword(ctx, db, tokens, "42", "new"), "no such table")
	require.Equal(t, []bool{true}, fixture.Accepts(tokens, key))
	fixture.ExecAll(t, db, "ALTER TABLE hidden RENAME TO users")
	require.NoError(t, changePassword(ctx, db, tokens, "42", "new"))
	require.Equal(t, []bool{false}, fixture.Accepts(tokens, key))
	_, _, err = tokens.Issue(ctx, tokenauth.Spec{UserID: "042", Name: "a"})
	require.ErrorIs(t, err, tokenauth.ErrInvalidSpec)
}
