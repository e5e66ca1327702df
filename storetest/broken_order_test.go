package storetest

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

const (
	createOrder  = "return the error of the first record that fails if several records of one Create call fail"
	updatesCheck = "check in Update first whether the token exists, is revoked or is expired, then Patch.Replaces, then the name"
	rotatesCheck = "check in Rotate first whether the token exists, is revoked or is expired, then its own digest, then the generation, then all digests"
	atLimits     = "store records with values at the limits that the comment of Record states"
	prunesNone   = "delete nothing and return no error if the limit of Prune is not positive or both of its times are zero"
	sameDigest   = "accept a rotation to the digest that is already the token's current digest, and change nothing"
)

// prefers returns a function that breaks the Create method of a store. If one of several records
// fails, Create returns the error that first returns for the record, unless it is nil.
func prefers(first func(s *plainStore, earlier []tokenauth.Record, r tokenauth.Record) error) func(*brokenStore) {
	return func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			before := &plainStore{rows: slices.Collect(maps.Values(s.all()))}
			err := s.plainStore.Create(ctx, records...)
			if len(records) < 2 || sentinelOf(err) == nil {
				return err
			}
			growing := &plainStore{rows: slices.Clone(before.rows)}
			for i, r := range records {
				if err := growing.Create(ctx, r); err != nil {
					return cmp.Or(first(before, records[:i], r), err)
				}
			}
			return err
		}
	}
}

