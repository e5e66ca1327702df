package tokenauthtest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/leaktest"
	"github.com/go-tokenauth/tokenauth/storetest"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func authenticate(kit *tokenauthtest.Kit, key tokenauth.Key) (tokenauth.Token, error) {
	leaktest.Default.Secret(key.Reveal())
	token, err := kit.Manager.Authenticate(context.Background(), key.Reveal())
	_, _ = fmt.Fprintf(&leaktest.Default, "%+v %v", token, err)
	return token, err
}

func TestIssue(t *testing.T) {
	kit := tokenauthtest.New(t, nil)
	names := map[string]bool{}
	for range 3 {
		token, err := authenticate(kit, kit.Issue("42", "b", "a"))
		require.NoError(t, err)
		require.Equal(t, "42", token.UserID)
		require.Equal(t, []string{"a", "b"}, token.Scopes)
		require.Equal(t, noon, token.CreatedAt, "the token is of the kit's own time")
		require.Zero(t, token.ExpiresAt)
		names[token.Name] = true
	}
	require.Len(t, names, 3, "each token has a name of its own")
}

// A fatalTB notes what ended the test. Fatalf must not return.
type fatalTB struct {
	testing.TB
	message string
}

func (f *fatalTB) Helper() {}

func (f *fatalTB) Fatalf(format string, args ...any) {
	f.message = fmt.Sprintf(format, args...)
	panic(f)
}

func TestIssueEndsTheTest(t *testing.T) {
	tests := []struct {
		name    string
		user    string
		scope   string
		failure error
		want    string
	}{
		{name: "no user", user: "", scope: "a", want: tokenauth.ErrInvalidSpec.Error()},
		{name: "a scope that does not exist", user: "42", scope: "b", want: tokenauth.ErrInvalidSpec.Error()},
		{name: "the store fails", user: "42", scope: "a", failure: errors.New("disk full"), want: "disk full"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tb := &fatalTB{TB: t}
			kit := tokenauthtest.New(tb, &tokenauth.Options{Scopes: []string{"a"}})
			kit.Store.Fail(tt.failure)
			require.Panics(t, func() { kit.Issue(tt.user, tt.scope) })
			_, _ = fmt.Fprint(&leaktest.Default, tb.message)
			require.Contains(t, tb.message, tt.want)
		})
	}
}

func TestOptionsNow(t *testing.T) {
	begin := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	tests := []struct {
		name string
		opts *tokenauth.Options
		want time.Time
	}{
		{"no options: the clock begins at noon", nil, noon},
		{"no Now: the clock begins at noon", &tokenauth.Options{MaxTTL: time.Hour}, noon},
		{"Now tells where the clock begins", &tokenauth.Options{Now: func() time.Time { return begin }}, begin},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			kit := tokenauthtest.New(t, tt.opts)
			require.Equal(t, tt.want, kit.Clock.Now())
			kit.Clock.Advance(time.Minute)
			token, err := authenticate(kit, kit.Issue("42"))
			require.NoError(t, err)
			require.Equal(t, tt.want.Add(time.Minute), token.CreatedAt, "the Manager goes by the kit's clock")
		})
	}
}

func TestOptionsStayTheCallers(t *testing.T) {
	opts := &tokenauth.Options{}
	tokenauthtest.New(t, opts)
	require.Nil(t, opts.Now)
}

func TestClock(t *testing.T) {
	tests := []struct {
		name string
		move func(*tokenauthtest.Clock)
		want error
	}{
		{"a clock that is not moved stands still", func(*tokenauthtest.Clock) {}, nil},
		{"a moment before expiry", func(c *tokenauthtest.Clock) { c.Advance(time.Hour - time.Nanosecond) }, nil},
		{"at expiry", func(c *tokenauthtest.Clock) { c.Advance(time.Hour) }, tokenauth.ErrExpired},
		{"set beyond expiry", func(c *tokenauthtest.Clock) { c.Set(noon.AddDate(1, 0, 0)) }, tokenauth.ErrExpired},
		{"set back", func(c *tokenauthtest.Clock) { c.Advance(2 * time.Hour); c.Set(noon) }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			kit := tokenauthtest.New(t, &tokenauth.Options{DefaultTTL: time.Hour})
			key := kit.Issue("42")
			tt.move(kit.Clock)
			_, err := authenticate(kit, key)
			require.ErrorIs(t, err, tt.want)
		})
	}
}

