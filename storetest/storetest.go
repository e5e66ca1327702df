// Package storetest is the conformance suite for implementations of
// [tokenauth.Store]. Call [Run] in a test of the implementation:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) tokenauth.Store {
//			store := newStore(t.TempDir())
//			t.Cleanup(func() { _ = store.Close() })
//			return store
//		})
//	}
//
// Each failure message says what a Store should do and what the tested store did.
package storetest

import (
	"context"
	"fmt"
	"testing"

	"github.com/go-tokenauth/tokenauth"
)

// Run tests the stores that newStore returns. Each rule of the Store contract has
// a subtest of its own, and each subtest calls newStore once. Also run the tests
// with the race detector enabled.
//
// newStore must return a store without records. newStore may fail or skip the
// subtest with its argument t, and may release resources with t.Cleanup. The
// subtests run one at a time, so newStore may empty and reuse one database table.
//
// A store may rely on these limits. The tests and a [tokenauth.Manager] create
// only records within them:
//   - CreatedAt is never zero.
//   - A token ID consists of 26 ASCII letters and digits.
//   - A name has 1 to 64 characters. It is valid UTF-8 without control characters.
//   - A user ID has 1 to 255 bytes. It is valid UTF-8 without control characters.
//   - A scope consists of ASCII letters, digits and punctuation except " and \.
//   - Times lie between the years 1 and 9999. A zero time means never.
//
// Concurrent tests retry a call up to 20 times if it returns an error other than
// the sentinel errors of package tokenauth. Then they check the records in the
// store. In all other tests, an unexpected error fails the test immediately.
func Run(t *testing.T, newStore func(t *testing.T) tokenauth.Store) {
	for _, a := range areas {
		t.Run(a.name, func(t *testing.T) {
			for _, c := range a.cases {
				t.Run(c.should, func(t *testing.T) { c.check(t.Context(), t, newStore(t)) })
			}
		})
	}
}

var areas = []struct {
	name  string
	cases []testCase
}{
	{"Create", createCases},
	{"Create conflicts", conflictCases},
	{"Find", findCases},
	{"List", listCases},
	{"Update", updateCases},
	{"Rotate", rotateCases},
	{"Revoke", revokeCases},
	{"Touch", touchCases},
	{"Prune", pruneCases},
	{"Other tokens", otherTokensCases},
	{"Concurrent changes", concurrencyCases},
	{"Concurrent reads", concurrentReadCases},
	{"Context", contextCases},
}

// A testCase tests one rule of the Store contract. Comments of the form
// "Case S12." refer to the project's catalog of security cases.
type testCase struct {
	should string // completes "a Store should"
	test   func(*tester)
}

// A reporter is the part of *testing.T that the tests use. Fatalf must not return.
type reporter interface {
	Helper()
	Fatalf(format string, args ...any)
}

func (c testCase) check(ctx context.Context, r reporter, store tokenauth.Store) {
	r.Helper()
	c.test(&tester{reporter: r, ctx: ctx, store: store, should: c.should})
}

// A tester runs one test case on one store. Its methods end the test if the store
// violates the contract.
type tester struct {
	reporter
	ctx    context.Context
	store  tokenauth.Store
	should string
}

// failf fails and ends the test. The format and args complete the sentence
// "a Store should …, but …".
func (t *tester) failf(format string, args ...any) {
	t.Helper()
	t.Fatalf("a Store should %s, but %s", t.should, fmt.Sprintf(format, args...))
}
