package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
)

func TestRun(t *testing.T) {
	t.Run("MemoryStore", func(t *testing.T) {
		Run(t, func(*testing.T) tokenauth.Store { return tokenauth.NewMemoryStore() })
	})
	t.Run("plainStore", func(t *testing.T) {
		Run(t, func(*testing.T) tokenauth.Store { return &plainStore{} })
	})
}

// A recorder is a *testing.T whose failures are expected.
type recorder struct{ message string }

func (*recorder) Helper() {}

// Fatalf may be called from the goroutine of failureOf alone, as on a *testing.T:
// the race detector watches.
func (r *recorder) Fatalf(format string, args ...any) {
	r.message = fmt.Sprintf(format, args...)
	panic(r)
}

// failureOf returns how a store fails a case, or nothing.
func failureOf(ctx context.Context, c testCase, store tokenauth.Store) (message string) {
	r := &recorder{}
	defer func() {
		if p := recover(); p != nil && p != any(r) {
			panic(p)
		}
		message = r.message
	}()
	c.check(ctx, r, store)
	return ""
}

func allCases() (all []testCase) {
	for _, a := range areas {
		all = append(all, a.cases...)
	}
	return all
}

// TestBrokenStores shows that the suite finds each bug, and says which promise
// it breaks; and that each promise is needed to find one of them.
func TestBrokenStores(t *testing.T) {
	broken := map[string]bool{}
	for _, b := range slices.Concat(createBugs, readBugs, changeBugs, othersBugs, raceBugs) {
		t.Run(b.name, func(t *testing.T) {
			for _, promise := range b.breaks {
				i := slices.IndexFunc(allCases(), func(c testCase) bool { return c.should == promise })
				require.GreaterOrEqual(t, i, 0, "no such promise: %s", promise)
				requireFailure(t, allCases()[i], b.plant)
				broken[promise] = true
			}
		})
	}
	for _, c := range allCases() {
		require.True(t, broken[c.should], "no bug is known to break: %s", c.name())
	}
}

// requireFailure requires that the bug breaks the promise, and that it is named.
func requireFailure(t *testing.T, c testCase, plant func(*brokenStore)) {
	t.Helper()
	message := ""
	for range 20 { // races need not show at once
		store := &brokenStore{plainStore: &plainStore{}}
		plant(store)
		if message = failureOf(t.Context(), c, store); message != "" {
			break
		}
	}
	require.True(t, strings.HasPrefix(message, "a Store should "+c.should+", but "), "%s: %q", c.name(), message)
}

// TestUselessStores shows that no store, however wrong, makes the suite panic.
func TestUselessStores(t *testing.T) {
	for _, answer := range append([]error{nil, errors.New("no answer")}, answers...) {
		passed := 0
		for _, c := range allCases() {
			message := failureOf(t.Context(), c, uselessStore{answer})
			if message == "" {
				passed++
				continue
			}
			require.True(t, strings.HasPrefix(message, "a Store should "+c.should+", but "), message)
		}
		require.LessOrEqual(t, passed, 2, "promises to do nothing, when always answering %v", answer)
	}
}

// A uselessStore answers all calls alike and does nothing.
type uselessStore struct{ answer error }

func (s uselessStore) Create(context.Context, ...tokenauth.Record) error { return s.answer }
func (s uselessStore) Find(context.Context, tokenauth.Digest) (*tokenauth.Record, error) {
	return nil, s.answer
}
func (s uselessStore) List(context.Context, tokenauth.Query) ([]tokenauth.Record, error) {
	return nil, s.answer
}
func (s uselessStore) Update(context.Context, string, string, tokenauth.Patch, time.Time) error {
	return s.answer
}
func (s uselessStore) Rotate(context.Context, string, string, tokenauth.Rotation, time.Time) error {
	return s.answer
}
func (s uselessStore) Revoke(context.Context, string, string, time.Time) error { return s.answer }
func (s uselessStore) RevokeExpired(context.Context, string, string, time.Time) error {
	return s.answer
}
func (s uselessStore) RevokeAll(context.Context, string, time.Time) (int, error) { return 0, s.answer }
func (s uselessStore) Touch(context.Context, ...tokenauth.Use) error             { return s.answer }
func (s uselessStore) Prune(context.Context, time.Time, int) (int, error)        { return 0, s.answer }

func TestNamesOfCases(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range allCases() {
		require.False(t, seen[c.should], "twice: %s", c.should)
		require.NotContains(t, c.should, "/", "go test -run could not select it")
		seen[c.should] = true
	}
}
