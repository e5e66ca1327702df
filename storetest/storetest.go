// Package storetest is the conformance suite for implementations of [tokenauth.Store]. You need it
// only if you write a Store of your own. The tests of a service that uses tokens need package
// [github.com/go-tokenauth/tokenauth/tokenauthtest] instead. Call [Run] in a test of the
// implementation:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) tokenauth.Store {
//			store := newStore(t.TempDir())
//			t.Cleanup(func() { _ = store.Close() })
//			return store
//		})
//	}
//
// Each failure message says what a Store should do and what the tested store did instead.
//
// The comment of [tokenauth.Store] is the contract that the suite tests. The guide
// [docs/your-own-store.md] shows how to fulfill it.
//
// [docs/your-own-store.md]: https://github.com/go-tokenauth/tokenauth/blob/main/docs/your-own-store.md
package storetest

import (
	"context"
	"fmt"
	"testing"

	"github.com/go-tokenauth/tokenauth"
)

// Run tests the stores that newStore returns. Run has one subtest for each rule of the
// [tokenauth.Store] contract, and each subtest calls newStore once. Also run the tests
// with the race detector (go test -race).
//
// newStore must return a store without records. The parameter t of newStore belongs to
// the subtest, so newStore may call t.Fatal, t.Skip and t.Cleanup. The subtests run one
// at a time, so newStore may empty a database table and use the table again.
//
// The comment of [tokenauth.Record] lists the limits of all values that a store may rely on. The
// tests and a [tokenauth.Manager] create only records within these limits.
//
// The subtests of "Large batches" take longer than the others. Run skips them with go test -short.
// Run cannot test how a store behaves if its database does not respond: see [RunStalled].
//
// In the subtests whose names begin with "Concurrent", a concurrent call may
// fail, for example because of a deadlock. If the error is not a sentinel error of package
// tokenauth, the subtest repeats the call, up to 20 attempts in total. In all other
// subtests, an unexpected error fails the subtest immediately.
func Run(t *testing.T, newStore func(t *testing.T) tokenauth.Store) {
	for _, a := range areas {
		t.Run(a.name, func(t *testing.T) {
			if testing.Short() && a.name == largeBatches {
				t.Skip("takes longer than the other subtests")
			}
			for _, c := range a.cases {
				t.Run(c.should, func(t *testing.T) { c.check(t.Context(), t, newStore(t)) })
			}
		})
	}
}

const largeBatches = "Large batches"

var areas = []struct {
	name  string
	cases []testCase
}{
	{"Create", createCases},
	{"Create conflicts", conflictCases},
	{"Find", findCases},
	{"List", listCases},
	{"Queries", queryCases},
	{"Update", updateCases},
	{"Rotate", rotateCases},
	{"Revoke", revokeCases},
	{"Touch", touchCases},
	{"Prune", pruneCases},
	{"Resources", resourceCases},
	{"Lineage", lineageCases},
	{"Other tokens", otherTokensCases},
	{"Order of checks", orderCases},
	{"Separators", separatorCases},
	{"Times", timeCases},
	{"Indices", indexCases},
	{"Concurrent changes", concurrencyCases},
	{"Concurrent reads", concurrentReadCases},
	{"Context", contextCases},
	{"Ending context", endedCases},
	{"Concurrent indices", concurrentIndexCases},
	{largeBatches, batchCases},
}

// A testCase tests one rule of the Store contract. A comment such as "Case S12." above a
// testCase names a case in the project's catalog of security cases.
type testCase struct {
	should string // the rule, which completes a sentence that begins with "a Store should"
	test   func(*tester)
}

// A reporter has the methods of *testing.T that the test cases use. Fatalf ends the test
// case and does not return to its caller.
type reporter interface {
	Helper()
	Fatalf(format string, args ...any)
}

func (c testCase) check(ctx context.Context, r reporter, store tokenauth.Store) {
	r.Helper()
	c.test(&tester{reporter: r, ctx: ctx, store: store, should: c.should})
}

// A tester runs one test case on one store. If the store violates the contract, the
// methods of tester fail and end the test case.
type tester struct {
	reporter
	ctx    context.Context
	store  tokenauth.Store
	should string
}

// failf fails and ends the test case with the message "a Store should X, but Y". X is the
// rule in t.should. Y is what the tested store did, and is formatted from format and args.
func (t *tester) failf(format string, args ...any) {
	t.Helper()
	t.Fatalf("a Store should %s, but %s", t.should, fmt.Sprintf(format, args...))
}
