package storetest

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"

	"github.com/go-tokenauth/tokenauth"
)

const (
	listsSlots     = "list the tokens that hold a slot in a given range"
	listsIDs       = "list each record whose ID is in IDs exactly once, and no record if IDs is empty but not nil"
	refusesQuery   = "return an error that is not a sentinel error for a query with neither or both of UserID and AllUsers"
	refusesRange   = "return an error that is not a sentinel error for a query with a negative Limit or a malformed range of slots"
	listsLimit     = "list at most Limit records, and all records if Limit is 0"
	createsRotated = "refuse to create a record a second time after its key was rotated, unless it has the new digest"
	endsLongTexts  = "keep long user IDs and long names apart that differ only in their last character"
	createsAmong   = "detect conflicts between the records of one Create call"
	createsExactly = "return each record exactly as it was created"
)

// filtersFew returns a function that breaks the List method of a store: it reads 100 records for a
// query without one condition, and then applies the condition. The function relax removes the
// condition from a query, and returns the condition, or nil if the query does not have it.
func filtersFew(relax func(q *tokenauth.Query) func(tokenauth.Record) bool) func(*brokenStore) {
	return func(s *brokenStore) {
		s.list = func(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
			relaxed := q
			condition := relax(&relaxed)
			if condition == nil || q.Limit <= 0 {
				return s.plainStore.List(ctx, q)
			}
			relaxed.Limit = 100
			records, err := s.plainStore.List(ctx, relaxed)
			records = where(records, condition)
			return records[:min(q.Limit, len(records))], err
		}
	}
}

// includesNoSlot returns a function that breaks the List method of a store: for queries for which f
// returns true, a range of slots that begins at 0 includes tokens without a slot.
func includesNoSlot(f func(q tokenauth.Query) bool) func(*brokenStore) {
	return onList(func(q *tokenauth.Query) {
		if q.MinSlot == 0 && q.MaxSlot == 7 && f(*q) { // all stored slots of these records are at most 7
			q.MaxSlot = 0
		}
	}, nil)
}

// forgetsIDs returns a function that breaks the List method of a store: for queries for which f
// returns true, an empty list of IDs means any ID.
func forgetsIDs(f func(q tokenauth.Query) bool) func(*brokenStore) {
	return onList(func(q *tokenauth.Query) {
		if len(q.IDs) == 0 && f(*q) {
			q.IDs = nil
		}
	}, nil)
}

// numbersErrors returns a function that makes the Create method of a store return RecordErrors. The
// function index returns their Index for the given records, of which record i fails.
func numbersErrors(index func(s *brokenStore, records []tokenauth.Record, i int) int) func(*brokenStore) {
	return func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			err := s.plainStore.Create(ctx, records...)
			if len(records) < 2 || sentinelOf(err) == nil {
				return err
			}
			copied := &plainStore{rows: slices.Clone(s.rows)}
			for i, r := range records {
				if copied.Create(ctx, r) != nil {
					return &tokenauth.RecordError{Index: index(s, records, i), Err: err}
				}
			}
			return err
		}
	}
}

