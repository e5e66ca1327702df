package tokenauth_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// If Find of a faulty store returns the record of another key, the Manager must return an error.
// Otherwise the client would act as the user of the other key. Case S19.
func TestRecordOfAnotherKeyIsRefused(t *testing.T) {
	t.Parallel()
	good := fixture.NewManager(tokenauth.NewMemoryStore(), nil)
	key, _ := fixture.Issue(t, good, tokenauth.Spec{UserID: "u", Name: "n"})
	for name, record := range map[string]*tokenauth.Record{
		"record of another key":           {Digest: tokenauth.DigestOf("another"), Token: tokenauth.Token{UserID: "v"}},
		"record with another retired key": {Retired: &tokenauth.RetiredKey{Digest: tokenauth.DigestOf("another"), Until: fixture.Start.AddDate(100, 0, 0)}},
		"nil record and nil error":        nil,
		"record without digests":          {},
	} {
		m := fixture.NewManager(fixture.FixedFind{Record: record}, nil)
		_, err := m.Authenticate(ctx, key)
		require.Error(t, fixture.Noted(err), name)
		// The key is valid, so the status must be 503. With 401, the client would discard the key.
		require.Equal(t, 503, tokenauth.StatusCode(err), name)
		require.NotErrorIs(t, err, tokenauth.ErrInvalidKey, name)
	}
}

// A nearStore is a database that compares digests loosely: Find returns a record whose digest
// differs in one bit.
type nearStore struct {
	tokenauth.Store
	byte int
}

func (s nearStore) Find(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
	r, err := s.Store.Find(ctx, d)
	if err == nil {
		near := *r
		near.Digest[s.byte] ^= 1
		r = &near
	}
	return r, err
}

// The Manager must compare every byte of the digest. Otherwise a key could be accepted for the
// token of another key. Case S19.
func TestEveryByteOfTheDigestCounts(t *testing.T) {
	t.Parallel()
	store := tokenauth.NewMemoryStore()
	key, _ := fixture.Issue(t, fixture.NewManager(store, nil), tokenauth.Spec{UserID: "u", Name: "n"})
	for i := range len(tokenauth.Digest{}) {
		_, err := fixture.NewManager(nearStore{store, i}, nil).Authenticate(ctx, key)
		require.Equal(t, 503, tokenauth.StatusCode(err), "byte %d", i)
	}
}

// A wrappingStore adds context to ErrNotFound, as good code does.
type wrappingStore struct{ tokenauth.Store }

func (s wrappingStore) Find(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
	r, err := s.Store.Find(ctx, d)
	if err != nil {
		err = fmt.Errorf("mystore: %w", err)
	}
	return r, err
}

func (s wrappingStore) Revoke(context.Context, string, string, time.Time, string) error {
	return fmt.Errorf("mystore: %w", tokenauth.ErrNotFound) // another process has deleted the token
}

// If a store wraps ErrNotFound, an unknown key must still get 401. With 503, the client would retry
// for ever.
func TestWrappedErrNotFoundIsAnUnknownKey(t *testing.T) {
	t.Parallel()
	key, _ := fixture.Issue(t, fixture.NewManager(tokenauth.NewMemoryStore(), nil), tokenauth.Spec{UserID: "u", Name: "n"})
	m := fixture.NewManager(wrappingStore{tokenauth.NewMemoryStore()}, nil)
	_, err := m.Authenticate(ctx, key)
	require.ErrorIs(t, err, tokenauth.ErrInvalidKey)
	require.Equal(t, 401, tokenauth.StatusCode(err))
	key, _ = fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	_, err = m.RevokeKey(ctx, key)
	require.ErrorIs(t, err, tokenauth.ErrInvalidKey)
}

