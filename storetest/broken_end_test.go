package storetest

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

const (
	keepsEnded    = "keep all changes of a token that Revoke, RevokeExpired or RevokeAll revokes meanwhile, and free its name"
	listsTogether = "list all or none of the records that one call of Create adds or one call of RevokeAll revokes"
	prunesChanged = "free the new name and the new digest of a token that is changed while Prune deletes it"
	revokesAtOnce = "leave no live token when one of several concurrent loops of RevokeAll has returned 0"
)

// oneWriter returns a function that adds a bug in Create or RevokeAll to a store, in which only one
// call of them runs at a time.
func oneWriter(plant func(*brokenStore)) func(*brokenStore) {
	return func(s *brokenStore) {
		s.create, s.revokeAll = s.plainStore.Create, s.plainStore.RevokeAll
		plant(s)
		var writer sync.Mutex
		create, revokeAll := s.create, s.revokeAll
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			writer.Lock()
			defer writer.Unlock()
			return create(ctx, records...)
		}
		s.revokeAll = func(ctx context.Context, userID string, at time.Time, by string, limit int) (int, error) {
			writer.Lock()
			defer writer.Unlock()
			return revokeAll(ctx, userID, at, by, limit)
		}
	}
}

// revokesAlone returns the record that RevokeExpired would leave, and leaves the store unchanged.
// Concurrent calls may change the store before revokesAlone returns.
func (s *brokenStore) revokesAlone(ctx context.Context, userID, id string, at, unusedSince time.Time) (tokenauth.Record, error) {
	old, _ := s.get(withID(id))
	alone := &plainStore{rows: []tokenauth.Record{old}}
	err := alone.RevokeExpired(ctx, userID, id, at, revoker, unusedSince)
	if err == nil {
		s.arrive()
	}
	return alone.rows[0], err
}

// endBugs are bugs of stores that revoke, delete or create records in several steps.
var endBugs = []bug{
	{"RevokeExpired writes the record that it has read before", func(s *brokenStore) {
		s.revokeExpired = func(ctx context.Context, userID, id string, at time.Time, by string, unusedSince time.Time) error {
			ended, err := s.revokesAlone(ctx, userID, id, at, unusedSince)
			if err == nil {
				s.edit(withID(id), func(r *tokenauth.Record) { *r = ended })
			}
			return err
		}
	}, []string{keepsEnded}},
	{"RevokeAll writes the records that it has read before", func(s *brokenStore) {
		s.revokeAll = func(ctx context.Context, userID string, at time.Time, by string, limit int) (n int, err error) {
			live, err := s.plainStore.List(ctx, tokenauth.Query{UserID: userID, Limit: limit})
			if err != nil || len(live) == 0 || limit == 0 {
				return s.plainStore.RevokeAll(ctx, userID, at, by, limit)
			}
			s.arrive()
			for _, old := range live {
				s.edit(func(r tokenauth.Record) bool { return isLive(r) && r.Token.ID == old.Token.ID }, func(r *tokenauth.Record) {
					*r = kept(revoked(old, at))
					n++
				})
			}
			if n > 0 {
				return n, nil
			}
			return s.plainStore.RevokeAll(ctx, userID, at, by, limit)
		}
	}, []string{keepsEnded}},
	{"Revoke frees the name that it has read before", func(s *brokenStore) {
		s.refuseHeld()
		s.revoke = func(ctx context.Context, userID, id string, at time.Time, by string) error {
			old, _ := s.get(withID(id))
			s.arrive()
			err := s.plainStore.Revoke(ctx, userID, id, at, by)
			if r, _ := s.get(withID(id)); r.Token.Name != old.Token.Name {
				s.held.Store(r.Token.Name, true)
			}
			return err
		}
	}, []string{keepsEnded}},
	{"Revoke clears the slot in a second step", func(s *brokenStore) {
		var slots sync.Map // of revoked tokens, by token ID
		s.revoke = func(ctx context.Context, userID, id string, at time.Time, by string) error {
			old, _ := s.get(withID(id))
			slots.Store(id, old.Slot)
			defer slots.Delete(id)
			err := s.plainStore.Revoke(ctx, userID, id, at, by)
			s.arrive()
			return err
		}
		s.list = func(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
			records, err := s.plainStore.List(ctx, q)
			for i := range records {
				if slot, ok := slots.Load(records[i].Token.ID); ok {
					records[i].Slot = slot.(int)
				}
			}
			return records, err
		}
	}, []string{listsChanged}},
	{"RevokeAll revokes one token after the other", oneWriter(func(s *brokenStore) {
		s.revokeAll = func(ctx context.Context, userID string, at time.Time, by string, limit int) (n int, err error) {
			for n == 0 || n < limit {
				one, err := s.plainStore.RevokeAll(ctx, userID, at, by, min(1, limit))
				if n += one; one == 0 || err != nil {
					return n, err
				}
				ctx = context.WithoutCancel(ctx)
				s.arrive()
			}
			return n, nil
		}
	}), []string{listsTogether}},
	{"Create adds one record after the other", oneWriter(func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			copied := &plainStore{rows: slices.Collect(maps.Values(s.all()))}
			if err := copied.Create(ctx, records...); err != nil {
				return err
			}
			for _, r := range records {
				if err := s.plainStore.Create(context.WithoutCancel(ctx), r); err != nil {
					return err
				}
				if len(records) < 10 {
					s.arrive()
				}
			}
			return nil
		}
	}), []string{listsTogether}},
	{"concurrent calls of RevokeAll count the same token twice", func(s *brokenStore) {
		s.revokeAll = func(ctx context.Context, userID string, at time.Time, by string, limit int) (int, error) {
			live, err := s.plainStore.List(ctx, tokenauth.Query{UserID: userID, Limit: limit})
			if err != nil || len(live) == 0 || limit == 0 {
				return s.plainStore.RevokeAll(ctx, userID, at, by, limit)
			}
			s.arrive()
			chosen := map[string]bool{}
			for _, r := range live {
				chosen[r.Token.ID] = true
			}
			s.edit(func(r tokenauth.Record) bool { return isLive(r) && chosen[r.Token.ID] }, func(r *tokenauth.Record) { *r = kept(revoked(*r, at)) })
			return len(live), nil
		}
	}, []string{revokesAtOnce}},
	{"Prune frees the name and the digests that it has read before", func(s *brokenStore) {
		var taken sync.Map // digests
		s.refuseHeld()
		create := s.create
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			for _, r := range records {
				if _, ok := taken.Load(r.Digest); ok {
					return tokenauth.ErrKeyTaken
				}
			}
			return create(ctx, records...)
		}
		s.prune = func(ctx context.Context, before, unusedSince time.Time, limit int) (int, error) {
			old := s.all()
			s.arrive()
			now := s.all()
			n, err := s.plainStore.Prune(ctx, before, unusedSince, limit)
			rest := s.all()
			for id, r := range now {
				if _, ok := rest[id]; ok {
					continue
				}
				if r.Token.Name != old[id].Token.Name {
					s.held.Store(r.Token.Name, true)
				}
				if r.Digest != old[id].Digest {
					taken.Store(r.Digest, true)
				}
			}
			return n, err
		}
	}, []string{prunesChanged}},
}
