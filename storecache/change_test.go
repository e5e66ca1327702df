package storecache_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/storecache"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// This file tests that changes made through the cache are visible immediately.

// changeTime is the time of the calls in changes. The record of newCacheWithLaptop is live and not
// expired at that time.
var changeTime = start.Add(time.Minute)

// changes has, by method name, a call of each method that changes or deletes an existing record.
// Each call changes or deletes the record of newCacheWithLaptop.
var changes = map[string]func(s tokenauth.Store) error{
	"Update": func(s tokenauth.Store) error {
		return s.Update(ctx, "u", "laptop", tokenauth.Patch{Name: new("desktop")}, changeTime)
	},
	"Rotate": func(s tokenauth.Store) error {
		r := tokenauth.Rotation{Replaces: 1, Digest: tokenauth.DigestOf("new"), GraceUntil: changeTime}
		return s.Rotate(ctx, "u", "laptop", r, changeTime)
	},
	"Revoke": func(s tokenauth.Store) error { return s.Revoke(ctx, "u", "laptop", changeTime, "") },
	"RevokeExpired": func(s tokenauth.Store) error {
		return s.RevokeExpired(ctx, "u", "laptop", changeTime.AddDate(1, 0, 0), "", time.Time{})
	},
	"RevokeAll": func(s tokenauth.Store) error { _, err := s.RevokeAll(ctx, "u", changeTime, "", 1000); return err },
	"Touch":     func(s tokenauth.Store) error { return s.Touch(ctx, tokenauth.Use{ID: "laptop", At: changeTime}) },
	"Prune": func(s tokenauth.Store) error {
		_, err := s.Prune(ctx, changeTime.AddDate(1, 0, 0), time.Time{}, 10)
		return err
	},
}

// newCacheWithLaptop is like newCache, and creates a record that expires after one hour.
func newCacheWithLaptop(t *testing.T) (*storecache.Cache, *tokenauthtest.Store, tokenauth.Record) {
	t.Helper()
	c, s := newCache(nil)
	r := record("laptop")
	r.Token.ExpiresAt = start.Add(time.Hour)
	require.NoError(t, c.Create(ctx, r))
	return c, s, r
}

// requireSameFind requires that the cache and its store return the same for a digest.
func requireSameFind(t *testing.T, c *storecache.Cache, s *tokenauthtest.Store, d tokenauth.Digest) {
	t.Helper()
	want, wantErr := s.Find(ctx, d)
	got, err := c.Find(ctx, d)
	require.Equal(t, wantErr, err)
	require.Equal(t, want, got)
}

// Every change made through the cache is visible immediately.
// Case C2.
func TestChangeIsVisibleImmediately(t *testing.T) {
	t.Parallel()
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, s, r := newCacheWithLaptop(t)
			for range 3 {
				_, err := c.Find(ctx, r.Digest)
				require.NoError(t, err)
			}
			require.Equal(t, 1, s.Count("Find"), "queries for three calls of Find")
			require.NoError(t, change(c))
			requireSameFind(t, c, s, r.Digest)
		})
	}
}

// A request during a change may fetch the previous record. After the change, the cache must not
// serve that record. Otherwise a revoked key would work for up to MaxStale longer. The same holds
// if the change returns an error, because it may have been committed. Cases C2, E7, E8.
func TestRecordFetchedDuringChangeIsEvicted(t *testing.T) {
	t.Parallel()
	for outcome, failure := range map[string]error{"done": nil, "unknown": errors.New("connection lost, outcome unknown")} {
		for name, change := range changes {
			t.Run(name+", outcome "+outcome, func(t *testing.T) {
				t.Parallel()
				c, s, r := newCacheWithLaptop(t)
				s.Intercept(func(_ context.Context, method string, next func() error) error {
					if method != name {
						return next()
					}
					_, err := c.Find(ctx, r.Digest)
					return errors.Join(err, next(), failure)
				})
				require.ErrorIs(t, change(c), failure)
				s.Intercept(nil)
				requireSameFind(t, c, s, r.Digest)
			})
		}
	}
}

// If a token may do less, its key must do less at once, also while the cache has the token.
// Otherwise the key would reach the other resources for up to MaxStale.
func TestNarrowedTokenIsVisibleImmediately(t *testing.T) {
	t.Parallel()
	c, s, r := newCacheWithLaptop(t)
	for _, resources := range [][]string{{"p", "q"}, {"q"}, nil, {"p"}} {
		for range 2 {
			_, err := c.Find(ctx, r.Digest)
			require.NoError(t, err)
		}
		require.NoError(t, c.Update(ctx, "u", "laptop", tokenauth.Patch{Resources: &resources}, changeTime))
		got, err := c.Find(ctx, r.Digest)
		require.NoError(t, err)
		require.Equal(t, resources, got.Token.Resources)
	}
	require.Equal(t, 5, s.Count("Find"), "one query at the start, and one after each change")
	require.NoError(t, c.Revoke(ctx, "u", "laptop", changeTime, "staff:7"))
	requireSameFind(t, c, s, r.Digest)
}

