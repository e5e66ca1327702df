package storetest

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// beforeCreate has f change, or refuse, each record that is to be created.
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

// evenIf has Create add a record that is refused for the reason.
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

// refuseIf has Create refuse a record for the reason where another is like it.
func refuseIf(reason error, alike func(old, r tokenauth.Record) bool) func(*brokenStore) {
	return beforeCreate(func(s *brokenStore, r *tokenauth.Record) error {
		if old, ok := s.get(func(old tokenauth.Record) bool { return old.Token.ID != r.Token.ID && alike(old, *r) }); ok && old.Digest != r.Digest {
			return reason
		}
		return nil
	})
}

// eachTime has f change each time of a record that is to be created.
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
	{"Create compares names without case", refuseIf(tokenauth.ErrNameTaken, func(old, r tokenauth.Record) bool {
		return isLive(old) && old.Token.UserID == r.Token.UserID && strings.EqualFold(old.Token.Name, r.Token.Name)
	}), []string{"compare names byte by byte"}},
	{"Create trims names", beforeCreate(func(_ *brokenStore, r *tokenauth.Record) error {
		r.Token.Name = strings.TrimSpace(r.Token.Name)
		return nil
	}), []string{"compare names byte by byte"}},
	{"Create compares user IDs without case", refuseIf(tokenauth.ErrNameTaken, func(old, r tokenauth.Record) bool {
		return old.Token.Name == r.Token.Name && old.Token.UserID != r.Token.UserID && strings.EqualFold(old.Token.UserID, r.Token.UserID)
	}), []string{"compare user IDs byte by byte"}},
	{"names are unique among all users", refuseIf(tokenauth.ErrNameTaken, func(old, r tokenauth.Record) bool {
		return isLive(old) && old.Token.Name == r.Token.Name
	}), []string{"let two users have tokens of one name and one slot"}},
	{"names are unique among revoked tokens too", refuseIf(tokenauth.ErrNameTaken, func(old, r tokenauth.Record) bool {
		return old.Token.UserID == r.Token.UserID && old.Token.Name == r.Token.Name
	}), []string{"let a name and a slot be used again once their token is revoked"}},
	{"expired tokens hold no name", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			s.edit(func(r tokenauth.Record) bool { return r.Token.ExpiredAt(start) && isLive(r) }, func(r *tokenauth.Record) {
				*r = revoked(*r, start)
			})
			return s.plainStore.Create(ctx, records...)
		}
	}, []string{"keep the name and the slot of an expired token taken until it is revoked"}},
	{"no slot is taken for a slot", refuseIf(tokenauth.ErrSlotTaken, func(old, r tokenauth.Record) bool {
		return isLive(old) && old.Token.UserID == r.Token.UserID && old.Slot == r.Slot && old.Token.Name != r.Token.Name
	}), []string{"let any number of a user's tokens have no slot"}},
	{"slots are not unique", evenIf(tokenauth.ErrSlotTaken), []string{
		"let exactly one of many concurrent creators win each slot", "keep the name and the slot of an expired token taken until it is revoked",
	}},
	{"names are not unique", evenIf(tokenauth.ErrNameTaken), []string{"let exactly one of 64 concurrent creators of a name win"}},
	{"keys are not unique", evenIf(tokenauth.ErrKeyTaken), []string{
		"refuse an ID that another record has", "refuse a digest that another record has as its current or its retired one",
		"refuse an ID and digest that were created before and have been rotated since", "let exactly one of many concurrent creators win a digest",
	}},
	{"Create overwrites", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			err := s.plainStore.Create(ctx, records...)
			if err == nil {
				for _, r := range records {
					s.edit(withID(r.Token.ID), func(old *tokenauth.Record) { *old = kept(r) })
				}
			}
			return err
		}
	}, []string{"take a record as created if it is there with its ID and current digest, and leave that as it is"}},
	{"Create can't be repeated", beforeCreate(func(s *brokenStore, r *tokenauth.Record) error {
		if _, ok := s.get(withID(r.Token.ID)); ok {
			return tokenauth.ErrKeyTaken
		}
		return nil
	}), []string{
		"take a record as created if it is there with its ID and current digest, and leave that as it is",
		"create one record for concurrent repetitions of one create",
	}},
	{"Create looks at slots first", refuseIf(tokenauth.ErrSlotTaken, func(old, r tokenauth.Record) bool {
		return isLive(old) && old.Token.UserID == r.Token.UserID && old.Slot == r.Slot && r.Slot != 0
	}), []string{"check the key before the name, and the name before the slot"}},
	{"Create is not all or nothing", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			for _, r := range records {
				if err := s.plainStore.Create(ctx, r); err != nil {
					return err
				}
			}
			return nil
		}
	}, []string{
		"create either all of the records given or none", "check the records given against each other",
		"create all or none of the records given to each of many concurrent creators",
	}},
	{"Create ignores what fails among several", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			for _, r := range records {
				if err := s.plainStore.Create(ctx, r); err != nil && len(records) == 1 {
					return err
				}
			}
			return nil
		}
	}, []string{"create either all of the records given or none", "check the records given against each other"}},
	{"Create adds the first record only", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			return s.plainStore.Create(ctx, records[:min(1, len(records))]...)
		}
	}, []string{"add several records at once"}},
	{"Create of no records is an error", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			if len(records) == 0 {
				return errors.New("no records")
			}
			return s.plainStore.Create(ctx, records...)
		}
	}, []string{"do nothing when it is given no records"}},
	{"Create keeps what it is given", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			err := s.plainStore.Create(ctx, records...)
			if err == nil {
				for _, r := range records {
					s.edit(withID(r.Token.ID), func(old *tokenauth.Record) { old.Token.Scopes = r.Token.Scopes })
				}
			}
			return err
		}
	}, []string{"keep copies of the records it is given"}},
	{"Create forgets the retired key", beforeCreate(func(_ *brokenStore, r *tokenauth.Record) error {
		r.Retired = nil
		return nil
	}), []string{"return a record as it was created, field by field"}},
	{"Create keeps quotes doubled", beforeCreate(func(_ *brokenStore, r *tokenauth.Record) error {
		r.Token.Name = strings.ReplaceAll(r.Token.Name, "'", "''")
		return nil
	}), []string{"keep names, scopes and user IDs as they are, whatever they look like to SQL"}},
	{"times are rounded up", eachTime(func(t time.Time) time.Time { return t.UTC().Round(time.Microsecond) }),
		[]string{"keep every time as its instant in UTC, rounded down to the microsecond, and zero as zero"}},
	{"times lose their zone", eachTime(func(t time.Time) time.Time {
		return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond()/1000*1000, time.UTC)
	}), []string{"keep every time as its instant in UTC, rounded down to the microsecond, and zero as zero"}},
	{"times before 1970 are never", eachTime(func(t time.Time) time.Time {
		if t.Unix() < 0 {
			return time.Time{}
		}
		return micros(t)
	}), []string{"keep every time as its instant in UTC, rounded down to the microsecond, and zero as zero"}},
}
