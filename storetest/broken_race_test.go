package storetest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// checkFirst has Create look for conflicts first, and add the records a while later.
func checkFirst(s *brokenStore) {
	s.create = func(ctx context.Context, records ...tokenauth.Record) error {
		var fresh []tokenauth.Record
		for _, r := range records {
			s.mu.Lock()
			isThere, err := s.conflict(r)
			s.mu.Unlock()
			if err != nil {
				return err
			}
			if !isThere {
				fresh = append(fresh, kept(r))
			}
		}
		s.arrive()
		return s.locked(ctx, func() error {
			s.rows = append(s.rows, fresh...)
			return nil
		})
	}
}

// readThenWrite has Update and Rotate read a row, and write it a while later;
// write copies what it likes of the new row to the one that is there by then.
func readThenWrite(write func(now *tokenauth.Record, r tokenauth.Record)) func(*brokenStore) {
	return func(s *brokenStore) {
		change := func(ctx context.Context, userID, id string, f func(*plainStore) error) error {
			old, ok := s.get(withID(id))
			if !ok || old.Token.UserID != userID {
				return tokenauth.ErrNotFound
			}
			alone := &plainStore{rows: []tokenauth.Record{old}}
			if err := errors.Join(ctx.Err(), f(alone)); err != nil {
				return err
			}
			s.arrive()
			s.edit(withID(id), func(now *tokenauth.Record) { write(now, alone.rows[0]) })
			return nil
		}
		s.update = func(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
			return change(ctx, userID, id, func(alone *plainStore) error { return alone.Update(ctx, userID, id, p, at) })
		}
		s.rotate = func(ctx context.Context, userID, id string, rot tokenauth.Rotation, at time.Time) error {
			return change(ctx, userID, id, func(alone *plainStore) error { return alone.Rotate(ctx, userID, id, rot, at) })
		}
	}
}

var raceBugs = []bug{
	{"Create checks, then acts", checkFirst, []string{
		"let exactly one of 64 concurrent creators of a name win",
		"let exactly one of many concurrent creators win each slot",
		"keep a user to the limit of a Manager when 64 tokens are issued at once",
		"let exactly one of many concurrent creators win a digest",
		"create one record for concurrent repetitions of one create",
		"create all or none of the records given to each of many concurrent creators",
	}},
	{"Update loses another's update", readThenWrite(func(now *tokenauth.Record, r tokenauth.Record) {
		r.Token.LastUsedAt = now.Token.LastUsedAt
		*now = r
	}), []string{
		"keep what each of several concurrent updates of a token changes",
		"let exactly one of many concurrent updates win a name",
		"let exactly one of many concurrent rotations of one generation win",
		"let exactly one of many tokens be rotated to a digest",
		"leave a token revoked that was revoked while it was rotated and updated",
	}},
	{"Update writes the whole row", func(s *brokenStore) {
		readThenWrite(func(now *tokenauth.Record, r tokenauth.Record) { *now = r })(s)
		var one sync.Mutex // of two updates none is lost
		update, rotate := s.update, s.rotate
		s.update = func(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
			one.Lock()
			defer one.Unlock()
			return update(ctx, userID, id, p, at)
		}
		s.rotate = func(ctx context.Context, userID, id string, rot tokenauth.Rotation, at time.Time) error {
			one.Lock()
			defer one.Unlock()
			return rotate(ctx, userID, id, rot, at)
		}
	}, []string{
		"keep a use that is recorded while the token is updated and rotated",
		"leave a token revoked that was revoked while it was rotated and updated",
	}},
	{"Update takes two steps", func(s *brokenStore) {
		s.update = func(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
			if err := s.plainStore.Update(ctx, userID, id, tokenauth.Patch{Name: p.Name}, at); err != nil {
				return err
			}
			s.arrive()
			p.Name = nil
			return s.plainStore.Update(ctx, userID, id, p, at)
		}
	}, []string{"show every record as it was before a change or as it was after, and never in between"}},
	{"RevokeAll stops at a token that came meanwhile", func(s *brokenStore) {
		s.revokeAll = func(ctx context.Context, userID string, at time.Time) (n int, err error) {
			live, err := s.plainStore.List(ctx, tokenauth.Query{UserID: userID, Limit: 10})
			for _, r := range live {
				s.arrive()
				if err := s.plainStore.Revoke(ctx, userID, r.Token.ID, at); err != nil {
					return n, err
				}
				n++
			}
			return n, err
		}
	}, []string{"revoke with RevokeAll every token that was there before, also while others are created"}},
	{"two Prunes count one record", func(s *brokenStore) {
		s.prune = func(ctx context.Context, before time.Time, limit int) (int, error) {
			s.mu.Lock()
			copied := &plainStore{rows: append([]tokenauth.Record(nil), s.rows...)}
			s.mu.Unlock()
			n, err := copied.Prune(ctx, before, limit)
			if err != nil {
				return 0, err
			}
			s.arrive()
			_, err = s.plainStore.Prune(ctx, before, limit)
			return n, err
		}
	}, []string{"prune each dead record once when Prune runs more than once at a time"}},
}