// queryBugs are bugs in the conditions of queries, and in the checks and the values of Create.
var queryBugs = []bug{
	{"List accepts slots above 2^31-1", onList(func(q *tokenauth.Query) { q.MaxSlot = min(q.MaxSlot, math.MaxInt32) }, nil), []string{refusesRange}},
	{"List accepts a negative MinSlot without MaxSlot", onList(func(q *tokenauth.Query) {
		if q.MaxSlot == 0 {
			q.MinSlot = max(q.MinSlot, 0)
		}
	}, nil), []string{refusesRange}},
	{"List of no IDs does not check the query", func(s *brokenStore) {
		s.list = func(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
			if q.IDs != nil && len(q.IDs) == 0 {
				return nil, ctx.Err()
			}
			return s.plainStore.List(ctx, q)
		}
	}, []string{refusesQuery, refusesRange}},
	{"List of no IDs ignores its context", func(s *brokenStore) {
		s.list = func(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
			if q.IDs != nil && len(q.IDs) == 0 {
				ctx = context.WithoutCancel(ctx)
			}
			return s.plainStore.List(ctx, q)
		}
	}, []string{canceledCalls, overdueCalls}},
	{"Create of no records ignores its context", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			if len(records) == 0 {
				return nil
			}
			return s.plainStore.Create(ctx, records...)
		}
	}, []string{canceledCalls, overdueCalls}},
	{"Touch of no uses ignores its context", func(s *brokenStore) {
		s.touch = func(ctx context.Context, uses ...tokenauth.Use) error {
			if len(uses) == 0 {
				return nil
			}
			return s.plainStore.Touch(ctx, uses...)
		}
	}, []string{canceledCalls, overdueCalls}},
	{"List by name includes tokens without a slot in a range from 0", includesNoSlot(func(q tokenauth.Query) bool { return q.Name != "" }), []string{listsSlots}},
	{"List by ID includes tokens without a slot in a range from 0", includesNoSlot(func(q tokenauth.Query) bool { return q.IDs != nil }), []string{listsSlots}},
	{"List by name treats an empty list of IDs as any ID", forgetsIDs(func(q tokenauth.Query) bool { return q.Name != "" }), []string{listsIDs}},
	{"List by slot treats an empty list of IDs as any ID", forgetsIDs(func(q tokenauth.Query) bool { return q.MaxSlot > 0 }), []string{listsIDs}},
	{"List has a limit of 32 bits", onList(func(q *tokenauth.Query) { q.Limit = int(int32(q.Limit)) }, nil), []string{listsLimit}},
	{"List looks for a name among 100 records", filtersFew(func(q *tokenauth.Query) func(tokenauth.Record) bool {
		name := q.Name
		if q.Name = ""; name == "" {
			return nil
		}
		return withName(name)
	}), []string{fillsPages}},
	{"List looks for slots among 100 records", filtersFew(func(q *tokenauth.Query) func(tokenauth.Record) bool {
		low, high := q.MinSlot, q.MaxSlot
		if q.MinSlot, q.MaxSlot = 0, 0; high <= 0 || low < 0 || low > high {
			return nil
		}
		return func(r tokenauth.Record) bool { return r.Slot != 0 && r.Slot >= low && r.Slot <= high }
	}), []string{fillsPages}},
	{"List by IDs repeats a record whose ID is in two batches", listsBatches(func(q tokenauth.Query, all []tokenauth.Record) []tokenauth.Record {
		if all = inOrder(all...); q.Limit > 0 {
			all = all[:min(q.Limit, len(all))]
		}
		return all
	}), []string{manyIDs}},

	{"a RecordError counts only the records that are new", numbersErrors(func(s *brokenStore, records []tokenauth.Record, i int) int {
		return len(where(records[:i], func(r tokenauth.Record) bool { return s.index(withID(r.Token.ID)) < 0 }))
	}), []string{createOrder}},
	{"a RecordError has the index in a batch", numbersErrors(func(_ *brokenStore, _ []tokenauth.Record, i int) int { return i % 500 }), []string{allOrNone}},
	{"Create returns ErrNameTaken and ErrSlotTaken together", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			err := s.plainStore.Create(ctx, records...)
			if errors.Is(err, tokenauth.ErrNameTaken) {
				return errors.Join(err, tokenauth.ErrSlotTaken)
			}
			return err
		}
	}, []string{"check ID and digests for conflicts first, then the name, then the slot"}},
	{"Create checks retired digests last", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			err := s.plainStore.Create(ctx, records...)
			if len(records) == 1 && errors.Is(err, tokenauth.ErrKeyTaken) {
				unretired := records[0]
				unretired.Retired = nil
				_, other := s.conflict(unretired)
				return cmp.Or(other, err)
			}
			return err
		}
	}, []string{"check ID and digests for conflicts first, then the name, then the slot"}},
	{"Create skips the second of two records with one ID and digest, even if the users differ", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			var some []tokenauth.Record
			for _, r := range records {
				if !slices.ContainsFunc(some, func(o tokenauth.Record) bool { return o.Token.ID == r.Token.ID && o.Digest == r.Digest }) {
					some = append(some, r)
				}
			}
			return s.plainStore.Create(ctx, some...)
		}
	}, []string{createsAmong}},
	{"of two records with one ID in a Create call, the last one is stored", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			before := s.all()
			err := s.plainStore.Create(ctx, records...)
			for _, r := range records {
				if _, ok := before[r.Token.ID]; !ok {
					_ = s.alsoEdit(err, withID(r.Token.ID), func(old *tokenauth.Record) { *old = kept(r) })
				}
			}
			return err
		}
	}, []string{createsAmong}},
	{"Create refuses a repeated record after a rotation", beforeCreate(func(s *brokenStore, r *tokenauth.Record) error {
		if old, ok := s.get(withID(r.Token.ID)); ok && old.Token.Hint == "new1" { // the hint of rotations
			return tokenauth.ErrKeyTaken
		}
		return nil
	}), []string{createsRotated}},
	{"names are compared in their first 191 bytes", refuseIf(tokenauth.ErrNameTaken, func(old, r tokenauth.Record) bool {
		return isLive(old) && old.Token.UserID == r.Token.UserID && old.Token.Name != r.Token.Name && prefix(old.Token.Name, 191) == prefix(r.Token.Name, 191)
	}), []string{endsLongTexts}},
	{"user IDs are compared in their first 250 bytes", refuseIf(tokenauth.ErrNameTaken, func(old, r tokenauth.Record) bool {
		return isLive(old) && old.Token.UserID != r.Token.UserID && prefix(old.Token.UserID, 250) == prefix(r.Token.UserID, 250) && old.Token.Name == r.Token.Name
	}), []string{endsLongTexts}},
	{"hints are numbers", beforeCreate(func(_ *brokenStore, r *tokenauth.Record) error {
		if r.Token.Hint == "0012" {
			r.Token.Hint = "12"
		}
		return nil
	}), []string{createsExactly}},
}

func prefix(text string, n int) string { return text[:min(n, len(text))] }
