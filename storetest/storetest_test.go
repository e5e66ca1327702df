package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
)

// A correct store must pass the suite. Otherwise an author would search for a defect that does not
// exist.
func TestCorrectStoresPass(t *testing.T) {
	t.Run("MemoryStore", func(t *testing.T) {
		Run(t, func(*testing.T) tokenauth.Store { return tokenauth.NewMemoryStore() })
	})
	t.Run("plainStore", func(t *testing.T) {
		Run(t, func(*testing.T) tokenauth.Store { return &plainStore{} })
	})
	t.Run("indexedStore", func(t *testing.T) {
		Run(t, func(*testing.T) tokenauth.Store { return newIndexedStore() })
	})
}

// A recorder is a reporter for test cases that should fail. It stores the failure message.
type recorder struct{ message string }

func (*recorder) Helper() {}

// Fatalf stores the failure message in r and panics to end the test case. Only the
// goroutine that runs the test case may call Fatalf, as with a *testing.T. The race detector
// reports calls of Fatalf from other goroutines, because Fatalf does not lock r.
func (r *recorder) Fatalf(format string, args ...any) {
	r.message = fmt.Sprintf(format, args...)
	panic(r)
}

// failureOf runs the test case c on the store and returns the failure message. If the test
// case passes, failureOf returns an empty string.
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

// A store with a known bug must fail each test case that the bug lists in its field breaks. At
// least one bug must list each test case of the suite. Otherwise an author could not trust that the
// suite detects a broken store.
func TestBrokenStoresFail(t *testing.T) {
	broken := map[string]bool{}
	for _, b := range brokenStores() {
		t.Run(b.name, func(t *testing.T) {
			for _, rule := range b.breaks {
				i := slices.IndexFunc(allCases(), func(c testCase) bool { return c.should == rule })
				require.GreaterOrEqual(t, i, 0, "the bug lists a rule that no test case has: %s", rule)
				broken[rule] = true
				if testing.Short() && slices.ContainsFunc(batchCases, func(c testCase) bool { return c.should == rule }) {
					continue // takes a second
				}
				if b.isSlow {
					synctest.Test(t, func(t *testing.T) {
						requireFailure(t, allCases()[i], b.newStore)
						time.Sleep(time.Minute) // until the call of the store has returned
					})
				} else {
					requireFailure(t, allCases()[i], b.newStore)
				}
			}
		})
	}
	for _, c := range allCases() {
		require.True(t, broken[c.should], "no bug lists the rule of this test case: %s", c.should)
	}
}

// A brokenKind makes stores with one bug.
type brokenKind struct {
	name     string
	newStore func() tokenauth.Store
	breaks   []string // rules of the test cases that must fail
	isSlow   bool     // whether the test needs a fake clock
}

func brokenStores() (all []brokenKind) {
	bugs := slices.Concat(createBugs, readBugs, changeBugs, othersBugs, raceBugs, orderBugs, textBugs, batchBugs, twoStepBugs, cacheBugs, argumentBugs,
		queryBugs, replacesBugs, expiryBugs, endBugs, repeatBugs, staleBugs, stepBugs, roundingBugs, detailBugs,
		resourceBugs, lineageBugs, expiringBugs, slowBugs)
	for i, b := range bugs {
		all = append(all, brokenKind{b.name, func() tokenauth.Store {
			store := &brokenStore{plainStore: &plainStore{}}
			b.plant(store)
			return store
		}, b.breaks, i >= len(bugs)-len(slowBugs)})
	}
	for _, b := range indexBugs {
		all = append(all, brokenKind{b.name, func() tokenauth.Store {
			store := newIndexedStore()
			b.plant(store)
			return store
		}, b.breaks, false})
	}
	return append(all, twoStepKinds...)
}

// requireFailure requires that the test case c fails on a store with a bug. The failure message
// must begin with the rule in c.should.
func requireFailure(t *testing.T, c testCase, newStore func() tokenauth.Store) {
	t.Helper()
	message := ""
	for range 20 { // a race condition may not occur in every run
		if message = failureOf(t.Context(), c, newStore()); message != "" {
			break
		}
	}
	require.True(t, strings.HasPrefix(message, "a Store should "+c.should+", but "), "test case %q must fail with a message that begins with its rule, but the message is %q", c.should, message)
}

// Authors run the suite on unfinished stores, whose methods do nothing and always return the same
// result. The test cases must then fail with a message, and must not panic.
func TestUnfinishedStoresFailWithoutPanic(t *testing.T) {
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
		require.LessOrEqual(t, passed, 2, "number of test cases that pass on a store that does nothing and returns %v", result)
	}
}

// A uselessStore is a Store whose methods do nothing. Each method returns the error result,
// which may be nil.
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
func (s uselessStore) Revoke(context.Context, string, string, time.Time, string) error {
	return s.result
}
func (s uselessStore) RevokeExpired(context.Context, string, string, time.Time, string, time.Time) error {
	return s.result
}
func (s uselessStore) RevokeAll(context.Context, string, time.Time, string, int) (int, error) {
	return 0, s.result
}
func (s uselessStore) Touch(context.Context, ...tokenauth.Use) error { return s.result }
func (s uselessStore) Prune(context.Context, time.Time, time.Time, int) (int, error) {
	return 0, s.result
}

// An author must be able to select each test case with go test -run. A rule must not contain the ID
// of a case, because authors do not know the catalog of security cases.
func TestRulesAreUniqueAndSelectable(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range allCases() {
		require.False(t, seen[c.should], "two test cases have the same rule: %s", c.should)
		require.NotContains(t, c.should, "/", "go test -run splits its pattern at slashes, so it cannot select a test case with a slash")
		require.NotRegexp(t, `\b[A-Z][0-9]+\b`, c.should)
		seen[c.should] = true
	}
}