// The token of an event must be a copy. Otherwise an OnEvent that edits the scopes would edit the
// store. Case S20.
func TestEventsHoldCopies(t *testing.T) {
	t.Parallel()
	clock := fixture.NewClock()
	kinds := map[tokenauth.EventKind]bool{}
	store := tokenauth.NewMemoryStore()
	m := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now, OnEvent: func(_ context.Context, e tokenauth.Event) {
		kinds[e.Kind] = true
		if len(e.Token.Scopes) > 0 {
			e.Token.Scopes[0] = "admin"
		}
	}})
	old, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n", Scopes: []string{"read"}, ExpiresAt: fixture.Start.Add(time.Hour)})
	_, _, err := m.Rotate(ctx, "u", token.ID, time.Minute)
	require.NoError(t, err)
	require.Equal(t, []bool{true}, fixture.Accepts(m, old))
	clock.Advance(time.Hour)
	require.Equal(t, []bool{false}, fixture.Accepts(m, old))
	require.True(t, kinds[tokenauth.EventRejected] && kinds[tokenauth.EventPreviousKeyUsed], "the test must cause both events")
	stored, err := m.Get(ctx, "u", token.ID)
	require.NoError(t, err)
	require.Equal(t, tokenauth.Scopes{"read"}, stored.Scopes)
}

// The scopes that Authenticate returns must be a copy. Otherwise a handler that edits them would
// edit the store, and could add the scope "admin" for all later requests. Case S20.
func TestAuthenticateReturnsCopies(t *testing.T) {
	t.Parallel()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), nil)
	key, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n", Scopes: []string{"read"}})
	auth := fixture.NewAuthenticator(m, nil)
	header := http.Header{"Authorization": {"Bearer " + key}}
	for name, authenticate := range map[string]func() (tokenauth.Token, error){
		"Manager": func() (tokenauth.Token, error) { return m.Authenticate(ctx, key) },
		"Authenticator": func() (tokenauth.Token, error) {
			_, t, err := auth.Authenticate(ctx, header, tokenauth.Need{})
			return t, err
		},
	} {
		got, err := authenticate()
		require.NoError(t, err, name)
		got.Scopes[0] = "admin"
		require.Equal(t, 403, fixture.Get(auth.RequireScopes("admin")(fixture.Forbidden(t)), "Bearer "+key).Code, name)
		require.Equal(t, 200, fixture.Get(auth.RequireScopes("read")(fixture.Whoami), "Bearer "+key).Code, name)
	}
}

// If a call of the store fails, StatusCode must return 503. This must hold even if the error of the
// store is or wraps an error of package tokenauth. With status 401, clients would discard valid
// keys. Cases S17, F1.
func TestStoreFailureIs503(t *testing.T) {
	t.Parallel()
	key, _ := fixture.Issue(t, fixture.NewManager(tokenauth.NewMemoryStore(), nil), tokenauth.Spec{UserID: "u", Name: "n"})
	for _, cause := range []error{errors.New("dial tcp: refused"), context.Canceled, context.DeadlineExceeded, tokenauth.ErrConflict, tokenauth.ErrRevoked} {
		_, err := fixture.NewManager(fixture.NewFailingStore(cause), nil).Authenticate(ctx, key)
		require.ErrorIs(t, fixture.Noted(err), cause)
		require.Equal(t, 503, tokenauth.StatusCode(err), cause)
	}
	m := fixture.NewManager(fixture.NewFailingStore(errors.New("down")), nil)
	for name, call := range map[string]func() error{
		"Issue":  func() error { _, _, err := m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: "n"}); return err },
		"Get":    func() error { _, err := m.Get(ctx, "u", "ID"); return err },
		"List":   func() error { _, err := m.List(ctx, tokenauth.Query{UserID: "u"}); return err },
		"Update": func() error { _, err := m.Update(ctx, "u", "ID", tokenauth.Patch{}); return err },
		"Rotate": func() error { _, _, err := m.Rotate(ctx, "u", "ID", 0); return err },
		"Import": func() error {
			_, err := m.Import(ctx, tokenauth.ImportSpec{UserID: "u", Name: "n", Origin: "drf", Digest: tokenauth.Digest{1}})
			return err
		},
	} {
		err := fixture.Noted(call())
		require.Error(t, err, name)
		require.Equal(t, 503, tokenauth.StatusCode(err), name)
	}
}

