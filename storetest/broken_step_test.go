package storetest

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

const (
	prunesIdle   = "delete idle live tokens with Prune, at most limit, and no token that was created or used after unusedSince"
	prunesBehind = "find the records to prune if many other records precede them"
	prunesMany   = "prune thousands of expired and idle records in one call"
)

// whole returns n rounded down to a multiple of 500, if n is larger.
func whole(n int) int {
	if n <= 500 {
		return n
	}
	return n / 500 * 500
}

// wholeUp returns n rounded up to a multiple of 500, if n is larger.
func wholeUp(n int) int {
	if n <= 500 || n > math.MaxInt-500 {
		return n
	}
	return (n + 499) / 500 * 500
}

// limits returns a function that breaks the methods RevokeAll or Prune of a store: it changes the
// limit.
func limits(method string, limit func(int) int) func(*brokenStore) {
	return func(s *brokenStore) {
		if method == "RevokeAll" {
			s.revokeAll = func(ctx context.Context, userID string, at time.Time, by string, n int) (int, error) {
				return s.plainStore.RevokeAll(ctx, userID, at, by, limit(n))
			}
			return
		}
		s.prune = func(ctx context.Context, before, unusedSince time.Time, n int) (int, error) {
			return s.plainStore.Prune(ctx, before, unusedSince, limit(n))
		}
	}
}

// prunesAmong returns a function that breaks the Prune method of a store: it sees only the records
// that visible returns. The parameter records of visible holds all records in the order of List.
func prunesAmong(visible func(records []tokenauth.Record, before, unusedSince time.Time, limit int) []tokenauth.Record) func(*brokenStore) {
	return func(s *brokenStore) {
		s.prune = func(ctx context.Context, before, unusedSince time.Time, limit int) (n int, err error) {
			err = s.locked(ctx, func() (err error) {
				seen := &plainStore{rows: visible(inOrder(s.rows...), before, unusedSince, limit)}
				due := map[string]bool{}
				for _, r := range seen.rows {
					due[r.Token.ID] = true
				}
				n, err = seen.Prune(ctx, before, unusedSince, limit)
				for _, r := range seen.rows {
					delete(due, r.Token.ID)
				}
				s.rows = slices.DeleteFunc(s.rows, func(r tokenauth.Record) bool { return due[r.Token.ID] })
				return err
			})
			return n, err
		}
	}
}

// atMost returns records without those for which f returns true after the first n of them.
func atMost(n int, records []tokenauth.Record, f func(tokenauth.Record) bool) []tokenauth.Record {
	return slices.DeleteFunc(records, func(r tokenauth.Record) bool {
		if f(r) {
			n--
			return n < 0
		}
		return false
	})
}

func hasExpired(before time.Time) func(tokenauth.Record) bool {
	return func(r tokenauth.Record) bool { return isLive(r) && isDue(r.Token, before, time.Time{}) }
}

// stepBugs are bugs of stores that work in steps or on pages.
var stepBugs = []bug{
	{"Create adds only whole batches of 500 records", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			return s.plainStore.Create(ctx, records[:whole(len(records))]...)
		}
	}, []string{thousands}},
	{"Create compares the given records only with those of the same batch of 500", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			if len(records) <= 500 {
				return s.plainStore.Create(ctx, records...)
			}
			return s.locked(ctx, func() error {
				var added []tokenauth.Record
				for batch := range slices.Chunk(records, 500) {
					alone := &plainStore{rows: slices.Clone(s.rows)}
					if err := alone.Create(ctx, batch...); err != nil {
						return err
					}
					added = append(added, alone.rows[len(s.rows):]...)
				}
				s.rows = append(s.rows, added...)
				return nil
			})
		}
	}, []string{allOrNone}},
	{"List reads only whole batches of 500 IDs", onList(func(q *tokenauth.Query) {
		if q.IDs != nil {
			q.IDs = q.IDs[:whole(len(q.IDs))]
		}
	}, nil), []string{manyIDs}},
	{"Touch records only whole batches of 500 uses", func(s *brokenStore) {
		s.touch = func(ctx context.Context, uses ...tokenauth.Use) error {
			return s.plainStore.Touch(ctx, uses[:whole(len(uses))]...)
		}
	}, []string{manyUses, thousands}},
	{"Touch compares the uses of each batch with what it has read before the first batch", func(s *brokenStore) {
		s.touch = func(ctx context.Context, uses ...tokenauth.Use) error {
			read := s.all()
			for batch := range slices.Chunk(uses, 1000) {
				if err := s.plainStore.Touch(ctx, batch...); err != nil {
					return err
				}
				for _, u := range batch {
					if old, ok := read[u.ID]; ok && len(uses) > 1000 && u.At.After(old.Token.LastUsedAt) {
						s.edit(withID(u.ID), func(r *tokenauth.Record) { r.Token.LastUsedAt = micros(u.At) })
					}
				}
			}
			return ctx.Err()
		}
	}, []string{manyUses}},
	{"RevokeAll rounds a large limit down to whole steps", limits("RevokeAll", whole), []string{thousands}},
	{"RevokeAll rounds a large limit up to whole steps", limits("RevokeAll", wholeUp), []string{thousands}},
	{"Prune rounds a large limit down to whole steps", limits("Prune", whole), []string{thousands}},
	{"Prune rounds a large limit up to whole steps", limits("Prune", wholeUp), []string{thousands}},

	{"Prune applies the limit to idle tokens separately", func(s *brokenStore) {
		s.prune = func(ctx context.Context, before, unusedSince time.Time, limit int) (int, error) {
			dead, err := s.plainStore.Prune(ctx, before, time.Time{}, limit)
			if err != nil {
				return 0, err
			}
			idle, err := s.plainStore.Prune(ctx, time.Time{}, unusedSince, limit)
			return dead + idle, err
		}
	}, []string{prunesIdle}},
	{"Prune looks for idle tokens among the first 100 live tokens", prunesAmong(func(records []tokenauth.Record, before, _ time.Time, _ int) []tokenauth.Record {
		return atMost(100, records, func(r tokenauth.Record) bool { return isLive(r) && !hasExpired(before)(r) })
	}), []string{prunesBehind}},
	{"Prune looks for expired and revoked records among the first 100 records", prunesAmong(func(records []tokenauth.Record, before, _ time.Time, _ int) []tokenauth.Record {
		seen := 0
		return slices.DeleteFunc(records, func(r tokenauth.Record) bool {
			seen++
			return seen > 100 && isDue(r.Token, before, time.Time{})
		})
	}), []string{prunesBehind}},
	{"Prune ends after a step in which it has skipped an imported record", prunesAmong(func(records []tokenauth.Record, before, unusedSince time.Time, limit int) []tokenauth.Record {
		due := where(records, func(r tokenauth.Record) bool {
			r.Token.Origin = ""
			return isDue(r.Token, before, unusedSince)
		})
		for step := range slices.Chunk(due, 100) {
			if slices.ContainsFunc(step, isImported) {
				return step
			}
		}
		return due
	}), []string{thousands}},
	{"Prune deletes at most 1,000 expired tokens", prunesAmong(func(records []tokenauth.Record, before, _ time.Time, _ int) []tokenauth.Record {
		return atMost(1000, records, hasExpired(before))
	}), []string{prunesMany}},
	{"Prune deletes at most 1,000 idle tokens", prunesAmong(func(records []tokenauth.Record, before, unusedSince time.Time, _ int) []tokenauth.Record {
		return atMost(1000, records, func(r tokenauth.Record) bool { return isLive(r) && !hasExpired(before)(r) && isIdle(r, unusedSince) })
	}), []string{prunesMany}},
}
