package storetest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// checkFirst breaks the Create method of a store. The broken Create checks for conflicts with
// the lock held, releases the lock, and takes the lock again to add the records. Another call
// can add a conflicting record while the lock is released.
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

// readThenWrite returns a function that breaks Update and Rotate of a store. The broken
// methods copy a row with the lock held, and change the copy after they released the lock.
// Then they take the lock again and call write. The parameter r of write is the changed copy.
// The parameter now is the stored row, which another call may have changed since the read.
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
	{"Create does not hold the lock between check and write", checkFirst, []string{
		"let exactly one of 64 concurrent calls create a token with a given name",
		"let exactly one of many concurrent calls create a token in each slot",
		"let a Manager enforce MaxPerUser when 64 calls of Manager.Issue run concurrently",
		"let exactly one of many concurrent calls create a token with a given digest",
		"create one record and return no error when concurrent calls of Create add the same record",
		"create either all or none of the records of each concurrent Create call",
		"let exactly one of many concurrent calls of Create and Update take a name",
		"let exactly one of many concurrent calls of Create and Rotate take a digest",
	}},
	{"Update and Rotate lose concurrent changes", readThenWrite(func(now *tokenauth.Record, r tokenauth.Record) {
		r.Token.LastUsedAt = now.Token.LastUsedAt
		*now = r
	}), []string{
		"keep the changes of all concurrent updates of a token",
		"let exactly one of many concurrent updates set the same new name",
		"let exactly one of many concurrent rotations replace the key of one generation",
		"let exactly one of many concurrent rotations set the same new digest",
		"leave a token revoked if Revoke runs while the token is rotated, updated and used",
	}},
	{"Update and Rotate lose concurrent uses and revocations", func(s *brokenStore) {
		readThenWrite(func(now *tokenauth.Record, r tokenauth.Record) { *now = r })(s)
		var one sync.Mutex // runs one Update or Rotate at a time, so neither overwrites changes of the other
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
		"keep the LastUsedAt that Touch sets while the token is updated and rotated",
		"leave a token revoked if Revoke runs while the token is rotated, updated and used",
	}},
	{"Update changes the name before the other fields", func(s *brokenStore) {
		s.update = func(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
			if err := s.plainStore.Update(ctx, userID, id, tokenauth.Patch{Name: p.Name}, at); err != nil {
				return err
			}
			s.arrive()
			p.Name = nil
			return s.plainStore.Update(ctx, userID, id, p, at)
		}
	}, []string{"return each record as it was before or after a concurrent change, never a mixture of both"}},
	{"RevokeAll revokes only the first ten tokens", func(s *brokenStore) {
		s.revokeAll = func(ctx context.Context, userID string, at time.Time, by string, limit int) (n int, err error) {
			live, err := s.plainStore.List(ctx, tokenauth.Query{UserID: userID, Limit: 10})
			for _, r := range live {
				s.arrive()
				if err := s.plainStore.Revoke(ctx, userID, r.Token.ID, at, by); err != nil {
					return n, err
				}
				n++
			}
			return n, err
		}
	}, []string{"revoke every token that existed before RevokeAll started, even if other tokens are created meanwhile"}},
	{"RevokeAll chooses tokens before it takes the lock, and does not look for others", func(s *brokenStore) {
		s.revokeAll = func(ctx context.Context, userID string, at time.Time, by string, limit int) (n int, err error) {
			live, err := s.plainStore.List(ctx, tokenauth.Query{UserID: userID, Limit: limit})
			s.arrive()
			chosen := map[string]bool{}
			for _, r := range live {
				chosen[r.Token.ID] = true
			}
			s.edit(func(r tokenauth.Record) bool { return chosen[r.Token.ID] && isLive(r) }, func(r *tokenauth.Record) {
				*r = revoked(*r, micros(at))
				n++
			})
			return n, err
		}
	}, []string{"leave no live token when one of several concurrent loops of RevokeAll has returned 0"}},
	{"concurrent Prunes count the same record twice", func(s *brokenStore) {
		s.prune = func(ctx context.Context, before, unusedSince time.Time, limit int) (int, error) {
			s.mu.Lock()
			copied := &plainStore{rows: append([]tokenauth.Record(nil), s.rows...)}
			s.mu.Unlock()
			n, err := copied.Prune(ctx, before, unusedSince, limit)
			if err != nil {
				return 0, err
			}
			s.arrive()
			_, err = s.plainStore.Prune(ctx, before, unusedSince, limit)
			return n, err
		}
	}, []string{"delete every expired record, and count it at most once, when several calls of Prune run concurrently"}},
}
