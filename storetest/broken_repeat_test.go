package storetest

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/go-tokenauth/tokenauth"
)

const (
	createsSame   = "accept a record with the ID and current digest of a stored record, and leave the stored record unchanged"
	ordersCreate  = "check ID and digests for conflicts first, then the name, then the slot"
	conflictsByID = "return ErrKeyTaken from Create for an ID that another record has"
)

// repeated returns the stored record with the ID, the current digest and the user of r.
func (s *brokenStore) repeated(r tokenauth.Record) (old tokenauth.Record, ok bool) {
	return s.get(func(old tokenauth.Record) bool {
		return old.Token.ID == r.Token.ID && old.Digest == r.Digest && old.Token.UserID == r.Token.UserID
	})
}

// takesRepeated returns a function that breaks the Create method of a store. If Create skips a
// record, it nevertheless takes the value that given returns for the record. If the stored record
// does not have this value, Create later returns the error taken for a new record for which wanted
// returns this value.
func takesRepeated(taken error, given, wanted func(r tokenauth.Record) any) func(*brokenStore) {
	return func(s *brokenStore) {
		var values sync.Map
		beforeCreate(func(s *brokenStore, r *tokenauth.Record) error {
			if old, ok := s.repeated(*r); ok {
				if isLive(old) && given(*r) != nil && given(*r) != given(old) {
					values.Store(given(*r), true)
				}
				return nil
			}
			if _, ok := values.Load(wanted(*r)); ok {
				return taken
			}
			return nil
		})(s)
	}
}

func slotOf(r tokenauth.Record) any {
	if r.Slot == 0 {
		return nil
	}
	return r.Slot
}

func retiredDigestOf(r tokenauth.Record) any {
	if r.Retired == nil {
		return nil
	}
	return r.Retired.Digest
}

// amongGiven returns a function that breaks the Create method of a store. Create returns the error
// taken if clash returns true for two of the given records.
func amongGiven(taken error, clash func(earlier, r tokenauth.Record) bool) func(*brokenStore) {
	return func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			err := s.plainStore.Create(ctx, records...)
			for i, r := range records[:min(10, len(records))] {
				if err == nil && slices.ContainsFunc(records[:i], func(earlier tokenauth.Record) bool {
					return earlier.Token.UserID == r.Token.UserID && earlier.Token.ID != r.Token.ID && clash(earlier, r)
				}) {
					return taken
				}
			}
			return err
		}
	}
}

// repeatBugs are bugs of Create with records that are stored already, or that occur twice.
var repeatBugs = []bug{
	{"a repeated Create takes the given slot", takesRepeated(tokenauth.ErrSlotTaken, slotOf, slotOf), []string{createsSame}},
	{"a repeated Create takes the given retired digest", takesRepeated(tokenauth.ErrKeyTaken, retiredDigestOf, func(r tokenauth.Record) any {
		return r.Digest
	}), []string{createsSame}},
	{"a repeated Create refuses the retired digest of another record", beforeCreate(func(s *brokenStore, r *tokenauth.Record) error {
		if _, ok := s.repeated(*r); !ok || r.Retired == nil {
			return nil
		}
		if _, isTaken := s.get(func(o tokenauth.Record) bool {
			return o.Token.ID != r.Token.ID && slices.Contains(digestsOf(o), r.Retired.Digest)
		}); isTaken {
			return tokenauth.ErrKeyTaken
		}
		return nil
	}), []string{ordersCreate}},
	{"Create skips a record if one record has its ID and another record has its digest", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			return s.plainStore.Create(ctx, where(records, func(r tokenauth.Record) bool {
				byID, hasID := s.get(withID(r.Token.ID))
				byDigest, hasDigest := s.get(func(o tokenauth.Record) bool { return o.Digest == r.Digest })
				return !hasID || !hasDigest || byID.Token.ID == byDigest.Token.ID
			})...)
		}
	}, []string{conflictsByID}},
	{"a repeated Create with a revoked record revokes the token", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			before := s.all()
			err := s.plainStore.Create(ctx, records...)
			for _, r := range records {
				if _, ok := before[r.Token.ID]; ok && !isLive(r) {
					_ = s.alsoEdit(err, withID(r.Token.ID), func(old *tokenauth.Record) { *old = kept(r) })
				}
			}
			return err
		}
	}, []string{createsSame}},
	{"the slot of a record that is created revoked is taken for later records of the call", amongGiven(tokenauth.ErrSlotTaken, func(earlier, r tokenauth.Record) bool {
		return !isLive(earlier) && isLive(r) && r.Slot != 0 && earlier.Slot == r.Slot
	}), []string{createsAmong}},
	{"the name of a skipped record is taken for later records of the call", amongGiven(tokenauth.ErrNameTaken, func(earlier, r tokenauth.Record) bool {
		return isLive(earlier) && isLive(r) && earlier.Token.Name == r.Token.Name
	}), []string{createsAmong}},
	{"the slot of a skipped record is taken for later records of the call", amongGiven(tokenauth.ErrSlotTaken, func(earlier, r tokenauth.Record) bool {
		return isLive(earlier) && isLive(r) && r.Slot != 0 && earlier.Slot == r.Slot
	}), []string{createsAmong}},
	{"Create does not compare a retired digest with the current digests of earlier records of the call", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			given := slices.Clone(records)
			for i := range given {
				if r := &given[i]; r.Retired != nil && slices.ContainsFunc(given[:i], func(o tokenauth.Record) bool { return o.Digest == r.Retired.Digest }) {
					r.Retired = nil
				}
			}
			err := s.plainStore.Create(ctx, given...)
			for i, r := range records {
				if given[i].Retired != r.Retired {
					_ = s.alsoEdit(err, withID(r.Token.ID), func(row *tokenauth.Record) { *row = kept(r) })
				}
			}
			return err
		}
	}, []string{createsAmong}},
	{"a Create that fails frees the names of the records that it has skipped", func(s *brokenStore) {
		var free sync.Map // names
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			err := s.plainStore.Create(ctx, records...)
			for _, r := range records {
				if old, ok := s.repeated(r); ok && isLive(old) && sentinelOf(err) != nil {
					free.Store(old.Token.UserID+"\x00"+old.Token.Name, true)
				}
			}
			if len(records) != 1 || !errors.Is(err, tokenauth.ErrNameTaken) {
				return err
			}
			if _, isFree := free.Load(records[0].Token.UserID + "\x00" + records[0].Token.Name); !isFree {
				return err
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.rows = append(s.rows, kept(records[0]))
			return nil
		}
	}, []string{failedCreate}},
}
