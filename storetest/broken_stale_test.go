package storetest

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

const (
	findsTogether = "find several records as they are after one call has changed them, although Find returned them, or no record, before"
	findsDuring   = "find a record as it is after each change, although calls of Find ran during the change"
	listsAfter    = "list records as they are after each change, although List returned them before"
	revokesTimes  = "store the given revocation time, not the current time, rounded down to the microsecond"
	keepsExtended = "keep a token live if an update moves its expiry while RevokeExpired runs, or return ErrNotFound from the update"
	repeatsRotate = "accept the same rotation, and the same update with Replaces, from many concurrent calls"
	repeatsAtOnce = "create one record and return no error when concurrent calls of Create add the same record"
	idsAtOnce     = "let exactly one of many concurrent calls create a token with a given ID"
	keepsTaken    = "keep the name and the slot of a successor taken if the token before is revoked twice at the same time"
)

// cachesFirst returns a function that adds a cache to the Find method of a store. The method with
// the given name removes only one of the records that it changes from the cache.
func cachesFirst(method string) func(*brokenStore) {
	return func(s *brokenStore) {
		var first atomic.Value // ID of the token that the method removes
		first.Store("")
		keepsCached(func(name string, old, r tokenauth.Record, _ tokenauth.Digest) bool {
			return name == method && r.Token.ID != first.Load() && old.Token.ID != first.Load()
		})(s)
		create, touch, revokeAll := s.create, s.touch, s.revokeAll
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			if len(records) > 0 && method == "Create" {
				first.Store(records[0].Token.ID)
			}
			return create(ctx, records...)
		}
		s.touch = func(ctx context.Context, uses ...tokenauth.Use) error {
			if len(uses) > 0 && method == "Touch" {
				first.Store(uses[0].ID)
			}
			return touch(ctx, uses...)
		}
		s.revokeAll = func(ctx context.Context, userID string, at time.Time, by string, limit int) (int, error) {
			if r, ok := s.get(func(r tokenauth.Record) bool { return isLive(r) && r.Token.UserID == userID }); ok && method == "RevokeAll" {
				first.Store(r.Token.ID)
			}
			return revokeAll(ctx, userID, at, by, limit)
		}
	}
}

// cachesLate returns a function that adds a cache to the Find method of a store. Find reads a
// record, and then adds it to the cache, even if the record was changed in between. If hasMisses is
// true, the cache also holds the digests that no record has.
func cachesLate(hasMisses bool) func(*brokenStore) {
	return func(s *brokenStore) {
		var cache sync.Map // records by digest; nil means that no record has the digest
		around(func(s *brokenStore, _ string, next func() error) error {
			return s.eachChanged(next, func(old, r tokenauth.Record) {
				for _, d := range append(digestsOf(old), digestsOf(r)...) {
					cache.Delete(d)
				}
			})
		})(s)
		s.find = func(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
			found, ok := cache.Load(d)
			r, _ := found.(*tokenauth.Record)
			if !ok || ctx.Err() != nil {
				var err error
				if r, err = s.plainStore.Find(ctx, d); ctx.Err() != nil {
					return nil, err
				}
				if s.arrive(); r != nil || hasMisses {
					cache.Store(d, r)
				}
			}
			if r == nil {
				return nil, tokenauth.ErrNotFound
			}
			return r, nil
		}
	}
}

