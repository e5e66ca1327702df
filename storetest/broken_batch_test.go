package storetest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

const (
	thousands = "create, list, use, revoke and prune thousands of records, each in one call"
	allOrNone = "create none of thousands of records if the last one conflicts"
	manyIDs   = "list the records of 40,000 IDs"
	manyUses  = "record 70,000 uses in one call"
)

// listsBatches returns a function that breaks the List method of a store: it lists 1,000 IDs at a
// time, and returns the result of finish for all of these lists.
func listsBatches(finish func(q tokenauth.Query, all []tokenauth.Record) []tokenauth.Record) func(*brokenStore) {
	return func(s *brokenStore) {
		s.list = func(ctx context.Context, q tokenauth.Query) (all []tokenauth.Record, err error) {
			if len(q.IDs) < 1000 {
				return s.plainStore.List(ctx, q)
			}
			for batch := range slices.Chunk(q.IDs, 1000) {
				some := q
				some.IDs = batch
				records, err := s.plainStore.List(ctx, some)
				if err != nil {
					return nil, err
				}
				all = append(all, records...)
			}
			return finish(q, all), nil
		}
	}
}

// batchBugs are bugs of stores that read or write in pages.
var batchBugs = []bug{
	{"List without a limit returns at most 1,000 records", onList(func(q *tokenauth.Query) {
		if q.Limit == 0 {
			q.Limit = 1000
		}
	}, nil), []string{thousands}},
	{"List returns at most 2,500 records", onList(nil, func(records []tokenauth.Record) []tokenauth.Record {
		return records[:min(2500, len(records))]
	}), []string{thousands}},
	{"RevokeAll revokes at most 50 tokens", func(s *brokenStore) {
		s.revokeAll = func(ctx context.Context, userID string, at time.Time, by string, limit int) (int, error) {
			return s.plainStore.RevokeAll(ctx, userID, at, by, min(50, limit))
		}
	}, []string{thousands}},
	{"Prune deletes at most 1,000 records", func(s *brokenStore) {
		s.prune = func(ctx context.Context, before, unusedSince time.Time, limit int) (int, error) {
			return s.plainStore.Prune(ctx, before, unusedSince, min(1000, limit))
		}
	}, []string{thousands}},
	{"Touch records at most 1,000 uses", func(s *brokenStore) {
		s.touch = func(ctx context.Context, uses ...tokenauth.Use) error {
			return s.plainStore.Touch(ctx, uses[:min(1000, len(uses))]...)
		}
	}, []string{thousands, manyUses}},
	{"Touch fails for more than 65,535 parameters", func(s *brokenStore) {
		s.touch = func(ctx context.Context, uses ...tokenauth.Use) error {
			if 2*len(uses) > 65_535 {
				return errors.New("too many parameters")
			}
			return s.plainStore.Touch(ctx, uses...)
		}
	}, []string{manyUses}},
	{"Create adds batches of 500 records, and keeps them if a later batch fails", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			for batch := range slices.Chunk(records, 500) {
				if err := s.plainStore.Create(ctx, batch...); err != nil {
					return err
				}
			}
			return nil
		}
	}, []string{allOrNone}},
	{"List fails for more than 32,766 IDs", func(s *brokenStore) {
		s.list = func(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
			if len(q.IDs) > 32_766 {
				return nil, errors.New("too many parameters")
			}
			return s.plainStore.List(ctx, q)
		}
	}, []string{manyIDs}},
	{"List joins the lists of batches of IDs", listsBatches(func(_ tokenauth.Query, all []tokenauth.Record) []tokenauth.Record { return all }), []string{manyIDs}},
}

const (
	findsRotated = "find a token by its current and its retired digest, and by no other digest, while the token is rotated"
	listsChanged = "list only records that the query selects while records are created, renamed, revoked and deleted"
	prunesMoved  = "keep a token whose expiry moves to a later time while Prune runs"
	prunesUsed   = "not bring back a deleted record if Touch runs while Prune deletes the record"
	endsCanceled = "return its result or context.Canceled soon after the context was canceled during a call"
	endsOverdue  = "return its result or context.DeadlineExceeded soon after the deadline passed during a call"
)

