package storetest

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// beforeCreate makes f modify or refuse each record that Create receives.
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

// evenIf makes Create add the records even if they conflict for the given reason.
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

// refuseIf makes Create return reason if a record with another ID and digest is alike.
func refuseIf(reason error, alike func(old, r tokenauth.Record) bool) func(*brokenStore) {
	return beforeCreate(func(s *brokenStore, r *tokenauth.Record) error {
		if old, ok := s.get(func(old tokenauth.Record) bool { return old.Token.ID != r.Token.ID && alike(old, *r) }); ok && old.Digest != r.Digest {
			return reason
		}
		return nil
	})
}

// eachTime makes Create store f(t) for the times CreatedAt and ExpiresAt.
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
	{"Create takes slot 0 for a slot", refuseIf(tokenauth.ErrSlotTaken, func(old, r tokenauth.Record) bool {
		return isLive(old) && old.Token.UserID == r.Token.UserID && old.Slot == r.Slot && old.Token.Name != r.Token.Name
	}), []string{"allow any number of tokens without a slot"}},
	{"slots are not unique", evenIf(tokenauth.ErrSlotTaken), []string{
		"let exactly one of many concurrent calls create a token in each slot", "keep the name and the slot of an expired token taken until the token is revoked",
	}},
	{"names are not unique", evenIf(tokenauth.ErrNameTaken), []string{"let exactly one of 64 concurrent calls create a token with a given name"}},
	{"keys are not unique", evenIf(tokenauth.ErrKeyTaken), []string{
		"refuse an ID that another record has", "refuse a digest that another record has as its current or retired digest",
		"refuse to create a record again after its key was rotated", "let exactly one of many concurrent calls create a token with a given digest",
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
	}, []string{"accept a record whose ID and current digest are stored already, and leave the stored record unchanged"}},
	{"Create refuses a repeated record", beforeCreate(func(s *brokenStore, r *tokenauth.Record) error {
		if _, ok := s.get(withID(r.Token.ID)); ok {
			return tokenauth.ErrKeyTaken
		}
		return nil
	}), []string{
		"accept a record whose ID and current digest are stored already, and leave the stored record unchanged",
		"create one record when concurrent calls create the same record",
	}},
	{"Create checks slots before keys and names", refuseIf(tokenauth.ErrSlotTaken, func(old, r tokenauth.Record) bool {
		return isLive(old) && old.Token.UserID == r.Token.UserID && old.Slot == r.Slot && r.Slot != 0
	}), []string{"check the key before the name, and the name before the slot"}},
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
		"create all of the given records or none", "check the given records against each other",
		"create all or none of the records of each concurrent call",
	}},
	{"Create skips conflicting records", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			for _, r := range records {
				if err := s.plainStore.Create(ctx, r); err != nil && len(records) == 1 {
					return err
				}
			}
			return nil
		}
	}, []string{"create all of the given records or none", "check the given records against each other"}},
	{"Create adds only the first record", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			return s.plainStore.Create(ctx, records[:min(1, len(records))]...)
		}
	}, []string{"create several records in one call"}},
	{"Create of no records returns an error", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			if len(records) == 0 {
				return errors.New("no records")
			}
			return s.plainStore.Create(ctx, records...)
		}
	}, []string{"do nothing if Create gets no records"}},
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
	}, []string{"keep copies of the records passed to Create"}},
	{"Create drops the retired key", beforeCreate(func(_ *brokenStore, r *tokenauth.Record) error {
		r.Retired = nil
		return nil
	}), []string{"return each record exactly as it was created"}},
	{"Create doubles quotes", beforeCreate(func(_ *brokenStore, r *tokenauth.Record) error {
		r.Token.Name = strings.ReplaceAll(r.Token.Name, "'", "''")
		return nil
	}), []string{"store names, scopes and user IDs unchanged, even if they contain SQL syntax"}},
	{"Create rounds times to the nearest microsecond", eachTime(func(t time.Time) time.Time { return t.UTC().Round(time.Microsecond) }),
		[]string{"store each time in UTC, rounded down to the microsecond, and a zero time as zero"}},
	{"Create ignores time zones", eachTime(func(t time.Time) time.Time {
		return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond()/1000*1000, time.UTC)
	}), []string{"store each time in UTC, rounded down to the microsecond, and a zero time as zero"}},
	{"Create stores times before 1970 as zero", eachTime(func(t time.Time) time.Time {
		if t.Unix() < 0 {
			return time.Time{}
		}
		return micros(t)
	}), []string{"store each time in UTC, rounded down to the microsecond, and a zero time as zero"}},
}
