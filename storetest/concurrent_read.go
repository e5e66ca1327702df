package storetest

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

var concurrentReadCases = []testCase{
	// Case S18.
	{"return the record with the given digest from Find, and no other record, while other calls are canceled", readCanceled},
	{"return each record as it was before or after a concurrent change, never a mixture of both", readWhole},
	// Case E13.
	{"find a record as it is after each change, although calls of Find ran during the change", findDuring},
	// Case S21.
	{"list each unchanged record once, in order, while other records are created and deleted", readListed},
}

// readCanceled calls Find from many goroutines and cancels every second call while the call
// runs. The bug CVE-2025-47907 of database/sql returned rows of another query if a query was
// canceled. In a store with such a bug, a key would sign in the wrong user.
func readCanceled(t *tester) {
	records := t.some(100)
	const callers, calls = 32, 32
	t.judge(atOnce(callers, func(caller int) error {
		for i := range calls {
			r := records[(caller*7+i*11)%len(records)]
			if err := persist(func() error { return findCanceled(t, r, i%2 == 0, i*caller%100) }); err != nil {
				return err
			}
		}
		return nil
	}))
}

// findCanceled calls Find with the digest of r and checks the result. If isCanceled is true,
// another goroutine calls runtime.Gosched as many times as pauses says, and then cancels the
// context of Find. Find may then return an error that is not a sentinel error.
func findCanceled(t *tester, r tokenauth.Record, isCanceled bool, pauses int) error {
	ctx, cancel := context.WithCancel(t.ctx)
	defer cancel()
	if isCanceled {
		go func() {
			for range pauses {
				runtime.Gosched()
			}
			cancel()
		}()
	}
	got, err := t.store.Find(ctx, r.Digest)
	switch {
	case err != nil && isCanceled && sentinelOf(err) == nil:
		return nil
	case err != nil:
		return err
	case got == nil:
		return wrong{"Find returned neither a record nor an error"}
	}
	if difference := diff(*got, r); difference != "" {
		return wrong{"Find returned a wrong record: " + difference}
	}
	return nil
}

// A wrong is an error that reports a violation of the Store contract. Only the goroutine of
// the test may call Fatalf, so other goroutines return a wrong instead. Because persist
// does not repeat a call after a sentinel error, a wrong matches ErrConflict in errors.Is.
type wrong struct{ what string }

func (w wrong) Error() string        { return w.what }
func (w wrong) Is(target error) bool { return target == tokenauth.ErrConflict }

// judge fails the test case with the first error in errs that is not nil.
func (t *tester) judge(errs []error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.failf("%v", err)
		}
	}
}

// meanwhile runs each function in writers once, in its own goroutine. At the same time,
// three other goroutines call the function read until all writers have returned, 1 to 60
// times per goroutine.
func (t *tester) meanwhile(read func() error, writers ...func() error) {
	t.Helper()
	var writing atomic.Int32
	writing.Store(int32(len(writers)))
	t.judge(atOnce(len(writers)+3, func(i int) error {
		if i < len(writers) {
			defer writing.Add(-1)
			return writers[i]()
		}
		for n := 0; n < 60 && (n == 0 || writing.Load() > 0); n++ {
			if err := persist(read); err != nil {
				return err
			}
			runtime.Gosched()
		}
		return nil
	}))
}

// steps calls the function step n times, with the indexes 0 to n-1, and repeats failed calls
// with persist. After each index, steps calls runtime.Gosched to let other goroutines run.
func steps(n int, step func(i int) error) error {
	for i := range n {
		if err := persist(func() error { return step(i) }); err != nil {
			return err
		}
		for range 10 {
			runtime.Gosched()
		}
	}
	return nil
}

// readWhole reads a token while one goroutine rotates the token and another goroutine
// updates the token. Each call of Rotate or Update changes several fields. List must never
// return a record in which only some of these fields are changed.
func readWhole(t *tester) {
	r := named("name 0")
	r.Token.Scopes = []string{"scope-0"}
	t.create(r)
	id := r.Token.ID
	keys := []tokenauth.Digest{{}, r.Digest} // keys[n] is the current digest of the token in generation n
	for i := range 30 {
		keys = append(keys, rotation(i+1, fmt.Sprint("rotation ", i)).Digest)
	}
	t.meanwhile(
		func() error { return readOne(t, id, keys) },
		func() error {
			return steps(30, func(i int) error {
				return t.store.Rotate(t.ctx, alice, id, rotation(i+1, fmt.Sprint("rotation ", i)), after(5))
			})
		},
		func() error {
			return steps(30, func(i int) error {
				p := tokenauth.Patch{Name: new(fmt.Sprint("name ", i)), Scopes: &[]string{fmt.Sprint("scope-", i)}}
				return t.store.Update(t.ctx, alice, id, p, after(5))
			})
		},
	)
}