func TestSetKey(t *testing.T) {
	kit := tokenauthtest.New(t, nil)
	first, second := kit.Issue("42"), kit.Issue("42")
	leaktest.Default.Secret(first.Reveal())
	leaktest.Default.Secret(second.Reveal())
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	tokenauthtest.SetKey(r, first)
	tokenauthtest.SetKey(r, second)
	require.True(t, len(r.Header["Authorization"]) == 1 && r.Header.Get("Authorization") == "Bearer "+second.Reveal(),
		"the request presents the last key alone") // without the values: they are not to be printed
}

// calls has every method of tokenauth.Store, by name.
var calls = map[string]func(context.Context, tokenauth.Store) error{
	"Create": func(ctx context.Context, s tokenauth.Store) error { return s.Create(ctx) },
	"Find": func(ctx context.Context, s tokenauth.Store) error {
		_, err := s.Find(ctx, tokenauth.Digest{})
		return err
	},
	"List": func(ctx context.Context, s tokenauth.Store) error {
		_, err := s.List(ctx, tokenauth.Query{})
		return err
	},
	"Update": func(ctx context.Context, s tokenauth.Store) error {
		return s.Update(ctx, "42", "id", tokenauth.Patch{}, noon)
	},
	"Rotate": func(ctx context.Context, s tokenauth.Store) error {
		return s.Rotate(ctx, "42", "id", tokenauth.Rotation{}, noon)
	},
	"Revoke":        func(ctx context.Context, s tokenauth.Store) error { return s.Revoke(ctx, "42", "id", noon) },
	"RevokeExpired": func(ctx context.Context, s tokenauth.Store) error { return s.RevokeExpired(ctx, "42", "id", noon) },
	"RevokeAll":     func(ctx context.Context, s tokenauth.Store) error { _, err := s.RevokeAll(ctx, "42", noon); return err },
	"Touch":         func(ctx context.Context, s tokenauth.Store) error { return s.Touch(ctx) },
	"Prune":         func(ctx context.Context, s tokenauth.Store) error { _, err := s.Prune(ctx, noon, 1); return err },
}

func TestStoreFail(t *testing.T) {
	require.Len(t, calls, reflect.TypeFor[tokenauth.Store]().NumMethod())
	ours, behind := errors.New("ours"), errors.New("from the store behind")
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			inner := tokenauthtest.NewStore(tokenauth.NewMemoryStore())
			inner.Fail(behind)
			store := tokenauthtest.NewStore(inner)
			require.ErrorIs(t, call(t.Context(), store), behind, "a new store passes the call on")
			store.Fail(ours)
			require.ErrorIs(t, call(t.Context(), store), ours, "a failing store answers itself")
			store.Fail(nil)
			require.ErrorIs(t, call(t.Context(), store), behind, "a healed store passes the call on")
		})
	}
}

func TestStoreConformance(t *testing.T) {
	storetest.Run(t, func(*testing.T) tokenauth.Store { return tokenauthtest.NewStore(tokenauth.NewMemoryStore()) })
	storetest.Run(t, func(*testing.T) tokenauth.Store {
		store := tokenauthtest.NewStore(tokenauth.NewMemoryStore())
		store.Intercept(func(_ context.Context, _ string, next func() error) error { return next() })
		return store
	})
}

func TestStoreIntercept(t *testing.T) {
	before, behind, after := errors.New("before"), errors.New("from the inner store"), errors.New("after")
	type key struct{}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			ctx := context.WithValue(t.Context(), key{}, name)
			inner := tokenauthtest.NewStore(tokenauth.NewMemoryStore())
			inner.Fail(behind)
			store := tokenauthtest.NewStore(inner)
			intercept := func(f func(next func() error) error) {
				store.Intercept(func(got context.Context, method string, next func() error) error {
					require.Equal(t, name, method)
					require.Equal(t, ctx, got)
					return f(next)
				})
			}
			intercept(func(func() error) error { return before })
			require.ErrorIs(t, call(ctx, store), before)
			intercept(func(func() error) error { return nil })
			require.NoError(t, call(ctx, store), "the call is not passed on")
			require.Empty(t, inner.Calls())

			intercept(func(next func() error) error { return next() })
			require.ErrorIs(t, call(ctx, store), behind)
			intercept(func(next func() error) error { return errors.Join(after, next()) })
			require.ErrorIs(t, call(ctx, store), after)
			require.Equal(t, []string{name, name}, inner.Calls())

			store.Fail(behind)
			require.NotErrorIs(t, call(ctx, store), after, "a failing store runs no interceptor")
			store.Fail(nil)
			store.Intercept(nil)
			require.NotErrorIs(t, call(ctx, store), after, "the interceptor is removed")
		})
	}
}