// orderBugs are bugs in the order of checks and in rare calls.
var orderBugs = []bug{
	{"Create checks the keys of all records first", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			err := s.plainStore.Create(ctx, records...)
			if err == nil || ctx.Err() != nil {
				return err
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, r := range records {
				if _, conflict := s.conflict(r); errors.Is(conflict, tokenauth.ErrKeyTaken) {
					return conflict
				}
			}
			return err
		}
	}, []string{createOrder}},
	{"Create checks the last record first", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			var backwards []tokenauth.Record
			for i := range records {
				backwards = append(backwards, records[len(records)-1-i])
			}
			return s.plainStore.Create(ctx, backwards...)
		}
	}, []string{createOrder}},
	{"Create returns the error of the oldest token that conflicts", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			err := s.plainStore.Create(ctx, records...)
			if len(records) != 1 || !errors.Is(err, tokenauth.ErrNameTaken) {
				return err
			}
			r := records[0]
			oldest, _ := s.get(func(o tokenauth.Record) bool { return o.Token.UserID == r.Token.UserID && conflicts(o, r) })
			if oldest.Token.Name != r.Token.Name {
				return tokenauth.ErrSlotTaken
			}
			return err
		}
	}, []string{ordersCreate}},
	{"Create compares a record with the stored records before it compares the record with the given ones", prefers(func(s *plainStore, _ []tokenauth.Record, r tokenauth.Record) error {
		_, err := s.conflict(r)
		return err
	}), []string{createOrder}},
	{"Create compares a record with the given records before it compares the record with the stored ones", prefers(func(_ *plainStore, earlier []tokenauth.Record, r tokenauth.Record) error {
		given := &plainStore{}
		for _, o := range earlier {
			_ = given.Create(context.Background(), o)
		}
		_, err := given.conflict(r)
		return err
	}), []string{createOrder}},
	{"Create compares all records with the stored records first", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			stored := error(nil)
			err := s.locked(ctx, func() error {
				for _, r := range records {
					if stored == nil {
						_, stored = s.conflict(r)
					}
				}
				return nil
			})
			if err = cmp.Or(err, s.plainStore.Create(ctx, records...)); sentinelOf(err) != nil {
				return cmp.Or(stored, err)
			}
			return err
		}
	}, []string{createOrder}},
	{"Update checks the name first", func(s *brokenStore) {
		s.update = func(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
			_, taken := s.get(func(r tokenauth.Record) bool {
				return isLive(r) && r.Token.ID != id && r.Token.UserID == userID && p.Name != nil && r.Token.Name == *p.Name
			})
			if taken {
				return tokenauth.ErrNameTaken
			}
			return s.plainStore.Update(ctx, userID, id, p, at)
		}
	}, []string{updatesCheck}},
	{"Update checks the expiry before it looks for the live token", func(s *brokenStore) {
		s.update = func(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
			if r, _ := s.get(withID(id)); r.Token.ExpiredAt(at) {
				return tokenauth.ErrConflict
			}
			return s.plainStore.Update(ctx, userID, id, p, at)
		}
	}, []string{updatesCheck}},
	{"Update with Replaces refuses an update that changes nothing", func(s *brokenStore) {
		s.update = func(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
			if r, ok := s.get(withID(id)); ok && isLive(r) && p.Replaces != nil && changes(r, tokenauth.Patch{Scopes: (*[]string)(&p.Replaces.Scopes)}) {
				return tokenauth.ErrConflict
			}
			return s.plainStore.Update(ctx, userID, id, p, at)
		}
	}, []string{updatesCheck}},
	{"Rotate checks all digests first", func(s *brokenStore) {
		s.rotate = func(ctx context.Context, userID, id string, rot tokenauth.Rotation, at time.Time) error {
			r, err := s.plainStore.Find(ctx, rot.Digest)
			if err == nil && (r.Token.ID != id || r.Digest != rot.Digest) {
				return tokenauth.ErrKeyTaken
			}
			return s.plainStore.Rotate(ctx, userID, id, rot, at)
		}
	}, []string{rotatesCheck}},
	{"Rotate to the current digest succeeds for expired and revoked tokens", func(s *brokenStore) {
		s.rotate = func(ctx context.Context, userID, id string, rot tokenauth.Rotation, at time.Time) error {
			if r, _ := s.get(withID(id)); r.Token.UserID == userID && r.Digest == rot.Digest {
				return ctx.Err()
			}
			return s.plainStore.Rotate(ctx, userID, id, rot, at)
		}
	}, []string{rotatesCheck}},
	{"Rotate to the current digest from the current generation changes the token again", func(s *brokenStore) {
		s.rotate = func(ctx context.Context, userID, id string, rot tokenauth.Rotation, at time.Time) error {
			if r, ok := s.get(withID(id)); ok && r.Digest == rot.Digest && r.Token.Generation == rot.Replaces && isLive(r) {
				s.edit(withID(id), func(r *tokenauth.Record) { *r = kept(rotated(*r, rot)) })
			}
			return s.plainStore.Rotate(ctx, userID, id, rot, at)
		}
	}, []string{sameDigest}},
	{"Rotate accepts the token's own retired digest", func(s *brokenStore) {
		s.rotate = func(ctx context.Context, userID, id string, rot tokenauth.Rotation, at time.Time) error {
			err := s.plainStore.Rotate(ctx, userID, id, rot, at)
			if r, _ := s.get(withID(id)); errors.Is(err, tokenauth.ErrKeyTaken) && r.Retired != nil && r.Retired.Digest == rot.Digest {
				s.edit(withID(id), func(r *tokenauth.Record) { *r = kept(rotated(*r, rot)) })
				return nil
			}
			return err
		}
	}, []string{"return ErrKeyTaken for a rotation to the token's own retired digest, and change nothing"}},
	{"Rotate refuses each digest that a record ever had", func(s *brokenStore) {
		var ever sync.Map
		s.rotate = func(ctx context.Context, userID, id string, rot tokenauth.Rotation, at time.Time) error {
			if r, _ := s.get(withID(id)); r.Retired != nil {
				ever.Store(r.Retired.Digest, true)
			}
			if _, ok := ever.Load(rot.Digest); ok {
				return tokenauth.ErrKeyTaken
			}
			return s.plainStore.Rotate(ctx, userID, id, rot, at)
		}
	}, []string{"accept a rotation to a digest that no record has any more"}},
	{"a record that is created revoked keeps its slot", func(s *brokenStore) {
		var slots sync.Map // by token ID
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			for _, r := range records {
				slots.Store(r.Token.ID, r.Slot)
			}
			return s.plainStore.Create(ctx, records...)
		}
		s.list = func(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
			records, err := s.plainStore.List(ctx, q)
			for i := range records {
				slot, _ := slots.Load(records[i].Token.ID)
				records[i].Slot = slot.(int)
			}
			return records, err
		}
	}, []string{"store a record that is created revoked with slot 0, and leave its name and its slot free"}},
	{"Create of a record that exists and is revoked lists it as live again", func(s *brokenStore) {
		var relisted sync.Map // by token ID
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			for _, r := range records {
				if old, ok := s.get(withID(r.Token.ID)); ok && !isLive(old) {
					relisted.Store(r.Token.ID, true)
				}
			}
			return s.plainStore.Create(ctx, records...)
		}
		s.list = func(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
			all := q
			all.IncludeRevoked = true
			records, err := s.plainStore.List(ctx, all)
			return where(records, func(r tokenauth.Record) bool {
				_, ok := relisted.Load(r.Token.ID)
				return ok || isLive(r) || q.IncludeRevoked
			}), err
		}
	}, []string{sameAnswer + "records are created again after they were renamed and revoked"}},
	{"Touch ignores revoked tokens", func(s *brokenStore) {
		s.touch = func(ctx context.Context, uses ...tokenauth.Use) error {
			var some []tokenauth.Use
			for _, u := range uses {
				if r, ok := s.get(withID(u.ID)); ok && isLive(r) {
					some = append(some, u)
				}
			}
			return s.plainStore.Touch(ctx, some...)
		}
	}, []string{"set LastUsedAt of expired and revoked tokens"}},
	{"Prune treats a negative limit as no limit", func(s *brokenStore) {
		s.prune = func(ctx context.Context, before, unusedSince time.Time, limit int) (int, error) {
			if limit < 0 {
				limit = 1e6
			}
			return s.plainStore.Prune(ctx, before, unusedSince, limit)
		}
	}, []string{prunesNone}},
	{"Prune treats a zero time as the current time", func(s *brokenStore) {
		s.prune = func(ctx context.Context, before, unusedSince time.Time, limit int) (int, error) {
			if before.IsZero() {
				before = time.Now()
			}
			return s.plainStore.Prune(ctx, before, unusedSince, limit)
		}
	}, []string{prunesNone}},
	{"slots have 16 bits", beforeCreate(func(_ *brokenStore, r *tokenauth.Record) error {
		r.Slot &= 0xffff
		return nil
	}), []string{atLimits, "list the tokens that hold a slot in a given range"}},
	{"names have at most 64 bytes", beforeCreate(func(_ *brokenStore, r *tokenauth.Record) error {
		r.Token.Name = r.Token.Name[:min(64, len(r.Token.Name))]
		return nil
	}), []string{atLimits}},
	{"scopes have at most 4 KiB", beforeCreate(func(_ *brokenStore, r *tokenauth.Record) error {
		if len(strings.Join(r.Token.Scopes, " ")) > 4096 {
			return errors.New("value too long for column scopes")
		}
		return nil
	}), []string{atLimits}},
}
