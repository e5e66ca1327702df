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
		ctx, cancel := context.WithCancelCause(t.ctx)
		cancel(errors.New("the server shuts down")) // not the error of the context
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
	foo, expired, gone := full("Foo"), expiring(named("expired"), after(1)), revoked(named("revoked"), after(99))
	t.create(foo, expired, gone)
	for _, call := range callsOn(t.store, foo, expired) {
		err := call.do(ctx)
		if !errors.Is(err, want) || sentinelOf(err) != nil {
			t.failf("%s returned %s, want an error that wraps %q and no sentinel error", call.name, describe(err), want)
		}
		t.holds(foo, expired, gone)
	}
	for _, call := range emptyCalls(t.store, foo, gone) {
		if err := call.do(ctx); !errors.Is(err, want) || sentinelOf(err) != nil {
			t.failf("%s returned %s, want an error that wraps %q and no sentinel error", call.name, describe(err), want)
		}
	}
}

// emptyCalls returns calls that have nothing to do on a store that holds the records foo and gone.
// The token gone is revoked.
func emptyCalls(s tokenauth.Store, foo, gone tokenauth.Record) []call {
	id, same := foo.Token.ID, rotation(foo.Token.Generation, foo.Token.Name)
	return []call{
		{name: "Create of no records", do: func(ctx context.Context) error { return s.Create(ctx) }},
		{name: "List of no IDs", do: func(ctx context.Context) error {
			return listedError(s.List(ctx, tokenauth.Query{UserID: alice, IDs: []string{}}))
		}},
		{name: "Touch of no uses", do: func(ctx context.Context) error { return s.Touch(ctx) }},
		{name: "Touch of an unknown token", do: func(ctx context.Context) error {
			return s.Touch(ctx, tokenauth.Use{ID: newID("unknown"), At: after(5)})
		}},
		{name: "Create of a stored record", do: func(ctx context.Context) error { return s.Create(ctx, foo) }},
		{name: "Update with an empty Patch", do: func(ctx context.Context) error { return s.Update(ctx, alice, id, tokenauth.Patch{}, after(5)) }},
		{name: "Rotate to the current digest", do: func(ctx context.Context) error { return s.Rotate(ctx, alice, id, same, after(5)) }},
		{name: "Revoke of a revoked token", do: func(ctx context.Context) error { return s.Revoke(ctx, alice, gone.Token.ID, after(5), revoker) }},
		{name: "RevokeExpired of a revoked token", do: func(ctx context.Context) error {
			return s.RevokeExpired(ctx, alice, gone.Token.ID, after(5), revoker, time.Time{})
		}},
		{name: "RevokeAll of no tokens", do: func(ctx context.Context) error { return countedError(s.RevokeAll(ctx, bob, after(5), revoker, 10)) }},
		{name: "Prune of no records", do: func(ctx context.Context) error { return countedError(s.Prune(ctx, time.Time{}, time.Time{}, 10)) }},
		{name: "Prune with limit 0", do: func(ctx context.Context) error { return countedError(s.Prune(ctx, after(9), after(9), 0)) }},
	}
}

type call struct {
	name string
	do   func(context.Context) error
	want error              // result of the call if the context does not end
	then []tokenauth.Record // records of the user after the call
}

