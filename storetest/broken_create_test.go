package storetest

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// beforeCreate returns a function that breaks the Create method of a store. The broken
// Create first calls f with a copy of each given record, which f may modify. If f returns an
// error, Create returns that error. Otherwise Create adds the copies.
func beforeCreate(f func(s *brokenStore, r *tokenauth.Record) error) func(*brokenStore) {
	return func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			records = append([]tokenauth.Record(nil), records...)
			for i := range records {
				if err := f(s, &records[i]); err != nil {
					return err
				}
			}
			return s.plainStore.Create(ctx, records...)
		}
	}
}

// evenIf returns a function that breaks the Create method of a store. If the given records
// conflict with other records and the correct error is reason, the broken Create adds the
// given records anyway and returns nil.
func evenIf(reason error) func(*brokenStore) {
	return func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			err := s.plainStore.Create(ctx, records...)
			if !errors.Is(err, reason) {
				return err
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, r := range records {
				s.rows = append(s.rows, kept(r))
			}
			return nil
		}
	}
}

// refuseIf returns a function that breaks the Create method of a store. The broken Create
// returns the error reason if alike returns true for a stored record old and a given record
// r. A stored record with the ID or the digest of r is not a reason to refuse r.
func refuseIf(reason error, alike func(old, r tokenauth.Record) bool) func(*brokenStore) {
	return beforeCreate(func(s *brokenStore, r *tokenauth.Record) error {
		if old, ok := s.get(func(old tokenauth.Record) bool { return old.Token.ID != r.Token.ID && alike(old, *r) }); ok && old.Digest != r.Digest {
			return reason
		}
		return nil
	})
}

// eachTime returns a function that breaks the Create method of a store. For each given time
// t in CreatedAt and ExpiresAt, the broken Create stores f(t).
func eachTime(f func(time.Time) time.Time) func(*brokenStore) {
	return func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			err := s.plainStore.Create(ctx, records...)
			for _, r := range records {
				_ = s.alsoEdit(err, withID(r.Token.ID), func(old *tokenauth.Record) {
					old.Token.CreatedAt, old.Token.ExpiresAt = f(r.Token.CreatedAt), f(r.Token.ExpiresAt)
				})
			}
			return err
		}
	}
}

