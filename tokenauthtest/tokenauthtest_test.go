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
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/storetest"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

func TestMain(m *testing.M) { leak.Main(m) }

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func authenticate(kit *tokenauthtest.Kit, key tokenauth.Key) (tokenauth.Token, error) {
	leak.Default.Secret(key.Reveal())
	token, err := kit.Manager.Authenticate(context.Background(), key.Reveal())
	_, _ = fmt.Fprintf(&leak.Default, "%+v %v", token, err)
	return token, err
}

// Each call of Kit.Issue must give a working key with the requested user and scopes. A test of a
// service needs no other setup.
func TestIssueReturnsWorkingKeys(t *testing.T) {
	kit := tokenauthtest.New(t, nil)
	names := map[string]bool{}
	for range 3 {
		token, err := authenticate(kit, kit.Issue("42", "b", "a"))
		require.NoError(t, err)
		require.Equal(t, "42", token.UserID)
		require.Equal(t, tokenauth.Scopes{"a", "b"}, token.Scopes)
		require.Equal(t, noon, token.CreatedAt, "CreatedAt must be the time of the kit's clock")
		require.Zero(t, token.ExpiresAt)
		names[token.Name] = true
	}
	require.Len(t, names, 3, "Kit.Issue must give each token a different name")
}

// A fatalTB is a testing.TB for code that should call Fatalf. Its Fatalf stores the failure message
// and panics, because Fatalf must not return to its caller.
type fatalTB struct {
	testing.TB
	message string
}

func (f *fatalTB) Helper() {}

func (f *fatalTB) Fatalf(format string, args ...any) {
	f.message = fmt.Sprintf(format, args...)
	panic(f)
}

// If Kit.Issue cannot issue a key, it must end the test with a message that gives the reason.
func TestIssueFailureEndsTest(t *testing.T) {
	tests := []struct {
		name    string
		user    string
		scope   string
		failure error
		want    string
	}{
		{name: "empty user ID", user: "", scope: "a", want: "user_id must not be empty"},
		{name: "a scope that Options.Scopes does not have", user: "42", scope: "b", want: "scopes must not contain an unknown scope"},
		{name: "the store fails", user: "42", scope: "a", failure: errors.New("disk full"), want: "disk full"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tb := &fatalTB{TB: t}
			kit := tokenauthtest.New(tb, &tokenauth.Options{Scopes: []string{"a"}})
			kit.Store.Fail(tt.failure)
			require.Panics(t, func() { kit.Issue(tt.user, tt.scope) })
			_, _ = fmt.Fprint(&leak.Default, tb.message)
			require.Contains(t, tb.message, tt.want)
		})
	}
}

// The kit's clock must start at the time of Options.Now, and the Manager must use the kit's clock.
func TestClockStartsAtOptionsNow(t *testing.T) {
	begin := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	tests := []struct {
		name string
		opts *tokenauth.Options
		want time.Time
	}{
		{"without options the clock starts at noon", nil, noon},
		{"without Options.Now the clock starts at noon", &tokenauth.Options{MaxTTL: time.Hour}, noon},
		{"the clock starts at the time that Options.Now returns", &tokenauth.Options{Now: func() time.Time { return begin }}, begin},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			kit := tokenauthtest.New(t, tt.opts)
			require.Equal(t, tt.want, kit.Clock.Now())
			kit.Clock.Advance(time.Minute)
			token, err := authenticate(kit, kit.Issue("42"))
			require.NoError(t, err)
			require.Equal(t, tt.want.Add(time.Minute), token.CreatedAt, "CreatedAt must be the time of the kit's clock after Advance")
		})
	}
}

// New must not change the caller's options, because tests share them.
func TestNewLeavesOptionsUnchanged(t *testing.T) {
	opts := &tokenauth.Options{}
	tokenauthtest.New(t, opts)
	require.Nil(t, opts.Now)
}