// callsOn returns at least one call of each Store method on a store that holds the records foo and
// expired of one user. With a context that is done, every call must return the context's error.
func callsOn(s tokenauth.Store, foo, expired tokenauth.Record) []call {
	user, id := foo.Token.UserID, foo.Token.ID
	other := "not " + user
	fresh, fresher := newRecord(user, "new", "new of "+user), newRecord(user, "newer", "newer of "+user)
	taken := newRecord(other, "new", "with a taken digest of "+user)
	taken.Digest = foo.Digest
	rot := rotation(foo.Token.Generation, "second of "+user)
	wrong := rotation(foo.Token.Generation+7, "second of "+user)
	updated := foo
	updated.Token.Name, updated.Token.Scopes, updated.Token.Resources, updated.Token.ExpiresAt = "new", []string{"new"}, []string{"new"}, after(3000)
	both := []tokenauth.Record{foo, expired}
	return []call{
		{"Create", func(ctx context.Context) error { return s.Create(ctx, fresh) }, nil, []tokenauth.Record{foo, expired, fresh}},
		{"Create of two records", func(ctx context.Context) error { return s.Create(ctx, fresh, fresher) }, nil, []tokenauth.Record{foo, expired, fresh, fresher}},
		{"Create with a taken name", func(ctx context.Context) error { return s.Create(ctx, newRecord(user, "Foo", "second of "+user)) }, tokenauth.ErrNameTaken, both},
		{"Create with a taken digest", func(ctx context.Context) error { return s.Create(ctx, taken) }, tokenauth.ErrKeyTaken, both},
		{"Find", func(ctx context.Context) error { return foundError(s.Find(ctx, foo.Digest)) }, nil, both},
		{"Find of an unknown digest", func(ctx context.Context) error { return foundError(s.Find(ctx, digest("unknown"))) }, tokenauth.ErrNotFound, both},
		{"List", func(ctx context.Context) error { return listedError(s.List(ctx, tokenauth.Query{UserID: user})) }, nil, both},
		{"List that matches no record", func(ctx context.Context) error { return listedError(s.List(ctx, tokenauth.Query{UserID: other})) }, nil, both},
		{"Update", func(ctx context.Context) error { return s.Update(ctx, user, id, everything, after(5)) }, nil, []tokenauth.Record{updated, expired}},
		{"Update to a taken name", func(ctx context.Context) error { return s.Update(ctx, user, id, rename("expired"), after(5)) }, tokenauth.ErrNameTaken, both},
		{"Update of an unknown token", func(ctx context.Context) error { return s.Update(ctx, other, id, everything, after(5)) }, tokenauth.ErrNotFound, both},
		{"Rotate", func(ctx context.Context) error { return s.Rotate(ctx, user, id, rot, after(5)) }, nil, []tokenauth.Record{rotated(foo, rot), expired}},
		{"Rotate with the wrong generation", func(ctx context.Context) error { return s.Rotate(ctx, user, id, wrong, after(5)) }, tokenauth.ErrConflict, both},
		{"Rotate of an unknown token", func(ctx context.Context) error { return s.Rotate(ctx, other, id, rot, after(5)) }, tokenauth.ErrNotFound, both},
		{"Revoke", func(ctx context.Context) error { return s.Revoke(ctx, user, id, after(5), revoker) }, nil, []tokenauth.Record{revoked(foo, after(5)), expired}},
		{"Revoke of an unknown token", func(ctx context.Context) error { return s.Revoke(ctx, other, id, after(5), revoker) }, tokenauth.ErrNotFound, both},
		{"RevokeExpired", func(ctx context.Context) error {
			return s.RevokeExpired(ctx, user, expired.Token.ID, after(5), revoker, time.Time{})
		}, nil, []tokenauth.Record{foo, revoked(expired, after(5))}},
		{"RevokeExpired of a token that is not expired", func(ctx context.Context) error {
			return s.RevokeExpired(ctx, user, id, after(5), revoker, time.Time{})
		}, tokenauth.ErrConflict, both},
		{"RevokeAll", func(ctx context.Context) error { return countedError(s.RevokeAll(ctx, user, after(5), revoker, 1000)) }, nil,
			[]tokenauth.Record{revoked(foo, after(5)), revoked(expired, after(5))}},
		{"Touch", func(ctx context.Context) error { return s.Touch(ctx, use(foo, after(70))) }, nil, []tokenauth.Record{usedAt(foo, after(70)), expired}},
		{"Prune", func(ctx context.Context) error {
			return countedError(s.Prune(ctx, expired.Token.ExpiresAt.Add(time.Microsecond), time.Time{}, 10))
		}, nil, []tokenauth.Record{foo}},
	}
}

func foundError(_ *tokenauth.Record, err error) error   { return err }
func listedError(_ []tokenauth.Record, err error) error { return err }
func countedError(_ int, err error) error               { return err }
