package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
)

const (
	upgradeReaders  = 3
	upgradeChangers = 2
)

// An upgradeLoad sends requests to the older program until it is stopped. It records each response
// that a client must not receive.
type upgradeLoad struct {
	ctx   context.Context
	older *older
	keys  []presented

	// rounds counts the complete rounds of each goroutine. A 503 makes a round incomplete.
	rounds [upgradeReaders + upgradeChangers]atomic.Int64

	mu       sync.Mutex
	statuses map[string]int // number of responses by kind of request and status
	wrong    []string
}

// startUpgradeLoad starts goroutines that present keys, and goroutines that issue, rotate, rename
// and revoke tokens of their own users. The function stop stops them.
func startUpgradeLoad(t *testing.T, o *older, keys []presented) (l *upgradeLoad, stop func()) {
	l = &upgradeLoad{ctx: t.Context(), older: o, keys: keys, statuses: map[string]int{}}
	var wg sync.WaitGroup
	ended := make(chan struct{})
	for i := range l.rounds {
		round := l.read
		if i >= upgradeReaders {
			round = func() bool { return l.change(fmt.Sprint("load-", i)) }
		}
		wg.Go(func() {
			// Pause between rounds, because SQLite does not queue writers.
			for pause := time.NewTicker(5 * time.Millisecond); ; {
				select {
				case <-ended:
					pause.Stop()
					return
				case <-pause.C:
					if round() {
						l.rounds[i].Add(1)
					}
				}
			}
		})
	}
	stop = sync.OnceFunc(func() {
		close(ended)
		wg.Wait()
	})
	t.Cleanup(stop)
	return l, stop
}

// await waits until each goroutine has completed more rounds.
func (l *upgradeLoad) await(t *testing.T) {
	t.Helper()
	for range shortOrLong(1, 20) {
		var until [len(l.rounds)]int64
		for i := range l.rounds {
			until[i] = l.rounds[i].Load() + 4
		}
		fixture.Await(t, "each goroutine of the load completes rounds", func() bool {
			for i := range l.rounds {
				if l.rounds[i].Load() < until[i] {
					return false
				}
			}
			return true
		})
	}
}

// requireNothingWrong logs how many responses had which status, and requires that the load has
// recorded no wrong response.
func (l *upgradeLoad) requireNothingWrong(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	t.Log("responses of the older program: ", l.statuses)
	require.Empty(t, l.wrong)
	for _, status := range []string{"good key 200", "good previous key 200", "bad key 401", "bad previous key 401"} {
		require.Positive(t, l.statuses[status], status)
	}
}

// read presents a key of the database, and a key that no token has.
func (l *upgradeLoad) read() (served bool) {
	return l.present(l.keys[rand.IntN(len(l.keys))]) && l.present(presented{key: olderKey(time.UnixMicro(rand.Int64N(10)), 1)})
}

// present presents a key. The service may respond 503, but it must neither refuse a good key nor
// accept another key.
func (l *upgradeLoad) present(p presented) (served bool) {
	status, id, err := l.older.me(l.ctx, p.key)
	request, right := "bad", status == http.StatusUnauthorized
	if p.good {
		request, right = "good", status == http.StatusOK && id == p.id
	}
	if p.previous {
		request += " previous"
	}
	return l.record(request+" key", status, err, right)
}

// record counts a response. If the response is neither right nor 503, record adds it to l.wrong. It
// returns right.
func (l *upgradeLoad) record(request string, status int, err error, right bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.statuses[fmt.Sprint(request, " ", status)]++
	wrong := err != nil || !right && status != http.StatusServiceUnavailable
	if wrong && len(l.wrong) < 10 && l.ctx.Err() == nil {
		l.wrong = append(l.wrong, fmt.Sprint(request, ": status ", status, ", error ", err))
	}
	return right
}

// change issues a token, rotates it twice, renames it and revokes it. It returns false after a
// response with status 503, because the state of the token is then unknown.
func (l *upgradeLoad) change(user string) (complete bool) {
	name := fmt.Sprint("token ", rand.Int64())
	first, ok := l.post("/issue", url.Values{"user": {user}, "name": {name}})
	id := first.Token.ID
	key := func(k issuedKey, good bool) bool { return l.present(presented{key: k.Key, id: id, good: good}) }
	if !ok || !key(first, true) {
		return false
	}
	form := url.Values{"user": {user}, "id": {id}, "name": {"renamed " + name}}
	second, ok := l.post("/rotate", url.Values{"user": {user}, "id": {id}, "grace": {"yes"}})
	if !ok || !key(first, true) || !key(second, true) {
		return false
	}
	third, ok := l.post("/rotate", form)
	if !ok || !key(first, false) || !key(second, false) || !key(third, true) {
		return false
	}
	if _, ok = l.post("/rename", form); !ok || !key(third, true) {
		return false
	}
	_, ok = l.post("/revoke", form)
	return ok && key(third, false)
}

// post sends a change, which must succeed unless the program responds with status 503.
func (l *upgradeLoad) post(path string, form url.Values) (got issuedKey, done bool) {
	got, status, err := l.older.tryChange(l.ctx, path, form)
	return got, l.record(path, status, err, status == http.StatusOK)
}
