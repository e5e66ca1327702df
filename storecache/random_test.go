package storecache_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/load"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/storecache"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// A write is a call that changes the store. The fields committed and returned are the numbers of
// events. A Prune counts as returned when the writes before it have returned, too, because the
// cache does not see revocations by other processes or by calls that have not returned.
type write struct {
	committed, returned int
	prunes              bool
	earlier             []*write                    // of a Prune: the writes before it that had not returned
	found               map[tokenauth.Digest]string // results of Find for all digests after the commit
}

type writeKey struct{} // context key of a *write

// A history records all writes of a run in the order of their commits.
type history struct {
	inner *tokenauth.MemoryStore
	cache *storecache.Cache
	store *tokenauthtest.Store

	mu     sync.Mutex
	rand   *rand.Rand
	events int
	writes []*write
	reads  int
}

const randomTokens, randomDigests = 6, 14

func randomDigest(i int) tokenauth.Digest { return tokenauth.DigestOf(fmt.Sprint("key ", i)) }

// render returns a text of a result of Find, or "" if the call failed.
func render(r *tokenauth.Record, err error) string {
	switch {
	case errors.Is(err, tokenauth.ErrNotFound):
		return "not found"
	case err != nil:
		return ""
	}
	return fmt.Sprintf("%+v, retired %+v", r.Token, r.Retired)
}

func (h *history) intN(n int) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rand.IntN(n)
}

func (h *history) sleep(most int) { time.Sleep(time.Duration(h.intN(most)) * 100 * time.Microsecond) }

func (h *history) event() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events++
	return h.events
}

var errLost = errors.New("connection lost, outcome unknown")

// intercept makes all calls of the store slow, and some of them fail.
func (h *history) intercept(ctx context.Context, method string, next func() error) error {
	h.sleep(30)
	err := h.commit(ctx, next)
	h.sleep(30)
	if h.intN(20) == 0 {
		return errLost
	}
	return err
}

// commit runs next, and records the results of Find if the call is a write.
func (h *history) commit(ctx context.Context, next func() error) error {
	w, ok := ctx.Value(writeKey{}).(*write)
	if !ok {
		return next()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	err := next()
	h.events++
	w.committed, w.found = h.events, map[tokenauth.Digest]string{}
	for i := range randomDigests {
		w.found[randomDigest(i)] = render(h.inner.Find(context.Background(), randomDigest(i)))
	}
	for _, other := range h.writes {
		if w.prunes && !other.returnedBefore(h.events) {
			w.earlier = append(w.earlier, other)
		}
	}
	h.writes = append(h.writes, w)
	return err
}

func (w *write) returnedBefore(event int) bool {
	for _, other := range w.earlier {
		if !other.returnedBefore(event) {
			return false
		}
	}
	return w.returned != 0 && w.returned < event
}

// write makes a random change, through the cache or as another process would.
func (h *history) write() {
	w := &write{}
	ctx := context.WithValue(context.Background(), writeKey{}, w)
	n, digest := h.intN(randomTokens), h.intN(randomDigests-randomTokens)
	id, user := fmt.Sprint("token ", n), fmt.Sprint("user ", n%2)
	at := start.Add(time.Duration(h.intN(1000)) * time.Second)
	s := tokenauth.Store(h.cache)
	kind := h.intN(11)
	if kind >= 8 {
		s, kind = h.store, kind-8
		digest = randomDigests - 1 - n // Invalidate does not know that another token had the key before
	}
	switch kind {
	case 0:
		r := tokenauth.Record{Digest: randomDigest(digest), Token: tokenauth.Token{
			ID: id, UserID: user, Name: id, Hint: "x7Qf", Generation: 1, CreatedAt: start}}
		if s == h.cache && h.intN(2) == 0 {
			r.Retired = &tokenauth.RetiredKey{Digest: randomDigest(h.intN(randomDigests - randomTokens)), Until: at}
		}
		if h.intN(2) == 0 {
			r.Token.ExpiresAt = at
		}
		_ = s.Create(ctx, r)
	case 1:
		_ = s.Update(ctx, user, id, tokenauth.Patch{Name: new(fmt.Sprint("name ", h.intN(1000)))}, start)
	case 2:
		generation := 1
		if found, _ := h.inner.List(ctx, tokenauth.Query{UserID: user, IDs: []string{id}}); len(found) == 1 {
			generation = found[0].Token.Generation
		}
		_ = s.Rotate(ctx, user, id, tokenauth.Rotation{Replaces: generation, Digest: randomDigest(digest), GraceUntil: at}, start)
	case 3:
		_ = s.Revoke(ctx, user, id, at, "")
	case 4:
		_ = s.RevokeExpired(ctx, user, id, at, "", time.Time{})
	case 5:
		_, _ = s.RevokeAll(ctx, user, at, "", 1+h.intN(3))
	case 6:
		_ = s.Touch(ctx, tokenauth.Use{ID: id, At: at}, tokenauth.Use{ID: fmt.Sprint("token ", h.intN(randomTokens)), At: at})
	case 7:
		var unused time.Time
		if h.intN(2) == 0 {
			unused = start.Add(time.Duration(h.intN(1000)) * time.Second)
		}
		w.prunes = true
		_, _ = s.Prune(ctx, at, unused, 1+h.intN(3))
	}
	if s == h.store {
		h.cache.Invalidate(id)
	}
	returned := h.event()
	h.mu.Lock()
	defer h.mu.Unlock()
	w.returned = returned
}

// read calls Find. It returns an error if the result is older than a write that changed the result
// and returned before the call.
func (h *history) read() error {
	ctx := context.Background()
	if h.intN(4) == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(h.intN(30))*100*time.Microsecond)
		defer cancel()
	}
	d := randomDigest(h.intN(1 + h.intN(randomDigests)))
	begin := h.event()
	r, err := h.cache.Find(ctx, d)
	end := h.event()
	got := render(r, err)
	if got == "" {
		if errors.Is(err, errLost) || ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return nil
		}
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reads++
	for i := len(h.writes) - 1; i >= 0; i-- {
		w, before := h.writes[i], "not found"
		if i > 0 {
			before = h.writes[i-1].found[d]
		}
		after := w.found[d]
		if w.committed < end && after == got {
			return nil
		}
		if after != before && w.returnedBefore(begin) {
			return fmt.Errorf("read %s\nbut a write before the read left %s", got, after)
		}
	}
	if got == "not found" { // before the first write
		return nil
	}
	return fmt.Errorf("read %s, which the store never had", got)
}