// A test moves the clock to expire a token, and must get the exact boundary.
func TestMovedClockExpiresToken(t *testing.T) {
	tests := []struct {
		name string
		move func(*tokenauthtest.Clock)
		want error
	}{
		{"a clock that is not moved stands still", func(*tokenauthtest.Clock) {}, nil},
		{"one nanosecond before expiry", func(c *tokenauthtest.Clock) { c.Advance(time.Hour - time.Nanosecond) }, nil},
		{"at expiry", func(c *tokenauthtest.Clock) { c.Advance(time.Hour) }, tokenauth.ErrExpired},
		{"Set to a time after expiry", func(c *tokenauthtest.Clock) { c.Set(noon.AddDate(1, 0, 0)) }, tokenauth.ErrExpired},
		{"Set back to a time before expiry", func(c *tokenauthtest.Clock) { c.Advance(2 * time.Hour); c.Set(noon) }, nil},
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

// SetKey must replace an earlier key. Two Authorization fields would be refused as ambiguous.
func TestSetKeyReplacesEarlierKey(t *testing.T) {
	kit := tokenauthtest.New(t, nil)
	first, second := kit.Issue("42"), kit.Issue("42")
	leak.Default.Secret(first.Reveal())
	leak.Default.Secret(second.Reveal())
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	tokenauthtest.SetKey(r, first)
	tokenauthtest.SetKey(r, second)
	require.True(t, len(r.Header["Authorization"]) == 1 && r.Header.Get("Authorization") == "Bearer "+second.Reveal(),
		"the request must have only the key of the last SetKey") // require.Equal would print the key
}

// calls has for each method name of tokenauth.Store a function that calls this method.
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
	"Revoke": func(ctx context.Context, s tokenauth.Store) error { return s.Revoke(ctx, "42", "id", noon, "") },
	"RevokeExpired": func(ctx context.Context, s tokenauth.Store) error {
		return s.RevokeExpired(ctx, "42", "id", noon, "", time.Time{})
	},
	"RevokeAll": func(ctx context.Context, s tokenauth.Store) error {
		_, err := s.RevokeAll(ctx, "42", noon, "", 1000)
		return err
	},
	"Touch": func(ctx context.Context, s tokenauth.Store) error { return s.Touch(ctx) },
	"Prune": func(ctx context.Context, s tokenauth.Store) error {
		_, err := s.Prune(ctx, noon, time.Time{}, 1)
		return err
	},
}

// Fail must apply to each method of the Store, so that a test can simulate a failed database.
func TestFailAppliesToEveryMethod(t *testing.T) {
	require.Len(t, calls, reflect.TypeFor[tokenauth.Store]().NumMethod())
	ours, behind := errors.New("error passed to Fail"), errors.New("error of the inner store")
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			inner := tokenauthtest.NewStore(tokenauth.NewMemoryStore())
			inner.Fail(behind)
			store := tokenauthtest.NewStore(inner)
			require.ErrorIs(t, call(t.Context(), store), behind, "without Fail, the Store must call the inner store")
			store.Fail(ours)
			require.ErrorIs(t, call(t.Context(), store), ours, "after Fail, the Store must return the error passed to Fail")
			store.Fail(nil)
			require.ErrorIs(t, call(t.Context(), store), behind, "after Fail(nil), the Store must call the inner store again")
		})
	}
}

// A Store of this package must behave like the Store that it contains, with an interceptor and
// without.
func TestStoreSatisfiesStoreContract(t *testing.T) {
	storetest.Run(t, func(*testing.T) tokenauth.Store { return tokenauthtest.NewStore(tokenauth.NewMemoryStore()) })
	storetest.Run(t, func(*testing.T) tokenauth.Store {
		store := tokenauthtest.NewStore(tokenauth.NewMemoryStore())
		store.Intercept(func(_ context.Context, _ string, next func() error) error { return next() })
		return store
	})
}

