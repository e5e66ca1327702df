// Package tokenauthtest helps to test services that use package tokenauth. A
// test runs the service's own handlers and the real Manager and Authenticator;
// what it controls is the time and whether the store answers.
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

// A Kit is what a test of a service needs: a Manager, whose tokens are in
// memory, and the clock and the store that it works with. A Kit is safe for
// concurrent use.
type Kit struct {
	Manager *tokenauth.Manager
	Clock   *Clock
	Store   *Store

	t      testing.TB
	issued atomic.Int64
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// New returns a Kit with no token in it. Its Manager has the given options and
// makes keys with the prefix "test". Options may be nil; they are copied.
//
// Options.Now only tells the time at which Clock begins; nil: noon on 1 March
// 2026, UTC. Give time.Now if the service itself compares with the present.
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
	return &Kit{Manager: tokenauth.New(store, "test", &o), Clock: clock, Store: store, t: t}
}

// Issue returns the key of a new token of the user, with a name of its own and
// the expiry that the options say. It ends the test if there is none. For a
// token with a certain name or expiry, call Manager.Issue.
func (k *Kit) Issue(userID string, scopes ...string) tokenauth.Key {
	k.t.Helper()
	name := fmt.Sprintf("tokenauthtest %d", k.issued.Add(1))
	key, _, err := k.Manager.Issue(context.Background(), tokenauth.Spec{UserID: userID, Name: name, Scopes: scopes})
	if err != nil {
		k.t.Fatalf("issue a token of user %q: %v", userID, err)
	}
	return key
}

// SetKey makes r present the key, and no other, as its client would.
func SetKey(r *http.Request, key tokenauth.Key) {
	r.Header.Set("Authorization", "Bearer "+key.Reveal())
}

// A Clock stands still until it is moved. It is safe for concurrent use.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// Now returns the time that the clock shows.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock on by d.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Set moves the clock to t, which may lie in its past.
func (c *Clock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}
