// Package storetest tests implementations of [tokenauth.Store] against what that
// interface promises. For a store of your own:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) tokenauth.Store {
//			store := newStore(t.TempDir())
//			t.Cleanup(func() { _ = store.Close() })
//			return store
//		})
//	}
//
// A failure says what a Store should do, and what this one did instead.
package storetest

import (
	"context"
	"fmt"
	"testing"

	"github.com/go-tokenauth/tokenauth"
)

// Run tests the stores that newStore returns: one subtest for each promise, and
// for each a store of its own. Run it with the race detector too.
//
// newStore must return a store without any record; it may end the subtest by its
// t, and clean up by t.Cleanup. The subtests run one after the other, so that
// the stores may take turns on one table.
//
// The records that the tests create are such as a [tokenauth.Manager] makes: a
// CreatedAt; an ID of 26 letters and digits; a name of 1 to 64 characters and a
// user ID of 1 to 255 bytes, both of valid UTF-8 without control characters. So a
// store may rely on that. Times lie between the years 1 and 9999.
//
// Where the tests call a store from many goroutines, an error that is not one
// of those a [tokenauth.Store] lists is no failure yet: they repeat the call, as
// a service's clients do, up to 20 times, and judge what is in the store then.
// Everywhere else it is one.
func Run(t *testing.T, newStore func(t *testing.T) tokenauth.Store) {
	for _, a := range areas {
		t.Run(a.name, func(t *testing.T) {
			for _, c := range a.cases {
				t.Run(c.name(), func(t *testing.T) { c.check(t.Context(), t, newStore(t)) })
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

// A testCase tests one promise.
type testCase struct {
	id     string // in the project's catalogue of security cases; may be empty
	should string // completes "a Store should"
	test   func(*tester)
}

func (c testCase) name() string {
	if c.id == "" {
		return c.should
	}
	return c.id + " " + c.should
}

// A reporter is what is needed of a *testing.T. As there, Fatalf does not return.
type reporter interface {
	Helper()
	Fatalf(format string, args ...any)
}

func (c testCase) check(ctx context.Context, r reporter, store tokenauth.Store) {
	r.Helper()
	c.test(&tester{reporter: r, ctx: ctx, store: store, should: c.should})
}

// A tester tests one store. Its methods end the test when the store fails it.
type tester struct {
	reporter
	ctx    context.Context
	store  tokenauth.Store
	should string
}

// failf ends the test; format and args complete "but".
func (t *tester) failf(format string, args ...any) {
	t.Helper()
	t.Fatalf("a Store should %s, but %s", t.should, fmt.Sprintf(format, args...))
}
