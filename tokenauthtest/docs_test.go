package tokenauthtest_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// This file has the code that docs/testing.md shows.

// docs: service

type user struct{ Name string }

type shop struct {
	auth *tokenauth.Authenticator[*user]
}

func (s *shop) routes() map[string]http.Handler {
	return map[string]http.Handler{
		"GET /orders":  s.auth.RequireScopes("orders:read")(http.HandlerFunc(s.list)),
		"POST /orders": s.auth.RequireScopes("orders:write")(http.HandlerFunc(s.order)),
	}
}

func (s *shop) order(w http.ResponseWriter, r *http.Request) {
	u, _ := s.auth.User(r.Context())
	token, _ := s.auth.Token(r.Context())
	w.WriteHeader(http.StatusCreated)
	_, _ = fmt.Fprintf(w, "%s ordered with %s", u.Name, token.Name)
}

// docs: end

func (s *shop) list(http.ResponseWriter, *http.Request) {}

// newShop returns the service under test. The keys that its requests present are registered as
// secrets.
func newShop(t *testing.T, tokens *tokenauth.Manager, findUser func(context.Context, string) (*user, error)) (*shop, http.Handler) {
	t.Helper()
	auth, err := tokenauth.NewAuthenticator(tokens, findUser, nil)
	require.NoError(t, err)
	s, mux := &shop{auth}, http.NewServeMux()
	for pattern, handler := range s.routes() {
		mux.Handle(pattern, handler)
	}
	return s, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, key, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok {
			leak.Default.Secret(key)
		}
		mux.ServeHTTP(w, r)
	})
}

func findUser(_ context.Context, id string) (*user, error) {
	if id != "42" {
		return nil, tokenauth.ErrNoUser
	}
	return &user{"Ada"}, nil
}

// docs: send

// send sends a request with a key, and returns the response.
func send(handler http.Handler, key tokenauth.Key, method, path string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	tokenauthtest.SetKey(r, key)
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w
}

// docs: end

// docs: scopes

func TestOrderNeedsScope(t *testing.T) {
	kit := tokenauthtest.New(t, nil)
	_, handler := newShop(t, kit.Manager, findUser) // your own code
	writer, reader := kit.Issue("42", "orders:write"), kit.Issue("42", "orders:read")
	require.Equal(t, http.StatusCreated, send(handler, writer, "POST", "/orders").Code)
	require.Equal(t, http.StatusForbidden, send(handler, reader, "POST", "/orders").Code)
}

// docs: end

// docs: all routes

func TestEveryRouteRequiresKey(t *testing.T) {
	kit := tokenauthtest.New(t, nil)
	s, handler := newShop(t, kit.Manager, findUser)
	for pattern := range s.routes() {
		method, path, _ := strings.Cut(pattern, " ")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		require.Equal(t, http.StatusUnauthorized, w.Code, pattern)
	}
}

// docs: end

// docs: refused

func TestOrderRefusesKeys(t *testing.T) {
	tests := []struct {
		name   string
		change func(kit *tokenauthtest.Kit)
		status int
	}{
		{"one second before expiry", func(kit *tokenauthtest.Kit) { kit.Clock.Advance(time.Hour - time.Second) }, 201},
		{"at expiry", func(kit *tokenauthtest.Kit) { kit.Clock.Advance(time.Hour) }, 401},
		{"revoked", func(kit *tokenauthtest.Kit) { _, _ = kit.Manager.RevokeAll(context.Background(), "42") }, 401},
		{"the database is down", func(kit *tokenauthtest.Kit) { kit.Store.Fail(errors.New("connection refused")) }, 503},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			kit := tokenauthtest.New(t, &tokenauth.Options{DefaultTTL: time.Hour})
			_, handler := newShop(t, kit.Manager, findUser)
			key := kit.Issue("42", "orders:write")
			tt.change(kit)
			require.Equal(t, tt.status, send(handler, key, "POST", "/orders").Code)
		})
	}
}

// docs: end

// docs: users

func TestOrderRefusesUsers(t *testing.T) {
	kit := tokenauthtest.New(t, nil)
	_, handler := newShop(t, kit.Manager, findUser)
	require.Equal(t, 401, send(handler, kit.Issue("disabled", "orders:write"), "POST", "/orders").Code)

	failing := func(context.Context, string) (*user, error) { return nil, errors.New("connection refused") }
	_, handler = newShop(t, kit.Manager, failing)
	require.Equal(t, 503, send(handler, kit.Issue("42", "orders:write"), "POST", "/orders").Code)
}

// docs: end