// Find must never return a record that is older than a change that was complete before the call.
// Otherwise a revoked key would be accepted, or a new key refused. The test makes random calls of
// all methods concurrently, on a store that is slow and sometimes fails, and checks all results.
// Cases C2, C11, C12, E8.
func TestRandomCallsReturnNoOutdatedResult(t *testing.T) {
	t.Parallel()
	seeds := 40
	if testing.Short() {
		seeds = 3
	}
	if load.Long() {
		seeds = 1000
	}
	first := rand.Uint64()
	hits, reads := 0, 0
	for i := range seeds {
		seed := first + uint64(i)
		synctest.Test(t, func(t *testing.T) {
			h := &history{inner: tokenauth.NewMemoryStore(), rand: rand.New(rand.NewPCG(seed, 0))}
			h.store = tokenauthtest.NewStore(h.inner)
			h.cache = must.Get(storecache.New(h.store, &storecache.Options{MaxStale: time.Hour, MaxEntries: 3 + 10*h.intN(2)}))
			h.store.Intercept(h.intercept)
			failures := make(chan error, 16)
			var calls sync.WaitGroup
			for range 4 {
				calls.Go(func() {
					for range 40 {
						h.write()
						h.sleep(200)
					}
				})
			}
			for range 16 {
				calls.Go(func() {
					for range 100 {
						if err := h.read(); err != nil {
							failures <- err
							return
						}
						h.sleep(20)
					}
				})
			}
			calls.Wait()
			close(failures)
			var failure error
			for err := range failures {
				failure = cmp.Or(failure, err)
			}
			require.NoError(t, failure, "seed %d", seed)
			time.Sleep(time.Minute) // until abandoned queries have returned
			require.Zero(t, h.cache.Running())
			require.LessOrEqual(t, h.cache.Len(), 13)
			hits, reads = hits+h.reads-h.store.Count("Find"), reads+h.reads
		})
		if t.Failed() {
			return
		}
	}
	t.Logf("%d results from the cache or from shared queries, of %d results", hits, reads)
}
