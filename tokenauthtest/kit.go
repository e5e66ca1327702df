// Package tokenauthtest helps services that use package tokenauth to test their handlers. The tests
// use a real [tokenauth.Manager] and a real [tokenauth.Authenticator]. The tests set the time of
// the Manager's clock, and can make the Manager's store fail:
//
//	kit := tokenauthtest.New(t, nil)
//	handler := newHandler(kit.Manager) // the code under test
//	tokenauthtest.SetKey(request, kit.Issue("42", "orders:write"))
//	kit.Clock.Advance(time.Hour)
//	kit.Store.Fail(errors.New("connection refused")) // now the response must be 503
//
// A test of a single handler can do without this package: it calls the handler with the context
// that [tokenauth.Authenticator.NewContext] returns. The tests of an implementation of
// [tokenauth.Store] need package [github.com/go-tokenauth/tokenauth/storetest] instead.
package tokenauthtest

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// A Kit has a Manager for tests, the clock of the Manager, and the Store of the Manager. The Store
// keeps tokens in memory. A Kit is safe for concurrent use.
type Kit struct {
	Manager *tokenauth.Manager
	Clock   *Clock
	Store   *Store

	t      testing.TB
	issued atomic.Int64
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// New returns a Kit without tokens. The Manager of the Kit has the given options and issues keys
// with the prefix "test". If opts is nil, the Manager has the default options. New copies opts and
// does not change it.
//
// The clock of the Kit starts at the time that opts.Now returns. If opts.Now is nil, the clock
// starts at noon UTC on March 1, 2026. The clock stands still until the test moves it. If the
// service under test also compares times with time.Now, set opts.Now to time.Now.
func New(t testing.TB, opts *tokenauth.Options) *Kit {
	t.Helper()
	var o tokenauth.Options
	if opts != nil {
		o = *opts
	}
	clock := &Clock{now: noon}
	if o.Now != nil {
		clock.now = o.Now()
	}
	o.Now = clock.Now
	store := NewStore(tokenauth.NewMemoryStore())
	manager, err := tokenauth.New(store, "test", &o)
	if err != nil {
		t.Fatal(err)
	}
	return &Kit{Manager: manager, Clock: clock, Store: store, t: t}
}

// Issue issues a token with a unique name and the default expiry of the options, and returns the
// key of the token. If the Manager returns an error, Issue ends the test with t.Fatalf. To choose
// the name or the expiry of a token, call Manager.Issue instead.
func (k *Kit) Issue(userID string, scopes ...string) tokenauth.Key {
	k.t.Helper()
	name := fmt.Sprintf("tokenauthtest %d", k.issued.Add(1))
	key, _, err := k.Manager.Issue(context.Background(), tokenauth.Spec{UserID: userID, Name: name, Scopes: scopes})
	if err != nil {
		k.t.Fatalf("tokenauthtest: cannot issue a token for user %q: %v", userID, err)
	}
	return key
}

// SetKey sets the Authorization header of the request r to "Bearer " followed by the key, as API
// clients do.
func SetKey(r *http.Request, key tokenauth.Key) {
	r.Header.Set("Authorization", "Bearer "+key.Reveal())
}

// A Clock shows a time that changes only when a test calls Advance or Set. A Clock is safe for
// concurrent use.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// Now returns the current time of the Clock.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the Clock forward by the duration d.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Set sets the Clock to the time t, which may be earlier than the current time of the Clock.
func (c *Clock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}