// A response of the store can get lost after the store has made the change.
func TestLostResponseOfPage(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	// docs: intercept
	kit := tokenauthtest.New(t, nil)
	kit.Store.Intercept(func(_ context.Context, method string, next func() error) error {
		err := next()
		if method == "RevokeAll" {
			return errors.New("connection reset by peer") // after the change was made
		}
		return err
	})
	_, err := kit.Manager.RevokeAll(ctx, "42")
	require.Error(t, err)                             // your code must repeat the call
	require.Equal(t, 1, kit.Store.Count("RevokeAll")) // the calls can be counted
	// docs: end
}

// docs: handler

func TestOrderNamesUser(t *testing.T) {
	kit := tokenauthtest.New(t, nil)
	s, _ := newShop(t, kit.Manager, findUser)
	ctx := s.auth.NewContext(t.Context(), &user{"Ada"}, tokenauth.Token{UserID: "42", Name: "laptop"})
	w := httptest.NewRecorder()
	s.order(w, httptest.NewRequestWithContext(ctx, "POST", "/orders", nil))
	require.Equal(t, "Ada ordered with laptop", w.Body.String())
}

// docs: end

// devices is a service that writes rows of its own together with tokens.
type devices struct {
	db      *sql.DB
	store   *tokenauth.SQLStore
	tokens  *tokenauth.Manager
	onEvent func(context.Context, tokenauth.Event)
}

// register issues a token and adds the device that uses it, in one transaction.
func (d *devices) register(ctx context.Context, userID, model string) (tokenauth.Key, error) {
	var events []tokenauth.Event
	collect := func(_ context.Context, e tokenauth.Event) { events = append(events, e) }
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return tokenauth.Key{}, err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after the commit
	key, token, err := d.tokens.WithStore(d.store.With(tx), collect).Issue(ctx, tokenauth.Spec{UserID: userID, Name: model})
	if err == nil {
		_, err = tx.ExecContext(ctx, "INSERT INTO devices (token_id, serial) VALUES (?, ?)", token.ID, "serial of "+model)
	}
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		return tokenauth.Key{}, err
	}
	for _, e := range events {
		d.onEvent(ctx, e)
	}
	return key, nil
}

// docs: database

const settings = "?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=foreign_keys(1)&_txlock=immediate"

// newDevices returns a service on a new database, and the kinds of the events that it has sent.
func newDevices(t *testing.T) (*devices, *[]tokenauth.EventKind) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "test.db")+settings)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	_, err = db.ExecContext(t.Context(), "CREATE TABLE devices (token_id TEXT NOT NULL, serial TEXT NOT NULL UNIQUE)")
	require.NoError(t, err)
	store, err := tokenauth.NewSQLStore(db, tokenauth.SQLite, &tokenauth.SQLOptions{Timeout: time.Minute}) // CI may be slow
	require.NoError(t, err)
	require.NoError(t, store.CreateSchema(t.Context()))
	var sent []tokenauth.EventKind
	onEvent := func(_ context.Context, e tokenauth.Event) { sent = append(sent, e.Kind) }
	tokens, err := tokenauth.New(store, "test", &tokenauth.Options{OnEvent: onEvent})
	require.NoError(t, err)
	return &devices{db, store, tokens, onEvent}, &sent
}

// docs: end

// A committed transaction must leave a token that works and its event.
func TestRegisterOfPage(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	// docs: commit
	d, sent := newDevices(t)
	key, err := d.register(ctx, "42", "phone")
	require.NoError(t, err)
	require.Equal(t, []tokenauth.EventKind{tokenauth.EventIssued}, *sent)
	_, err = d.tokens.Authenticate(ctx, key.Reveal())
	require.NoError(t, err)
	// docs: end
	leak.Default.Secret(key.Reveal())
	require.NoError(t, d.tokens.Close(ctx))
}

// A transaction that is rolled back must leave neither a token nor an event.
func TestFailedRegisterOfPage(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	// docs: rollback
	d, sent := newDevices(t)
	_, err := d.db.ExecContext(ctx, "INSERT INTO devices (token_id, serial) VALUES ('other', 'serial of phone')")
	require.NoError(t, err)
	_, err = d.register(ctx, "42", "phone")
	require.ErrorContains(t, err, "UNIQUE constraint failed: devices.serial")
	tokens, err := d.tokens.List(ctx, tokenauth.Query{UserID: "42"})
	require.NoError(t, err)
	require.Empty(t, tokens, "the rollback must remove the token")
	require.Empty(t, *sent, "no event may report the token")
	// docs: end
}