// If the store cannot store a new key, the error must not contain the key, because services log
// errors.
// Case X1.
func TestErrorOfFailedWriteContainsNoKey(t *testing.T) {
	t.Parallel()
	store := fixture.NewStore()
	m := fixture.NewManager(store, nil)
	_, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop"})
	store.Intercept(func(_ context.Context, method string, next func() error) error {
		if method == "Create" || method == "Rotate" {
			return errors.New("disk full")
		}
		return next()
	})
	for name, call := range map[string]func() error{
		"Issue":  func() error { _, _, err := m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: "phone"}); return err },
		"Rotate": func() error { _, _, err := m.Rotate(ctx, "u", token.ID, 0); return err },
	} {
		err := fixture.Noted(call())
		require.ErrorContains(t, err, "disk full", name)
		var out leak.Search
		_, _ = fmt.Fprintf(&out, "%v %+v", err, err)
		require.Empty(t, out.Leaks(), name)
	}
}

// If the user lookup reports that the user may not sign in, the response must be the same as for an
// invalid key. If the user lookup fails, the status must be 503. Cases U1, U3, U4, U5.
func TestUserLookupDecidesStatus(t *testing.T) {
	t.Parallel()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), nil)
	key, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	unknown := fixture.Get(must.Get(tokenauth.NewAuthenticator(m, fixture.AnyUser, nil)).Require(fixture.Forbidden(t)), "Bearer x")
	for name, c := range map[string]struct {
		user *fixture.User
		err  error
		want int
	}{
		"inactive":            {nil, tokenauth.ErrNoUser, 401},
		"wrapped":             {nil, fmt.Errorf("locked: %w", tokenauth.ErrNoUser), 401},
		"no user, with one":   {&fixture.User{}, tokenauth.ErrNoUser, 401},
		"enabled":             {&fixture.User{ID: "u"}, nil, 200},
		"nil":                 {nil, nil, 401},
		"error":               {nil, sql.ErrConnDone, 503},
		"error, with a user":  {&fixture.User{}, sql.ErrConnDone, 503},
		"not found, unmapped": {nil, sql.ErrNoRows, 503},
		"our own not found":   {nil, tokenauth.ErrNotFound, 503},
		"our own no key":      {nil, tokenauth.ErrNoKey, 503},
		"canceled":            {nil, context.Canceled, 503},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			find := func(context.Context, string) (*fixture.User, error) { return c.user, c.err }
			auth := must.Get(tokenauth.NewAuthenticator(m, find, nil))
			for _, protect := range []func(http.Handler) http.Handler{auth.Require, auth.Optional} {
				next := http.Handler(fixture.Whoami)
				if c.want != 200 {
					next = fixture.Forbidden(t)
				}
				w := fixture.Get(protect(next), "Bearer "+key)
				require.Equal(t, c.want, w.Code)
				if c.want == 401 {
					require.Equal(t, unknown.Header(), w.Header())
					require.Equal(t, unknown.Body.String(), w.Body.String())
				}
			}
			_, _, err := auth.Authenticate(ctx, http.Header{"Authorization": {"Bearer " + key}}, tokenauth.Need{})
			require.Equal(t, c.want, tokenauth.StatusCode(fixture.Noted(err)))
			if c.err != nil {
				require.ErrorIs(t, err, c.err)
			}
		})
	}
}