// A change may be committed long before the call returns, for example if the response of the
// database is late. In this time, the cache must not serve a record that it fetched before the
// call.
// Case C2.
func TestCommittedChangeIsVisibleBeforeCallReturns(t *testing.T) {
	t.Parallel()
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, s, r := newCacheWithLaptop(t)
			_, err := c.Find(ctx, r.Digest)
			require.NoError(t, err)
			s.Intercept(func(_ context.Context, method string, next func() error) error {
				err := next()
				if method == name {
					requireSameFind(t, c, s, r.Digest)
				}
				return err
			})
			require.NoError(t, change(c))
		})
	}
}

// A client may use a key as soon as Create returns. Find must then not join a query that started
// before the commit and found nothing. Otherwise the new key would be refused as unknown.
// Cases C2, C12.
func TestNewKeyIsFoundImmediately(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := newCache(nil)
		r := record("laptop")
		arrive, early := make(chan struct{}), make(chan error)
		s.Intercept(func(_ context.Context, method string, next func() error) error {
			switch {
			case method == "Create":
				go func() { _, err := c.Find(ctx, r.Digest); early <- err }()
				synctest.Wait()
			case s.Count("Find") == 1:
				err := next()
				<-arrive // the result arrives after the commit
				return err
			}
			return next()
		})
		require.NoError(t, c.Create(ctx, r))
		late := make(chan error)
		go func() { _, err := c.Find(ctx, r.Digest); late <- err }()
		synctest.Wait()
		close(arrive)
		require.ErrorIs(t, <-early, tokenauth.ErrNotFound)
		require.NoError(t, <-late)
	})
}

// A token has two cached keys while its previous key is in the grace period. Revoke must evict
// both, even if the cache evicted one of them before. Otherwise the other key would work for
// another MaxStale.
// Cases C2, E13.
func TestRevokeEvictsTheRemainingKeyOfToken(t *testing.T) {
	t.Parallel()
	c, s := newCache(&storecache.Options{MaxEntries: 2, MaxStale: time.Hour})
	rotated, other := record("laptop"), record("phone")
	rotated.Retired = &tokenauth.RetiredKey{Digest: tokenauth.DigestOf("previous key"), Until: changeTime}
	require.NoError(t, c.Create(ctx, rotated, other))
	for _, d := range []tokenauth.Digest{rotated.Retired.Digest, rotated.Digest, other.Digest} {
		_, err := c.Find(ctx, d)
		require.NoError(t, err)
	}
	require.Equal(t, 2, c.Len(), "the previous key is evicted")
	require.NoError(t, c.Revoke(ctx, "u", "laptop", changeTime, ""))
	requireSameFind(t, c, s, rotated.Digest)
}

// unrelatedWrites has, by method name, calls that do not concern the record of newCacheWithLaptop.
var unrelatedWrites = map[string]func(c *storecache.Cache) error{
	"Create": func(c *storecache.Cache) error { return c.Create(ctx, record("tablet")) },
	"Update": func(c *storecache.Cache) error {
		return c.Update(ctx, "u", "phone", tokenauth.Patch{Name: new("desktop")}, changeTime)
	},
	"Rotate": func(c *storecache.Cache) error {
		r := tokenauth.Rotation{Replaces: 1, Digest: tokenauth.DigestOf("new"), GraceUntil: changeTime}
		return c.Rotate(ctx, "u", "phone", r, changeTime)
	},
	"Revoke": func(c *storecache.Cache) error { return c.Revoke(ctx, "u", "phone", changeTime, "") },
	"RevokeExpired": func(c *storecache.Cache) error {
		return c.RevokeExpired(ctx, "u", "phone", changeTime, "", changeTime)
	},
	"RevokeAll": func(c *storecache.Cache) error {
		_, err := c.RevokeAll(ctx, "other user", changeTime, "", 1000)
		return err
	},
	"Touch": func(c *storecache.Cache) error { return c.Touch(ctx, tokenauth.Use{ID: "phone", At: changeTime}) },
	"Prune": func(c *storecache.Cache) error {
		_, err := c.Prune(ctx, changeTime, start.Add(-1), 10)
		return err
	},
	"Invalidate": func(c *storecache.Cache) error { c.Invalidate("phone"); return nil },
}

// A write that does not concern a token must leave the token cached, and must not keep the result
// of a running query out of the cache. Otherwise a busy service would cache nothing.
func TestUnrelatedWriteKeepsToken(t *testing.T) {
	t.Parallel()
	for name, write := range unrelatedWrites {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, s, r := newCacheWithLaptop(t)
				require.NoError(t, c.Create(ctx, record("phone")))
				answer := make(chan struct{})
				interceptFind(s, waitFor(answer))
				result := make(chan error)
				go func() { _, err := c.Find(ctx, r.Digest); result <- err }()
				synctest.Wait()
				require.NoError(t, write(c), "during the query")
				close(answer)
				require.NoError(t, <-result)
				_ = write(c) // while the token is cached
				_, err := c.Find(ctx, r.Digest)
				require.NoError(t, err)
				require.Equal(t, 1, s.Count("Find"), "queries")
			})
		})
	}
}

