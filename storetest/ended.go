package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

var endedCases = []testCase{
	// Case S17.
	{"return its result or context.Canceled soon after the context was canceled during a call", func(t *tester) {
		endDuringCalls(t, 3, context.Canceled, func(ctx context.Context, moment int) (context.Context, context.CancelFunc) {
			return &endingContext{Context: ctx, left: moment + 1, done: make(chan struct{})}, func() {}
		})
	}},
	// Case S17.
	{"return its result or context.DeadlineExceeded soon after the deadline passed during a call", func(t *tester) {
		endDuringCalls(t, 2, context.DeadlineExceeded, func(ctx context.Context, moment int) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, []time.Duration{50, 500}[moment]*time.Microsecond)
		})
	}},
}

// soon is the time within which a method must return after its context ended.
const soon = 2 * time.Second

// RunStalled tests that each method of a store returns within two seconds after its context ended,
// although the database does not respond. Run cannot test this, because it cannot stop a database.
// Call RunStalled in a test of a store on a network:
//
//	func TestStalledServer(t *testing.T) {
//		server := startServer(t)
//		store := newStore(server.Addr())
//		server.Stop() // for example with SIGSTOP, so that connections stay open
//		storetest.RunStalled(t, store)
//	}
//
// Many clients have a timeout of several seconds that applies in place of the context, unless an
// option says otherwise.
func RunStalled(t *testing.T, store tokenauth.Store) {
	for _, c := range stalledCases {
		t.Run(c.should, func(t *testing.T) { c.check(t.Context(), t, store) })
	}
}

var stalledCases = []testCase{
	{"return the context's error soon after the context was canceled, although the database does not respond", func(t *tester) {
		stalled(t, context.Canceled, func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(stallTime, cancel)
			return ctx, cancel
		})
	}},
	{"return the context's error soon after the deadline, although the database does not respond", func(t *tester) {
		stalled(t, context.DeadlineExceeded, func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, stallTime)
		})
	}},
}

const stallTime = 10 * time.Millisecond

func stalled(t *tester, want error, limit func(context.Context) (context.Context, context.CancelFunc)) {
	for _, call := range callsOn(t.store, named("Foo"), named("expired")) {
		ctx, cancel := limit(t.ctx)
		err := t.within(ctx, call)
		cancel()
		if !errors.Is(err, want) || sentinelOf(err) != nil {
			t.failf("%s returned %s, want an error that wraps %q and no sentinel error", call.name, describe(err), want)
		}
	}
}

// within makes a call and fails the test case if the call does not return soon after ctx ended.
func (t *tester) within(ctx context.Context, call call) error {
	t.Helper()
	result := make(chan error, 1)
	go func() { result <- call.do(ctx) }()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
	}
	late := time.NewTimer(soon)
	defer late.Stop()
	select {
	case err := <-result:
		return err
	case <-late.C:
		t.failf("%s did not return within %v after its context ended", call.name, soon)
		return nil
	}
}

// An endingContext is a context that is canceled while a call uses it, after a number of calls of
// Err and Done.
type endingContext struct {
	context.Context
	mu   sync.Mutex
	left int // calls of Err and Done until the context is canceled
	done chan struct{}
}

func (c *endingContext) count() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left--; c.left == 0 {
		close(c.done)
	}
}

func (c *endingContext) Done() <-chan struct{} {
	defer c.count()
	return c.done
}

// Err returns nil if this call of Err cancels the context, as if it was canceled just afterwards.
func (c *endingContext) Err() error {
	defer c.count()
	select {
	case <-c.done:
		return context.Canceled
	default:
		return nil
	}
}

// endDuringCalls makes each kind of call several times. Each time, the context that limit returns
// ends at another moment of the call. The call must then have its result, or return the context's
// error. In the second case, the records must be as before the call or as after the call.
func endDuringCalls(t *tester, moments int, want error, limit func(ctx context.Context, moment int) (context.Context, context.CancelFunc)) {
	attempt := 0
	for moment := range moments {
		kinds := len(callsOn(t.store, named("Foo"), named("expired")))
		for kind := range kinds {
			attempt++
			// Each attempt has a user of its own, because a server may apply a change late, after it
			// received the request to cancel it.
			user := fmt.Sprint("user of attempt ", attempt)
			foo, expired := newRecord(user, "Foo", user), newRecord(user, "expired", "expired of "+user)
			expired.Token.ExpiresAt = after(1).Add(time.Duration(attempt) * time.Microsecond)
			t.create(foo, expired)
			call := callsOn(t.store, foo, expired)[kind]
			ctx, cancel := limit(t.ctx, moment)
			err := t.within(ctx, call)
			cancel()
			isEnded := errors.Is(err, want) && sentinelOf(err) == nil
			if !isEnded {
				t.wants(call.want, err, "%s, during which the context ended,", call.name)
			}
			all := tokenauth.Query{UserID: user, IncludeRevoked: true}
			if got := t.list(all); !isEnded || listDiff(got, inOrder(foo, expired)) != "" {
				if difference := listDiff(got, inOrder(call.then...)); difference != "" {
					t.failf("after %s, during which the context ended, List of %s returned %s", call.name, describeQuery(all), difference)
				}
			}
			t.prune(expired.Token.ExpiresAt.Add(time.Microsecond), 10)
		}
	}
}