// The Authenticator must not cache users. After the service deletes a user, the next request with
// that user's key must be rejected. If the same person gets a new user ID, the old key must stay
// invalid. Cases U2, U6.
func TestUserIsLookedUpForEachRequest(t *testing.T) {
	t.Parallel()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), nil)
	users := map[string]*fixture.User{"1": {ID: "1"}}
	h := must.Get(tokenauth.NewAuthenticator(m, func(_ context.Context, id string) (*fixture.User, error) { return users[id], nil }, nil)).Require(fixture.Whoami)
	key, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "1", Name: "n"})
	require.Equal(t, 200, fixture.Get(h, "Bearer "+key).Code)
	delete(users, "1")
	require.Equal(t, 401, fixture.Get(h, "Bearer "+key).Code)
	users["2"] = &fixture.User{ID: "2"} // the same person with a new user ID
	require.Equal(t, 401, fixture.Get(h, "Bearer "+key).Code)
}

// statusFor returns the status for a request whose user lookup returns u.
func statusFor[U any](t *testing.T, u U) int {
	t.Helper()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), nil)
	key, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	auth := must.Get(tokenauth.NewAuthenticator(m, func(context.Context, string) (U, error) { return u, nil }, nil))
	_, _, err := auth.Authenticate(ctx, http.Header{"Authorization": {"Bearer " + key}}, tokenauth.Need{})
	return tokenauth.StatusCode(fixture.Noted(err))
}

// If the user lookup returns a nil user or a zero value and no error, the request must be rejected.
// Otherwise a lookup that forgets to return ErrNoUser would let unknown users in. Case U4.
func TestNilUserIsNoUser(t *testing.T) {
	t.Parallel()
	type account struct{ ID, Name string }
	require.Equal(t, 401, statusFor[*account](t, nil), "status if the user lookup returns a nil pointer")
	require.Equal(t, 401, statusFor[fmt.Stringer](t, nil), "status if the user lookup returns a nil interface")
	require.Equal(t, 401, statusFor[fmt.Stringer](t, (*time.Location)(nil)), "status if the user lookup returns a nil pointer in an interface")
	require.Equal(t, 401, statusFor[any](t, account{}), "status if the user lookup returns a zero struct in an interface")
	require.Equal(t, 401, statusFor[map[string]any](t, nil), "status if the user lookup returns a nil map")
	require.Equal(t, 401, statusFor(t, account{}), "status if the user lookup returns a zero struct")
	require.Equal(t, 401, statusFor(t, ""), "status if the user lookup returns a zero string")
	require.Equal(t, 401, statusFor(t, 0), "status if the user lookup returns a zero number")
	require.Equal(t, 401, statusFor(t, [2]string{}), "status if the user lookup returns a zero array")

	require.Equal(t, 200, statusFor(t, &account{}), "status if the user lookup returns a pointer to a zero struct")
	require.Equal(t, 200, statusFor[any](t, &account{}))
	require.Equal(t, 200, statusFor(t, account{Name: "Ada"}))
	require.Equal(t, 200, statusFor(t, map[string]any{}))
	require.Equal(t, 200, statusFor(t, struct{}{}), "status if the user type has size zero, so that its only value is the zero value")
	require.Equal(t, 200, statusFor[any](t, struct{}{}))
}

// The user lookup must receive the user ID of the token. The Authenticator must not call it for an
// invalid key. Cases U6, U9.
func TestLookupGetsUserIDOfValidKeysOnly(t *testing.T) {
	t.Parallel()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), nil)
	key, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "org:7/ü", Name: "n"})
	gone, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "org:7/ü", Name: "gone"})
	require.NoError(t, m.Revoke(ctx, "org:7/ü", token.ID))
	var asked []string
	h := must.Get(tokenauth.NewAuthenticator(m, func(_ context.Context, id string) (*fixture.User, error) {
		asked = append(asked, id)
		return &fixture.User{ID: id}, nil
	}, nil)).Require(fixture.Whoami)
	for _, header := range []string{"", "Bearer x", "Bearer " + gone, "Bearer " + key[:len(key)-1], "Bearer " + key} {
		fixture.Get(h, header)
	}
	require.Equal(t, []string{"org:7/ü"}, asked)
}