// Clients send a new key in many concurrent requests, while other users' tokens change. The
// requests must share two queries. A client must not wait for a query that may be outdated, because
// the database may have lost the connection of that query.
// Case C7.
func TestConcurrentCallsShareTwoQueriesDuringWrites(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s, r := newCacheWithLaptop(t)
		first, second := make(chan struct{}), make(chan struct{})
		interceptFind(s, func(ctx context.Context, next func() error) error {
			answer := first
			if s.Count("Find") == 2 {
				answer = second
			}
			return waitFor(answer)(ctx, next)
		})
		results := make(chan error)
		for i := range 100 {
			go func() { _, err := c.Find(ctx, r.Digest); results <- err }()
			synctest.Wait()
			require.Equal(t, min(2, i+1), s.Count("Find"), "queries")
			c.Invalidate("phone")
		}
		close(second)
		for range 99 {
			require.NoError(t, <-results)
		}
		close(first)
		require.NoError(t, <-results)
		require.Equal(t, 2, s.Count("Find"), "queries")
	})
}

// Clients that share a query while their token changes must share the repeated query, too. The end
// of an outdated query must not let later clients start further queries.
// Case C7.
func TestOutdatedQueryIsRepeatedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s, r := newCacheWithLaptop(t)
		answers := []chan struct{}{make(chan struct{}), make(chan struct{}), make(chan struct{})}
		interceptFind(s, func(ctx context.Context, next func() error) error {
			n := s.Count("Find") - 1
			err := next()
			<-answers[n]
			return err
		})
		results := make(chan string)
		find := func() {
			found, err := c.Find(ctx, r.Digest)
			require.NoError(t, err)
			results <- found.Token.Name
		}
		rename := func(name string) {
			require.NoError(t, c.Update(ctx, "u", "laptop", tokenauth.Patch{Name: &name}, changeTime))
		}
		go find()
		synctest.Wait()
		rename("second")
		go find()
		synctest.Wait()
		rename("third")
		close(answers[0])
		require.Equal(t, "laptop", <-results)
		for range 100 {
			go find()
		}
		synctest.Wait()
		require.Equal(t, 2, s.Count("Find"), "queries")
		close(answers[1])
		require.Equal(t, "second", <-results)
		synctest.Wait()
		close(answers[2])
		for range 100 {
			require.Equal(t, "third", <-results)
		}
		require.Equal(t, 3, s.Count("Find"), "queries")
	})
}

// If two queries for a key run, the one that started first may return last. Its record must not
// replace the newer record. Otherwise a key that another process revoked would be refused, and then
// accepted again.
func TestOlderResultDoesNotReplaceNewerResult(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s, r := newCacheWithLaptop(t)
		seen, answer := make(chan struct{}), make(chan struct{})
		interceptFind(s, func(_ context.Context, next func() error) error {
			err := next()
			close(seen)
			<-answer
			return err
		})
		early := make(chan error)
		go func() { _, err := c.Find(ctx, r.Digest); early <- err }()
		<-seen
		s.Intercept(nil)
		time.Sleep(time.Second)
		require.NoError(t, s.Revoke(ctx, "u", "laptop", changeTime, "")) // as another process would
		c.Invalidate("phone")
		requireSameFind(t, c, s, r.Digest)
		close(answer)
		require.NoError(t, <-early)
		requireSameFind(t, c, s, r.Digest)
	})
}

// Another process deletes a token, and this process imports its key again under another ID. The
// import must evict the deleted token, and must keep the results of running queries out of the
// cache.
func TestImportOfCachedKeyIsVisibleImmediately(t *testing.T) {
	t.Parallel()
	for _, running := range []bool{false, true} {
		t.Run(map[bool]string{false: "cached", true: "query running"}[running], func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, s, r := newCacheWithLaptop(t)
				answer := make(chan struct{})
				interceptFind(s, func(_ context.Context, next func() error) error {
					err := next()
					<-answer
					return err
				})
				result := make(chan error)
				go func() { _, err := c.Find(ctx, r.Digest); result <- err }()
				synctest.Wait()
				if !running {
					close(answer)
					require.NoError(t, <-result)
				}
				_, err := s.Prune(ctx, changeTime.AddDate(1, 0, 0), time.Time{}, 10) // as another process would
				require.NoError(t, err)
				again := record("again")
				again.Digest = r.Digest
				require.NoError(t, c.Create(ctx, again))
				if running {
					close(answer)
					require.NoError(t, <-result)
				}
				requireSameFind(t, c, s, r.Digest)
			})
		})
	}
}