// Intercept must apply to each method of the Store. Fail takes precedence over Intercept.
func TestInterceptAppliesToEveryMethod(t *testing.T) {
	before, behind, after := errors.New("before"), errors.New("error of the inner store"), errors.New("after")
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
			require.NoError(t, call(ctx, store), "if the interceptor returns nil, the caller must get no error")
			require.Empty(t, inner.Calls())

			intercept(func(next func() error) error { return next() })
			require.ErrorIs(t, call(ctx, store), behind)
			intercept(func(next func() error) error { return errors.Join(after, next()) })
			require.ErrorIs(t, call(ctx, store), after)
			require.Equal(t, []string{name, name}, inner.Calls())

			store.Fail(behind)
			require.NotErrorIs(t, call(ctx, store), after, "after Fail, the Store must not call the interceptor")
			store.Fail(nil)
			store.Intercept(nil)
			require.NotErrorIs(t, call(ctx, store), after, "after Intercept(nil), the Store must not call the interceptor")
		})
	}
}

// If an interceptor calls next, the Store must return the results of the inner store, even if the
// interceptor returns an error. Prune, for example, returns a number together with an error.
func TestInterceptKeepsResultsOfInnerStore(t *testing.T) {
	store := tokenauthtest.NewStore(tokenauth.NewMemoryStore())
	record := tokenauth.Record{Token: tokenauth.Token{ID: "a", UserID: "42", Name: "laptop", CreatedAt: noon}}
	require.NoError(t, store.Create(t.Context(), record))
	lost := errors.New("the response of the store was lost")
	for _, err := range []error{nil, lost} {
		store.Intercept(func(_ context.Context, _ string, next func() error) error { return errors.Join(next(), err) })
		found, got := store.Find(t.Context(), record.Digest)
		require.ErrorIs(t, got, err)
		require.Equal(t, "laptop", found.Token.Name)
		list, got := store.List(t.Context(), tokenauth.Query{UserID: "42"})
		require.ErrorIs(t, got, err)
		require.Len(t, list, 1)
	}
	n, err := store.RevokeAll(t.Context(), "42", noon, "", 1000)
	require.ErrorIs(t, err, lost)
	require.Equal(t, 1, n)
	n, err = store.Prune(t.Context(), noon.Add(time.Hour), time.Time{}, 10)
	require.ErrorIs(t, err, lost)
	require.Equal(t, 1, n)
}

// An interceptor must be able to call methods of the Store without a deadlock. A test can then, for
// example, change a token while another call runs.
func TestInterceptorCanCallStore(t *testing.T) {
	store := tokenauthtest.NewStore(tokenauth.NewMemoryStore())
	store.Intercept(func(ctx context.Context, method string, next func() error) error {
		if method == "Revoke" {
			if _, err := store.List(ctx, tokenauth.Query{AllUsers: true}); err != nil {
				return err
			}
		}
		return next()
	})
	require.ErrorIs(t, store.Revoke(t.Context(), "42", "id", noon, ""), tokenauth.ErrNotFound)
	require.Equal(t, []string{"Revoke", "List"}, store.Calls())
}

// Calls and Count must include every call, so that a test can check the number of queries.
func TestCallsIncludeEveryCall(t *testing.T) {
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
	require.Equal(t, []string{"Find", "Find"}, got, "Calls must include calls that failed")
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

// A service uses the Kit from several goroutines. The race detector finds missing locks in Clock
// and Store.
func TestKitIsSafeForConcurrentUse(t *testing.T) {
	kit := tokenauthtest.New(t, nil)
	failure := errors.New("down")
	key := kit.Issue("42")
	leak.Default.Secret(key.Reveal())
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
					t.Error("Calls returned fewer calls of Find than Count")
				}
			}
		})
	}
	callers.Wait()
	require.Equal(t, 400, kit.Store.Count("Find"))
	require.Equal(t, noon.Add(400*time.Second), kit.Clock.Now())
}