func readOne(t *tester, id string, keys []tokenauth.Digest) error {
	got, err := t.store.List(t.ctx, tokenauth.Query{UserID: alice, IDs: []string{id}})
	switch {
	case err != nil:
		return err
	case len(got) != 1:
		return wrong{fmt.Sprintf("List of one ID returned %d records, want 1", len(got))}
	}
	r := got[0]
	n := r.Token.Generation
	isRotated := r.Digest == keys[n] && (n == 1 && r.Retired == nil || n > 1 && r.Retired != nil && r.Retired.Digest == keys[n-1])
	isUpdated := fmt.Sprint(r.Token.Scopes) == "[scope-"+strings.TrimPrefix(r.Token.Name, "name ")+"]"
	if !isRotated || !isUpdated {
		return wrong{fmt.Sprintf("List returned a record with only some fields of a Rotate or Update changed: generation %d, name %q, scopes %q", n, r.Token.Name, r.Token.Scopes)}
	}
	return nil
}

func readListed(t *tester) {
	stay := inTurn(20)
	t.create(stay...)
	t.meanwhile(
		func() error { return readList(t, stay) },
		func() error { return steps(40, func(i int) error { return comeAndGo(t, i) }) },
	)
}

// comeAndGo creates a record if the index i is even. If i is odd, comeAndGo deletes the
// record that it created for the index i-1.
func comeAndGo(t *tester, i int) error {
	r := createdAt(i/2%10, fmt.Sprint("comes and goes ", i/2))
	if i%2 == 0 {
		return t.store.Create(t.ctx, r)
	}
	if err := t.store.Revoke(t.ctx, alice, r.Token.ID, after(-9), revoker); sentinelOf(err) == nil && err != nil {
		return err
	}
	_, err := t.store.Prune(t.ctx, after(-8), time.Time{}, 100)
	return err
}

func readList(t *tester, stay []tokenauth.Record) error {
	got, err := t.store.List(t.ctx, tokenauth.Query{UserID: alice})
	if err != nil {
		return err
	}
	if !slices.IsSortedFunc(got, func(a, b tokenauth.Record) int { return compare(a.Token.Cursor(), b.Token.Cursor()) }) {
		return wrong{"List returned records out of order (the order is CreatedAt, then ID)"}
	}
	seen := map[string]int{}
	for _, r := range got {
		seen[r.Token.ID]++
	}
	for _, r := range stay {
		if n := seen[r.Token.ID]; n != 1 {
			return wrong{fmt.Sprintf("List returned the unchanged record %q %d times, want once", r.Token.Name, n)}
		}
	}
	return nil
}

// findDuring calls Find with the digests of records while another call changes the records. A store
// with a cache must not keep what it read before the change.
func findDuring(t *tester) {
	kinds := len(callsOn(t.store, named("Foo"), named("expired")))
	for i := range 3 * kinds {
		user := fmt.Sprint("user ", i)
		foo, expired := newRecord(user, "Foo", user), newRecord(user, "expired", "expired of "+user)
		foo.Retired = &tokenauth.RetiredKey{Digest: digest("retired of " + user), Until: after(60)}
		expired.Token.ExpiresAt = after(1).Add(time.Duration(i) * time.Microsecond)
		call := callsOn(t.store, foo, expired)[i%kinds]
		if call.want != nil {
			continue
		}
		t.create(foo, expired)
		digests := []tokenauth.Digest{foo.Digest, foo.Retired.Digest, expired.Digest}
		for _, label := range []string{"new of ", "newer of ", "second of "} {
			digests = append(digests, digest(label+user))
		}
		t.wants(nil, t.whileFinding(digests, func() error { return call.do(t.ctx) }), "%s during calls of Find", call.name)
		for _, d := range digests {
			n := slices.IndexFunc(call.then, func(r tokenauth.Record) bool { return r.Digest == d || r.Retired != nil && r.Retired.Digest == d })
			if n < 0 {
				t.misses(d, "a digest that no record has after %s", call.name)
			} else {
				t.finds(d, call.then[n])
			}
		}
		t.prune(expired.Token.ExpiresAt.Add(time.Microsecond), 10)
	}
}

// whileFinding makes a call with persist. Before and during the call, one goroutine for each digest
// calls Find and ignores the results. All of these goroutines have ended when whileFinding returns.
func (t *tester) whileFinding(digests []tokenauth.Digest, call func() error) error {
	var done atomic.Bool
	var started, finders sync.WaitGroup
	defer finders.Wait()
	defer done.Store(true)
	started.Add(len(digests))
	for _, d := range digests {
		finders.Go(func() {
			started.Done()
			for n := 0; n == 0 || n < 100 && !done.Load(); n++ {
				_, _ = t.store.Find(t.ctx, d)
				runtime.Gosched()
			}
		})
	}
	started.Wait()
	return persist(call)
}