var createBugs = []bug{
	{"Create ignores case in names", refuseIf(tokenauth.ErrNameTaken, func(old, r tokenauth.Record) bool {
		return isLive(old) && old.Token.UserID == r.Token.UserID && strings.EqualFold(old.Token.Name, r.Token.Name)
	}), []string{"compare names byte by byte"}},
	{"Create trims names", beforeCreate(func(_ *brokenStore, r *tokenauth.Record) error {
		r.Token.Name = strings.TrimSpace(r.Token.Name)
		return nil
	}), []string{"compare names byte by byte"}},
	{"Create ignores case in user IDs", refuseIf(tokenauth.ErrNameTaken, func(old, r tokenauth.Record) bool {
		return old.Token.Name == r.Token.Name && old.Token.UserID != r.Token.UserID && strings.EqualFold(old.Token.UserID, r.Token.UserID)
	}), []string{"compare user IDs byte by byte"}},
	{"names are unique among all users", refuseIf(tokenauth.ErrNameTaken, func(old, r tokenauth.Record) bool {
		return isLive(old) && old.Token.Name == r.Token.Name
	}), []string{"allow two users to use the same name and the same slot"}},
	{"names of revoked tokens stay taken", refuseIf(tokenauth.ErrNameTaken, func(old, r tokenauth.Record) bool {
		return old.Token.UserID == r.Token.UserID && old.Token.Name == r.Token.Name
	}), []string{"allow the name and the slot of a revoked token to be reused"}},
	{"Create revokes expired tokens", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			s.edit(func(r tokenauth.Record) bool { return r.Token.ExpiredAt(start) && isLive(r) }, func(r *tokenauth.Record) {
				*r = revoked(*r, start)
			})
			return s.plainStore.Create(ctx, records...)
		}
	}, []string{"keep the name and the slot of an expired token taken until the token is revoked"}},
	{"Create treats slot 0 as a slot", refuseIf(tokenauth.ErrSlotTaken, func(old, r tokenauth.Record) bool {
		return isLive(old) && old.Token.UserID == r.Token.UserID && old.Slot == r.Slot && old.Token.Name != r.Token.Name
	}), []string{"allow any number of tokens without a slot"}},
	{"slots are not unique", evenIf(tokenauth.ErrSlotTaken), []string{
		"let exactly one of many concurrent calls create a token in each slot", "keep the name and the slot of an expired token taken until the token is revoked",
	}},
	{"names are not unique", evenIf(tokenauth.ErrNameTaken), []string{"let exactly one of 64 concurrent calls create a token with a given name"}},
	{"IDs and digests are not unique", evenIf(tokenauth.ErrKeyTaken), []string{
		"return ErrKeyTaken from Create for an ID that another record has", "return ErrKeyTaken from Create for a digest that another record has as its current or retired digest",
		createsRotated, "let exactly one of many concurrent calls create a token with a given digest",
	}},
	{"a repeated Create overwrites the record", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			err := s.plainStore.Create(ctx, records...)
			if err == nil {
				for _, r := range records {
					s.edit(withID(r.Token.ID), func(old *tokenauth.Record) { *old = kept(r) })
				}
			}
			return err
		}
	}, []string{"accept a record with the ID and current digest of a stored record, and leave the stored record unchanged"}},
	{"Create refuses a repeated record", beforeCreate(func(s *brokenStore, r *tokenauth.Record) error {
		if _, ok := s.get(withID(r.Token.ID)); ok {
			return tokenauth.ErrKeyTaken
		}
		return nil
	}), []string{
		"accept a record with the ID and current digest of a stored record, and leave the stored record unchanged",
		"create one record and return no error when concurrent calls of Create add the same record",
	}},
	{"Create checks slots before keys and names", refuseIf(tokenauth.ErrSlotTaken, func(old, r tokenauth.Record) bool {
		return isLive(old) && old.Token.UserID == r.Token.UserID && old.Slot == r.Slot && r.Slot != 0
	}), []string{"check ID and digests for conflicts first, then the name, then the slot"}},
	{"Create is not atomic", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			for _, r := range records {
				if err := s.plainStore.Create(ctx, r); err != nil {
					return err
				}
			}
			return nil
		}
	}, []string{
		"create either all of the given records or none of them", "detect conflicts between the records of one Create call",
		"create either all or none of the records of each concurrent Create call",
	}},
	{"Create skips the record of another user's token", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			err := s.plainStore.Create(ctx, records...)
			if len(records) == 1 && errors.Is(err, tokenauth.ErrKeyTaken) && s.index(func(o tokenauth.Record) bool {
				return o.Token.ID == records[0].Token.ID && o.Digest == records[0].Digest
			}) >= 0 {
				return nil
			}
			return err
		}
	}, []string{"return ErrKeyTaken from Create for an ID that another record has"}},
	{"Create of several records skips conflicting records", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			for _, r := range records {
				if err := s.plainStore.Create(ctx, r); err != nil && len(records) == 1 {
					return err
				}
			}
			return nil
		}
	}, []string{"create either all of the given records or none of them", "detect conflicts between the records of one Create call"}},
	{"Create adds only the first record", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			return s.plainStore.Create(ctx, records[:min(1, len(records))]...)
		}
	}, []string{"create several records in one call"}},
	{"Create of no records returns an error", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			if len(records) == 0 {
				return errors.New("Create was called without records")
			}
			return s.plainStore.Create(ctx, records...)
		}
	}, []string{"do nothing and return no error if Create is called without records"}},
	{"Create does not copy the scopes", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			err := s.plainStore.Create(ctx, records...)
			if err == nil {
				for _, r := range records {
					s.edit(withID(r.Token.ID), func(old *tokenauth.Record) { old.Token.Scopes = r.Token.Scopes })
				}
			}
			return err
		}
	}, []string{"store copies of the records passed to Create, so that later changes by the caller have no effect"}},
	{"Create drops the retired key", beforeCreate(func(_ *brokenStore, r *tokenauth.Record) error {
		r.Retired = nil
		return nil
	}), []string{"return each record exactly as it was created"}},
	{"Create doubles single quotes in names", beforeCreate(func(_ *brokenStore, r *tokenauth.Record) error {
		r.Token.Name = strings.ReplaceAll(r.Token.Name, "'", "''")
		return nil
	}), []string{"store names, scopes and user IDs unchanged, even if they contain SQL syntax"}},
	{"Create rounds times to the nearest microsecond", eachTime(func(t time.Time) time.Time { return t.UTC().Round(time.Microsecond) }),
		[]string{"store each time in UTC, rounded down to the microsecond, and a zero time as a zero time"}},
	{"Create ignores time zones", eachTime(func(t time.Time) time.Time {
		return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond()/1000*1000, time.UTC)
	}), []string{"store each time in UTC, rounded down to the microsecond, and a zero time as a zero time"}},
	{"Create stores times before 1970 as zero", eachTime(func(t time.Time) time.Time {
		if t.Unix() < 0 {
			return time.Time{}
		}
		return micros(t)
	}), []string{"store each time in UTC, rounded down to the microsecond, and a zero time as a zero time"}},
}