// cachesLists returns a function that adds a cache to the List method of a store. Each method that
// writes removes from the cache the lists of the users whose tokens it changes, except the method
// with the given name.
func cachesLists(ignored string) func(*brokenStore) {
	return func(s *brokenStore) {
		var mu sync.Mutex
		cache := map[string]map[string][]tokenauth.Record{} // by user ID and query
		around(func(s *brokenStore, method string, next func() error) error {
			mu.Lock()
			defer mu.Unlock()
			return s.eachChanged(next, func(old, r tokenauth.Record) {
				if method != ignored {
					delete(cache, cmp.Or(r.Token.UserID, old.Token.UserID))
				}
			})
		})(s)
		s.list = func(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
			mu.Lock()
			defer mu.Unlock()
			records, ok := cache[q.UserID][describeQuery(q)]
			if !ok || ctx.Err() != nil {
				var err error
				if records, err = s.plainStore.List(ctx, q); err != nil || q.UserID == "" {
					return records, err
				}
				if cache[q.UserID] == nil {
					cache[q.UserID] = map[string][]tokenauth.Record{}
				}
				cache[q.UserID][describeQuery(q)] = records
			}
			var copies []tokenauth.Record
			for _, r := range records {
				copies = append(copies, kept(r))
			}
			return copies, nil
		}
	}
}

// cachesRevocation returns a function that adds a cache to the Find method of a store. The method
// with the given name changes the cached records, but does not round the time of the revocation.
func cachesRevocation(ending string) func(*brokenStore) {
	return func(s *brokenStore) {
		var found, revokedAt sync.Map // by token ID
		s.find = func(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
			r, err := s.plainStore.Find(ctx, d)
			if err == nil {
				found.Store(r.Token.ID, true)
				if at, ok := revokedAt.Load(r.Token.ID); ok {
					r.Token.RevokedAt = at.(time.Time)
				}
			}
			return r, err
		}
		end := func(method string, at time.Time, next func() error) error {
			before := s.all()
			err := next()
			for id, r := range s.all() {
				if _, ok := found.Load(id); ok && method == ending && isLive(before[id]) && !isLive(r) {
					revokedAt.Store(id, at)
				}
			}
			return err
		}
		s.revoke = func(ctx context.Context, userID, id string, at time.Time, by string) error {
			return end("Revoke", at, func() error { return s.plainStore.Revoke(ctx, userID, id, at, by) })
		}
		s.revokeExpired = func(ctx context.Context, userID, id string, at time.Time, by string, unusedSince time.Time) error {
			return end("RevokeExpired", at, func() error { return s.plainStore.RevokeExpired(ctx, userID, id, at, by, unusedSince) })
		}
		s.revokeAll = func(ctx context.Context, userID string, at time.Time, by string, limit int) (n int, err error) {
			err = end("RevokeAll", at, func() (err error) {
				n, err = s.plainStore.RevokeAll(ctx, userID, at, by, limit)
				return err
			})
			return n, err
		}
	}
}