// The Authenticator must not recover a panic of the user lookup, so that net/http can recover and
// log it. The handler must not run. Case U7.
func TestPanicOfLookupIsNotRecovered(t *testing.T) {
	t.Parallel()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), nil)
	key, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	h := must.Get(tokenauth.NewAuthenticator(m, func(context.Context, string) (*fixture.User, error) { panic("boom") }, nil)).Require(fixture.Forbidden(t))
	require.PanicsWithValue(t, "boom", func() { fixture.Get(h, "Bearer "+key) })
	require.PanicsWithValue(t, "boom", func() { fixture.Get(h, "Bearer "+key) }) // the first panic must leave no lock held
}

// A canceled request must cancel the context of its user lookup. A slow user lookup must not delay
// other requests. Case U8.
func TestSlowLookupDelaysNoOtherRequest(t *testing.T) {
	t.Parallel()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), nil)
	key, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "slow", Name: "n"})
	other, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "quick", Name: "n"})
	waiting := make(chan struct{})
	h := must.Get(tokenauth.NewAuthenticator(m, func(ctx context.Context, id string) (*fixture.User, error) {
		if id == "slow" {
			close(waiting)
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return &fixture.User{ID: id}, nil
	}, nil)).Require(fixture.Whoami)
	request, cancel := context.WithCancel(ctx)
	code := make(chan int)
	go func() {
		r := httptest.NewRequestWithContext(request, "GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+key)
		code <- fixture.Serve(h, r).Code
	}()
	<-waiting
	require.Equal(t, 200, fixture.Get(h, "Bearer "+other).Code)
	cancel()
	require.Equal(t, 503, <-code)
}

// A client must not learn why a key is refused. Otherwise somebody who guesses or finds keys would
// learn which of them exist.
func TestRefusedKeysGetSameResponse(t *testing.T) {
	t.Parallel()
	clock := fixture.NewClock()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), &tokenauth.Options{Now: clock.Now, IdleTimeout: 2 * time.Hour})
	find := func(_ context.Context, id string) (*fixture.User, error) {
		if id == "disabled" {
			return nil, tokenauth.ErrNoUser
		}
		return &fixture.User{ID: id}, nil
	}
	h := must.Get(tokenauth.NewAuthenticator(m, find, nil)).Require(fixture.Whoami)
	issue := func(userID, name string, expiresAt time.Time) (string, tokenauth.Token) {
		return fixture.Issue(t, m, tokenauth.Spec{UserID: userID, Name: name, ExpiresAt: expiresAt})
	}
	idle, _ := issue("u", "idle", time.Time{})
	clock.Advance(90 * time.Minute)
	expired, _ := issue("u", "expired", clock.Now().Add(time.Minute))
	revoked, token := issue("u", "revoked", time.Time{})
	require.NoError(t, m.Revoke(ctx, "u", token.ID))
	replaced, token := issue("u", "replaced", time.Time{})
	_, _, err := m.Rotate(ctx, "u", token.ID, 0)
	require.NoError(t, err)
	disabled, _ := issue("disabled", "n", time.Time{})
	clock.Advance(time.Hour)

	unknown, _ := fixture.Issue(t, fixture.NewManager(tokenauth.NewMemoryStore(), nil), tokenauth.Spec{UserID: "u", Name: "n"})
	want := fixture.Get(h, "Bearer "+unknown)
	require.Equal(t, http.StatusUnauthorized, want.Code)
	for name, key := range map[string]string{
		"malformed": "x", "idle": idle, "expired": expired, "revoked": revoked, "replaced": replaced, "user disabled": disabled,
	} {
		got := fixture.Get(h, "Bearer "+key)
		require.Equal(t, want.Code, got.Code, name)
		require.Equal(t, want.Header(), got.Header(), name)
		require.Equal(t, want.Body.String(), got.Body.String(), name)
	}
}
