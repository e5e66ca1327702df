package storetest

import (
	"context"
	"errors"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

var contextCases = []testCase{
	// Case S17.
	{"return context.Canceled and no sentinel error if the context is canceled, and change nothing", func(t *tester) {
		ctx, cancel := context.WithCancel(t.ctx)
		cancel()
		contextDone(t, ctx, context.Canceled)
	}},
	// Case S17.
	{"return context.DeadlineExceeded and no sentinel error if the deadline has passed, and change nothing", func(t *tester) {
		ctx, cancel := context.WithDeadline(t.ctx, time.Unix(0, 0))
		defer cancel()
		contextDone(t, ctx, context.DeadlineExceeded)
	}},
}

func contextDone(t *tester, ctx context.Context, want error) {
	foo, expired := full("Foo"), expiring(named("expired"), after(1))
	t.create(foo, expired)
	for _, call := range callsOn(t.store, foo, expired) {
		err := call.do(ctx)
		if !errors.Is(err, want) || sentinelOf(err) != nil {
			t.failf("%s returned %s, want an error that wraps %q and no sentinel error", call.name, describe(err), want)
		}
		t.holds(foo, expired)
	}
}

type call struct {
	name string
	do   func(context.Context) error
}

// callsOn returns at least one call of each Store method. With a context that is not done,
// some of the calls would succeed and the other calls would return a sentinel error. With a
// context that is done, every call must return the context's error instead.
func callsOn(s tokenauth.Store, foo, expired tokenauth.Record) []call {
	id := foo.Token.ID
	return []call{
		{"Create", func(ctx context.Context) error { return s.Create(ctx, named("new")) }},
		{"Create of two records", func(ctx context.Context) error { return s.Create(ctx, named("new"), named("newer")) }},
		{"Create with a taken name", func(ctx context.Context) error { return s.Create(ctx, newRecord(alice, "Foo", "second")) }},
		{"Create with a taken digest", func(ctx context.Context) error { return s.Create(ctx, newRecord(bob, "new", "Foo")) }},
		{"Find", func(ctx context.Context) error { return foundError(s.Find(ctx, foo.Digest)) }},
		{"Find of an unknown digest", func(ctx context.Context) error { return foundError(s.Find(ctx, digest("unknown"))) }},
		{"List", func(ctx context.Context) error { return listedError(s.List(ctx, tokenauth.Query{UserID: alice})) }},
		{"List that matches no record", func(ctx context.Context) error { return listedError(s.List(ctx, tokenauth.Query{UserID: "carol"})) }},
		{"Update", func(ctx context.Context) error { return s.Update(ctx, alice, id, everything, after(5)) }},
		{"Update to a taken name", func(ctx context.Context) error { return s.Update(ctx, alice, id, rename("expired"), after(5)) }},
		{"Update of an unknown token", func(ctx context.Context) error { return s.Update(ctx, bob, id, everything, after(5)) }},
		{"Rotate", func(ctx context.Context) error { return s.Rotate(ctx, alice, id, rotation(2, "second"), after(5)) }},
		{"Rotate with the wrong generation", func(ctx context.Context) error { return s.Rotate(ctx, alice, id, rotation(9, "second"), after(5)) }},
		{"Rotate of an unknown token", func(ctx context.Context) error { return s.Rotate(ctx, bob, id, rotation(2, "second"), after(5)) }},
		{"Revoke", func(ctx context.Context) error { return s.Revoke(ctx, alice, id, after(5)) }},
		{"Revoke of an unknown token", func(ctx context.Context) error { return s.Revoke(ctx, bob, id, after(5)) }},
		{"RevokeExpired", func(ctx context.Context) error {
			return s.RevokeExpired(ctx, alice, expired.Token.ID, after(5), time.Time{})
		}},
		{"RevokeExpired of a token that is not expired", func(ctx context.Context) error { return s.RevokeExpired(ctx, alice, id, after(5), time.Time{}) }},
		{"RevokeAll", func(ctx context.Context) error { return countedError(s.RevokeAll(ctx, alice, after(5), 1000)) }},
		{"Touch", func(ctx context.Context) error { return s.Touch(ctx, use(foo, after(70))) }},
		{"Prune", func(ctx context.Context) error { return countedError(s.Prune(ctx, after(5), time.Time{}, 10)) }},
	}
}

func foundError(_ *tokenauth.Record, err error) error   { return err }
func listedError(_ []tokenauth.Record, err error) error { return err }
func countedError(_ int, err error) error               { return err }