// staleBugs are bugs of stores that act on records, or return records, that they have read before.
var staleBugs = []bug{
	{"RevokeAll removes only the first token from a cache", cachesFirst("RevokeAll"), []string{findsTogether}},
	{"Touch removes only the first token from a cache", cachesFirst("Touch"), []string{findsTogether}},
	{"Create removes only the first digest from a cache of unknown digests", cachesFirst("Create"), []string{findsTogether}},
	{"Find caches a record that was changed meanwhile", cachesLate(false), []string{findsDuring}},
	{"Find caches that no record has a digest, although one has it meanwhile", cachesLate(true), []string{findsDuring}},
	{"List of a user returns a cached list after Touch", cachesLists("Touch"), []string{listsAfter}},
	{"List of a user returns a cached list after Rotate", cachesLists("Rotate"), []string{listsAfter}},
	{"List of a user returns a cached list after RevokeExpired", cachesLists("RevokeExpired"), []string{listsAfter}},
	{"Revoke does not round the time in a cached record", cachesRevocation("Revoke"), []string{revokesTimes}},
	{"RevokeExpired does not round the time in a cached record", cachesRevocation("RevokeExpired"), []string{revokesTimes}},
	{"RevokeAll does not round the time in cached records", cachesRevocation("RevokeAll"), []string{revokesTimes}},
	{"a concurrent Create of the same several records returns ErrKeyTaken", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			missing := where(records, func(r tokenauth.Record) bool { _, ok := s.repeated(r); return !ok })
			if s.arrive(); len(records) > 1 {
				for _, r := range missing {
					if _, ok := s.repeated(r); ok {
						return tokenauth.ErrKeyTaken
					}
				}
			}
			return s.plainStore.Create(ctx, records...)
		}
	}, []string{repeatsAtOnce}},
	{"Create overwrites a record with the same ID that a concurrent call has created", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			if len(records) != 1 || s.all()[records[0].Token.ID].Token.ID != "" {
				return s.plainStore.Create(ctx, records...)
			}
			s.arrive()
			return s.locked(ctx, func() error {
				others := &plainStore{rows: slices.DeleteFunc(slices.Clone(s.rows), func(r tokenauth.Record) bool {
					return withID(records[0].Token.ID)(r) && r.Digest != records[0].Digest
				})}
				if err := others.Create(ctx, records...); err != nil {
					return err
				}
				s.rows = others.rows
				return nil
			})
		}
	}, []string{idsAtOnce}},
	{"RevokeExpired checks the expiry before it takes the lock", func(s *brokenStore) {
		s.revokeExpired = func(ctx context.Context, userID, id string, at time.Time, by string, unusedSince time.Time) error {
			if _, err := s.revokesAlone(ctx, userID, id, at, unusedSince); err != nil {
				return err
			}
			return s.plainStore.Revoke(ctx, userID, id, at, by)
		}
	}, []string{keepsExtended}},
	{"a concurrent Rotate to the same digest returns ErrConflict", func(s *brokenStore) {
		s.rotate = func(ctx context.Context, userID, id string, rot tokenauth.Rotation, at time.Time) error {
			old, _ := s.get(withID(id))
			s.arrive()
			if r, ok := s.get(withID(id)); ok && ctx.Err() == nil && r.Token.Generation != old.Token.Generation {
				return tokenauth.ErrConflict
			}
			return s.plainStore.Rotate(ctx, userID, id, rot, at)
		}
	}, []string{repeatsRotate}},
	{"a concurrent Update to the same values returns ErrConflict", func(s *brokenStore) {
		s.update = func(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
			old, _ := s.get(withID(id))
			if s.arrive(); p.Replaces != nil {
				r, ok := s.get(withID(id))
				if ok && ctx.Err() == nil && changes(r, tokenauth.Patch{Scopes: (*[]string)(&old.Token.Scopes)}) {
					return tokenauth.ErrConflict
				}
			}
			return s.plainStore.Update(ctx, userID, id, p, at)
		}
	}, []string{repeatsRotate}},
}

// A twiceFreeingStore is an indexedStore whose Revoke removes the index entries of a token that was
// live when the call began, even if a concurrent call has revoked the token meanwhile.
type twiceFreeingStore struct {
	*indexedStore
	events atomic.Int64 // number of calls that have read or created a record
}

func (s *twiceFreeingStore) Create(ctx context.Context, records ...tokenauth.Record) error {
	err := s.indexedStore.Create(ctx, records...)
	if !errors.Is(err, tokenauth.ErrNameTaken) {
		s.events.Add(1)
	}
	return err
}

func (s *twiceFreeingStore) Revoke(ctx context.Context, userID, id string, at time.Time, by string) error {
	first := s.read(id)
	s.events.Add(1)
	await(&s.events)
	second := s.read(id)
	if err := s.indexedStore.Revoke(ctx, userID, id, at, by); err != nil {
		return err
	}
	if isLive(first) && !isLive(second) {
		await(&s.events)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.free(first.Token, first.Slot)
	}
	return nil
}

func (s *twiceFreeingStore) read(id string) tokenauth.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.records[id]
}

var twoStepKinds = []brokenKind{
	{"Revoke frees the name and the slot that a concurrent Revoke has freed before", func() tokenauth.Store {
		return &twiceFreeingStore{indexedStore: newIndexedStore()}
	}, []string{keepsTaken}, false},
}
