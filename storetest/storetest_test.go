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

// A recorder is a reporter that records the message of a failure.
type recorder struct{ message string }

func (*recorder) Helper() {}

// Fatalf records the message and panics. As with a *testing.T, only the goroutine of
// the test may call it. The race detector reports calls from other goroutines.
func (r *recorder) Fatalf(format string, args ...any) {
	r.message = fmt.Sprintf(format, args...)
	panic(r)
}

// failureOf returns the failure message of the case c for a store, or "" if the case
// passes.
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

// TestBrokenStores checks that each bug fails the cases that it should fail. It also
// checks that each case finds at least one bug.
func TestBrokenStores(t *testing.T) {
	broken := map[string]bool{}
	for _, b := range slices.Concat(createBugs, readBugs, changeBugs, othersBugs, raceBugs) {
		t.Run(b.name, func(t *testing.T) {
			for _, rule := range b.breaks {
				i := slices.IndexFunc(allCases(), func(c testCase) bool { return c.should == rule })
				require.GreaterOrEqual(t, i, 0, "no such case: %s", rule)
				requireFailure(t, allCases()[i], b.plant)
				broken[rule] = true
			}
		})
	}
	for _, c := range allCases() {
		require.True(t, broken[c.should], "no bug fails the case: %s", c.should)
	}
}

// requireFailure requires that the bug fails the case c, and that the message names
// the rule.
func requireFailure(t *testing.T, c testCase, plant func(*brokenStore)) {
	t.Helper()
	message := ""
	for range 20 { // a race may need several runs to show
		store := &brokenStore{plainStore: &plainStore{}}
		plant(store)
		if message = failureOf(t.Context(), c, store); message != "" {
			break
		}
	}
	require.True(t, strings.HasPrefix(message, "a Store should "+c.should+", but "), "%s: %q", c.should, message)
}

// TestUselessStores checks that no case panics on a store that always returns the
// same error and does nothing.
func TestUselessStores(t *testing.T) {
	for _, result := range append([]error{nil, errors.New("connection refused")}, sentinels...) {
		passed := 0
		for _, c := range allCases() {
			message := failureOf(t.Context(), c, uselessStore{result})
			if message == "" {
				passed++
				continue
			}
			require.True(t, strings.HasPrefix(message, "a Store should "+c.should+", but "), message)
		}
		require.LessOrEqual(t, passed, 2, "cases passed by a store that always returns %v", result)
	}
}

// A uselessStore returns the same error from all calls and does nothing.
type uselessStore struct{ result error }

func (s uselessStore) Create(context.Context, ...tokenauth.Record) error { return s.result }
func (s uselessStore) Find(context.Context, tokenauth.Digest) (*tokenauth.Record, error) {
	return nil, s.result
}
func (s uselessStore) List(context.Context, tokenauth.Query) ([]tokenauth.Record, error) {
	return nil, s.result
}
func (s uselessStore) Update(context.Context, string, string, tokenauth.Patch, time.Time) error {
	return s.result
}
func (s uselessStore) Rotate(context.Context, string, string, tokenauth.Rotation, time.Time) error {
	return s.result
}
func (s uselessStore) Revoke(context.Context, string, string, time.Time) error { return s.result }
func (s uselessStore) RevokeExpired(context.Context, string, string, time.Time) error {
	return s.result
}
func (s uselessStore) RevokeAll(context.Context, string, time.Time) (int, error) { return 0, s.result }
func (s uselessStore) Touch(context.Context, ...tokenauth.Use) error             { return s.result }
func (s uselessStore) Prune(context.Context, time.Time, int) (int, error)        { return 0, s.result }

func TestNamesOfCases(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range allCases() {
		require.False(t, seen[c.should], "duplicate case: %s", c.should)
		require.NotContains(t, c.should, "/", "go test -run cannot select a name with a slash")
		seen[c.should] = true
	}
}
