package storetest

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/go-tokenauth/tokenauth"
)

var concurrentReadCases = []testCase{
	{"S18", "find the record of the digest asked for and no other, while other calls are cancelled", readCancelled},
	{"", "show every record as it was before a change or as it was after, and never in between", readWhole},
	{"S21", "list what stays once, in order, while other records come and go", readListed},
}

// readCancelled cancels every second call at some moment. A driver that mixes up
// the results of a cancelled query and the next one would sign in another user
// (CVE-2025-47907).
func readCancelled(t *tester) {
	records := t.some(100)
	const callers, calls = 32, 32
	t.judge(atOnce(callers, func(caller int) error {
		for i := range calls {
			r := records[(caller*7+i*11)%len(records)]
			if err := persist(func() error { return findCancelled(t, r, i%2 == 0, i*caller%100) }); err != nil {
				return err
			}
		}
		return nil
	}))
}

// findCancelled finds r. If isCancelled, it cancels the call after some pauses,
// and then the call may fail.
func findCancelled(t *tester, r tokenauth.Record, isCancelled bool, pauses int) error {
	ctx, cancel := context.WithCancel(t.ctx)
	defer cancel()
	if isCancelled {
		go func() {
			for range pauses {
				runtime.Gosched()
			}
			cancel()
		}()
	}
	got, err := t.store.Find(ctx, r.Digest)
	switch {
	case err != nil && isCancelled && answerOf(err) == nil:
		return nil
	case err != nil:
		return err
	case got == nil:
		return wrong{"a digest found neither a record nor an error"}
	}
	if difference := diff(*got, r); difference != "" {
		return wrong{"a digest found the " + difference}
	}
	return nil
}

// wrong is what a goroutine found wrong. It counts as an answer, so that it
// is not tried again: only the test's goroutine may end the test.
type wrong struct{ what string }

func (w wrong) Error() string        { return w.what }
func (w wrong) Is(target error) bool { return target == tokenauth.ErrConflict }

func (t *tester) judge(errs []error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.failf("%v", err)
		}
	}
}

// meanwhile calls each of writers once, and read up to 60 times in each of three
// goroutines more until they are done.
func (t *tester) meanwhile(read func() error, writers ...func() error) {
	t.Helper()
	var writing atomic.Int32
	writing.Store(int32(len(writers)))
	t.judge(atOnce(len(writers)+3, func(i int) error {
		if i < len(writers) {
			defer writing.Add(-1)
			return writers[i]()
		}
		for n := 0; n < 60 && writing.Load() > 0; n++ {
			if err := persist(read); err != nil {
				return err
			}
			runtime.Gosched()
		}
		return nil
	}))
}

// steps calls step with 0 to n-1 and lets others run in between.
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

// readWhole rotates and updates a token, each in one call that changes several fields.
func readWhole(t *tester) {
	r := named("name 0")
	r.Token.Scopes = []string{"scope-0"}
	t.create(r)
	id := r.Token.ID
	keys := []tokenauth.Digest{{}, r.Digest} // of each generation
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
		return wrong{fmt.Sprintf("the list had %d records, not 1", len(got))}
	}
	r := got[0]
	n := r.Token.Generation
	isRotated := r.Digest == keys[n] && (n == 1 && r.Retired == nil || n > 1 && r.Retired != nil && r.Retired.Digest == keys[n-1])
	isUpdated := fmt.Sprint(r.Token.Scopes) == "[scope-"+strings.TrimPrefix(r.Token.Name, "name ")+"]"
	if !isRotated || !isUpdated {
		return wrong{fmt.Sprintf("a record was seen half changed: generation %d, name %q, scopes %q", n, r.Token.Name, r.Token.Scopes)}
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

// comeAndGo adds records and removes them later.
func comeAndGo(t *tester, i int) error {
	r := createdAt(i/2%10, fmt.Sprint("comes and goes ", i/2))
	if i%2 == 0 {
		return t.store.Create(t.ctx, r)
	}
	if err := t.store.Revoke(t.ctx, alice, r.Token.ID, after(-9)); answerOf(err) == nil && err != nil {
		return err
	}
	_, err := t.store.Prune(t.ctx, after(-8), 100)
	return err
}

func readList(t *tester, stay []tokenauth.Record) error {
	got, err := t.store.List(t.ctx, tokenauth.Query{UserID: alice})
	if err != nil {
		return err
	}
	if !slices.IsSortedFunc(got, func(a, b tokenauth.Record) int { return compare(a.Token.Cursor(), b.Token.Cursor()) }) {
		return wrong{"a list was not in order"}
	}
	seen := map[string]int{}
	for _, r := range got {
		seen[r.Token.ID]++
	}
	for _, r := range stay {
		if n := seen[r.Token.ID]; n != 1 {
			return wrong{fmt.Sprintf("a record that stays was listed %d times", n)}
		}
	}
	return nil
}