// twoStepBugs are bugs of stores that read an index and a record in two steps.
var twoStepBugs = []bug{
	{"Find looks up the ID of a digest, and then the record", func(s *brokenStore) {
		s.find = func(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
			found, err := s.plainStore.Find(ctx, d)
			if err != nil {
				return nil, err
			}
			s.arrive()
			r, ok := s.get(withID(found.Token.ID))
			if !ok {
				return nil, tokenauth.ErrNotFound
			}
			return &r, nil
		}
	}, []string{findsRotated}},
	{"Find looks for a retired digest, and then for a current digest", func(s *brokenStore) {
		s.find = func(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
			r, ok := s.get(func(r tokenauth.Record) bool { return r.Retired != nil && r.Retired.Digest == d })
			if !ok {
				s.arrive()
				r, ok = s.get(func(r tokenauth.Record) bool { return r.Digest == d })
			}
			if !ok || ctx.Err() != nil {
				return nil, errors.Join(ctx.Err(), tokenauth.ErrNotFound)
			}
			return &r, nil
		}
	}, []string{findsRotated}},
	{"List finds IDs, and then the records", func(s *brokenStore) {
		s.list = func(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
			found, err := s.plainStore.List(ctx, q)
			if err != nil || len(found) == 0 {
				return nil, err
			}
			s.arrive()
			var records []tokenauth.Record
			for _, old := range found {
				if r, ok := s.get(withID(old.Token.ID)); ok {
					records = append(records, r)
				}
			}
			return records, nil
		}
	}, []string{listsChanged}},
	{"Prune deletes the records that it has found before", func(s *brokenStore) {
		s.prune = func(ctx context.Context, before, unusedSince time.Time, limit int) (n int, err error) {
			all, err := s.plainStore.List(ctx, tokenauth.Query{AllUsers: true, IncludeRevoked: true})
			due := map[string]bool{}
			for _, r := range all {
				if isDue(r.Token, before, unusedSince) && len(due) < limit {
					due[r.Token.ID] = true
				}
			}
			s.arrive()
			s.mu.Lock()
			defer s.mu.Unlock()
			s.rows = slices.DeleteFunc(s.rows, func(r tokenauth.Record) bool { return due[r.Token.ID] })
			return len(due), err
		}
	}, []string{prunesMoved}},
	{"Touch writes the record that it has read before", func(s *brokenStore) {
		s.touch = func(ctx context.Context, uses ...tokenauth.Use) error {
			for _, u := range uses {
				r, ok := s.get(withID(u.ID))
				s.arrive()
				if at := micros(u.At); ok && at.After(r.Token.LastUsedAt) && !at.Before(r.Token.CreatedAt) {
					r.Token.LastUsedAt = at
					s.mu.Lock()
					s.rows = append(slices.DeleteFunc(s.rows, withID(u.ID)), r)
					s.mu.Unlock()
				}
			}
			return ctx.Err()
		}
	}, []string{prunesUsed, "leave a token revoked if Revoke runs while the token is rotated, updated and used"}},
	{"Create of several records ends between two records", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			for _, r := range records {
				if err := s.plainStore.Create(ctx, r); err != nil {
					return err
				}
			}
			return ctx.Err()
		}
	}, []string{endsCanceled}},
	{"Update returns ErrConflict if its context ends during the call", func(s *brokenStore) {
		s.update = func(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			s.arrive()
			if ctx.Err() != nil {
				return tokenauth.ErrConflict
			}
			return s.plainStore.Update(ctx, userID, id, p, at)
		}
	}, []string{endsCanceled, endsOverdue}},
}

// slowBugs are bugs of stores that return late. They are tested in a bubble with a fake clock.
var slowBugs = []bug{
	{"Find returns four seconds after its context ended", func(s *brokenStore) {
		s.find = func(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
			r, err := s.plainStore.Find(ctx, d)
			if err == nil && ctx.Err() != nil {
				<-time.After(4 * time.Second)
			}
			return r, err
		}
	}, []string{endsCanceled}},
	{"Revoke takes four seconds and ignores its context", func(s *brokenStore) {
		s.revoke = func(ctx context.Context, userID, id string, at time.Time, by string) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			<-time.After(4 * time.Second)
			return s.plainStore.Revoke(context.WithoutCancel(ctx), userID, id, at, by)
		}
	}, []string{endsCanceled, endsOverdue}},
}