// Results of the inner store must reach the caller, also if the interceptor returns an error.
func TestStoreInterceptResults(t *testing.T) {
	store := tokenauthtest.NewStore(tokenauth.NewMemoryStore())
	record := tokenauth.Record{Token: tokenauth.Token{ID: "a", UserID: "42", Name: "laptop", CreatedAt: noon}}
	require.NoError(t, store.Create(t.Context(), record))
	lost := errors.New("the response was lost")
	for _, err := range []error{nil, lost} {
		store.Intercept(func(_ context.Context, _ string, next func() error) error { return errors.Join(next(), err) })
		found, got := store.Find(t.Context(), record.Digest)
		require.ErrorIs(t, got, err)
		require.Equal(t, "laptop", found.Token.Name)
		list, got := store.List(t.Context(), tokenauth.Query{UserID: "42"})
		require.ErrorIs(t, got, err)
		require.Len(t, list, 1)
	}
	n, err := store.RevokeAll(t.Context(), "42", noon)
	require.ErrorIs(t, err, lost)
	require.Equal(t, 1, n)
	n, err = store.Prune(t.Context(), noon.Add(time.Hour), 10)
	require.ErrorIs(t, err, lost)
	require.Equal(t, 1, n)
}

// An interceptor may call the Store, for example to change a token during another call.
func TestStoreInterceptCallsTheStore(t *testing.T) {
	store := tokenauthtest.NewStore(tokenauth.NewMemoryStore())
	store.Intercept(func(ctx context.Context, method string, next func() error) error {
		if method == "Revoke" {
			if _, err := store.List(ctx, tokenauth.Query{AllUsers: true}); err != nil {
				return err
			}
		}
		return next()
	})
	require.ErrorIs(t, store.Revoke(t.Context(), "42", "id", noon), tokenauth.ErrNotFound)
	require.Equal(t, []string{"Revoke", "List"}, store.Calls())
}

func TestStoreCalls(t *testing.T) {
	kit := tokenauthtest.New(t, nil)
	require.Empty(t, kit.Store.Calls())
	key := kit.Issue("42")
	require.Equal(t, []string{"List", "Create"}, kit.Store.Calls())
	kit.Store.ResetCalls()
	_, err := authenticate(kit, key)
	require.NoError(t, err)
	kit.Store.Fail(errors.New("down"))
	_, err = authenticate(kit, key)
	require.Error(t, err)
	got := kit.Store.Calls()
	require.Equal(t, []string{"Find", "Find"}, got, "failing calls are included")
	got[0] = "changed by the caller"
	require.Equal(t, 2, kit.Store.Count("Find"))
	require.Zero(t, kit.Store.Count("Create"))
	require.Zero(t, kit.Store.Count("find"))
	kit.Store.ResetCalls()
	require.Empty(t, kit.Store.Calls())
	for name, call := range calls {
		_ = call(t.Context(), kit.Store)
		require.Equal(t, 1, kit.Store.Count(name))
	}
}

// TestConcurrentUse is for the race detector.
func TestConcurrentUse(t *testing.T) {
	kit := tokenauthtest.New(t, nil)
	failure := errors.New("down")
	key := kit.Issue("42")
	leaktest.Default.Secret(key.Reveal())
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for range 100 {
				kit.Clock.Advance(time.Second)
				kit.Store.Fail(failure)
				if _, err := kit.Manager.Authenticate(context.Background(), key.Reveal()); err != nil && !errors.Is(err, failure) {
					t.Error(err)
				}
				kit.Store.Fail(nil)
				kit.Store.Intercept(func(_ context.Context, _ string, next func() error) error { return next() })
				kit.Store.Intercept(nil)
				if kit.Store.Count("Find") > len(kit.Store.Calls()) {
					t.Error("Calls has fewer calls than Count")
				}
			}
		})
	}
	callers.Wait()
	require.Equal(t, 400, kit.Store.Count("Find"))
	require.Equal(t, noon.Add(400*time.Second), kit.Clock.Now())
}
