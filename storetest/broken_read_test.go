package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// ifFound returns a function that breaks the Find method of a store. The broken Find calls f
// with each record that it found, and f may modify the record. Find returns the error of f.
func ifFound(f func(d tokenauth.Digest, r *tokenauth.Record) error) func(*brokenStore) {
	return func(s *brokenStore) {
		s.find = func(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
			r, err := s.plainStore.Find(ctx, d)
			if err == nil {
				err = f(d, r)
			}
			return r, err
		}
	}
}

// onList returns a function that breaks the List method of a store. In the broken List, f
// modifies the query before the search, and g replaces the list of found records. If f or g
// is nil, that step is omitted.
func onList(f func(*tokenauth.Query), g func([]tokenauth.Record) []tokenauth.Record) func(*brokenStore) {
	return func(s *brokenStore) {
		s.list = func(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
			if f != nil {
				f(&q)
			}
			records, err := s.plainStore.List(ctx, q)
			if g != nil {
				records = g(records)
			}
			return records, err
		}
	}
}

const listsInOrder = "order the listed records by CreatedAt, then by ID, and compare IDs byte by byte"

var readBugs = []bug{
	{"Find ignores the retired digest", ifFound(func(d tokenauth.Digest, r *tokenauth.Record) error {
		if r.Digest != d {
			return tokenauth.ErrNotFound
		}
		return nil
	}), []string{"find a record by its current and its retired digest"}},
	{"Find hides revoked records", ifFound(func(_ tokenauth.Digest, r *tokenauth.Record) error {
		if !isLive(*r) {
			return tokenauth.ErrNotFound
		}
		return nil
	}), []string{
		"find expired and revoked records, also by a retired digest whose grace period has ended",
		"return a token as revoked from every Find after Revoke, for its current and its retired digest",
	}},
	{"Find hides expired records", ifFound(func(_ tokenauth.Digest, r *tokenauth.Record) error {
		if r.Token.ExpiredAt(time.Now()) {
			return tokenauth.ErrNotFound
		}
		return nil
	}), []string{"find expired and revoked records, also by a retired digest whose grace period has ended"}},
	{"Find returns CreatedAt in another time zone than UTC", ifFound(func(_ tokenauth.Digest, r *tokenauth.Record) error {
		r.Token.CreatedAt = r.Token.CreatedAt.In(time.FixedZone("", 0))
		return nil
	}), []string{"store each time in UTC, rounded down to the microsecond, and a zero time as a zero time"}},
	{"Find returns an empty list of scopes instead of nil", ifFound(func(_ tokenauth.Digest, r *tokenauth.Record) error {
		if r.Token.Scopes == nil {
			r.Token.Scopes = []string{}
		}
		return nil
	}), []string{"return nil Scopes for a record that was created with an empty list of scopes"}},
	{"Find returns neither a record nor an error", func(s *brokenStore) {
		s.find = func(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
			r, err := s.plainStore.Find(ctx, d)
			if errors.Is(err, tokenauth.ErrNotFound) {
				return nil, nil
			}
			return r, err
		}
	}, []string{"return ErrNotFound for a digest that no record has"}},
	{"Find ignores case in digests", func(s *brokenStore) {
		s.find = func(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
			if r, err := s.plainStore.Find(ctx, d); err == nil || ctx.Err() != nil {
				return r, err
			}
			r, ok := s.get(func(r tokenauth.Record) bool { return bytes.EqualFold(r.Digest[:], d[:]) })
			if !ok {
				return nil, tokenauth.ErrNotFound
			}
			return &r, nil
		}
	}, []string{"compare digests byte by byte"}},
	{"Find returns a record that Touch changes", func(s *brokenStore) {
		shared := map[string]*tokenauth.Record{}
		s.find = func(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
			r, err := s.plainStore.Find(ctx, d)
			if err != nil {
				return nil, err
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if shared[r.Token.ID] == nil {
				shared[r.Token.ID] = r
			}
			return shared[r.Token.ID], nil
		}
		s.touch = func(ctx context.Context, uses ...tokenauth.Use) error {
			s.mu.Lock()
			for _, u := range uses {
				if r := shared[u.ID]; r != nil {
					r.Token.LastUsedAt = u.At
				}
			}
			s.mu.Unlock()
			return s.plainStore.Touch(ctx, uses...)
		}
	}, []string{"never change a record that Find has returned"}},
	{"Find returns a cached record", func(s *brokenStore) {
		old := map[tokenauth.Digest]*tokenauth.Record{}
		s.find = func(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
			s.mu.Lock()
			r := old[d]
			s.mu.Unlock()
			if r != nil {
				return r, ctx.Err()
			}
			r, err := s.plainStore.Find(ctx, d)
			if err == nil {
				s.mu.Lock()
				old[d] = r
				s.mu.Unlock()
			}
			return r, err
		}
	}, []string{
		"return a token as revoked from every Find after Revoke, for its current and its retired digest",
		"find a token by its two latest digests, but not by its first digest, after a second rotation",
	}},
	{"Find mixes up the results of canceled calls", func(s *brokenStore) {
		var last *tokenauth.Record
		s.find = func(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
			r, err := s.plainStore.Find(ctx, d)
			if err != nil {
				return nil, err
			}
			s.arrive()
			s.mu.Lock()
			defer s.mu.Unlock()
			if ctx.Err() != nil && last != nil {
				return last, nil
			}
			last = r
			return r, nil
		}
	}, []string{"return the record with the given digest from Find, and no other record, while other calls are canceled"}},

	{"List ignores the user ID", onList(func(q *tokenauth.Query) {
		q.AllUsers, q.UserID = true, ""
	}, nil), []string{
		"list a user's live records and no other records", "list the record with a given ID for its own user, but not for another user",
		"return an error that is not a sentinel error for a query with neither or both of UserID and AllUsers",
	}},
	{"List without a user lists all users", onList(func(q *tokenauth.Query) {
		q.AllUsers = q.AllUsers || q.UserID == ""
	}, nil), []string{"return an error that is not a sentinel error for a query with neither or both of UserID and AllUsers"}},
	{"List of all users includes revoked records", onList(func(q *tokenauth.Query) {
		q.IncludeRevoked = q.IncludeRevoked || q.AllUsers
	}, nil), []string{"list the records of all users if AllUsers is set, and revoked records only if IncludeRevoked is set"}},
	{"List ignores the name", onList(func(q *tokenauth.Query) { q.Name = "" }, nil), []string{
		"list the tokens with a given name, and revoked tokens of that name only if IncludeRevoked is set",
	}},
	{"List by name omits revoked tokens", onList(func(q *tokenauth.Query) {
		q.IncludeRevoked = q.IncludeRevoked && q.Name == ""
	}, nil), []string{"list the tokens with a given name, and revoked tokens of that name only if IncludeRevoked is set"}},
	{"List of slots includes tokens without a slot", onList(func(q *tokenauth.Query) {
		if q.MinSlot <= 1 {
			q.MinSlot, q.MaxSlot = 0, 0
		}
	}, nil), []string{"list the tokens that hold a slot in a given range"}},
	{"List of slots omits the last slot", onList(func(q *tokenauth.Query) {
		if q.MaxSlot > q.MinSlot {
			q.MaxSlot--
		}
	}, nil), []string{"list the tokens that hold a slot in a given range"}},
	{"List returns ErrNotFound if no record matches", func(s *brokenStore) {
		s.list = func(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
			records, err := s.plainStore.List(ctx, q)
			if err == nil && len(records) == 0 {
				err = tokenauth.ErrNotFound
			}
			return records, err
		}
	}, []string{"return no records and no error if no record matches the query"}},
	{"List returns records in the wrong order", onList(nil, func(records []tokenauth.Record) []tokenauth.Record {
		for i := range len(records) / 2 {
			records[i], records[len(records)-1-i] = records[len(records)-1-i], records[i]
		}
		return records
	}), []string{listsInOrder}},
	{"List does not order records with equal CreatedAt by ID", onList(nil, func(records []tokenauth.Record) []tokenauth.Record {
		slices.SortStableFunc(records, func(a, b tokenauth.Record) int {
			return fullOrder(a.Token.CreatedAt.Compare(b.Token.CreatedAt), a.Token.Name, b.Token.Name)
		})
		return records
	}), []string{listsInOrder}},
	{"List uses only the first ID", onList(func(q *tokenauth.Query) { q.IDs = q.IDs[:min(1, len(q.IDs))] }, nil), []string{
		"list each record whose ID is in IDs exactly once, and no record if IDs is empty but not nil",
	}},
	{"List treats an empty list of IDs as any ID", onList(func(q *tokenauth.Query) {
		if len(q.IDs) == 0 {
			q.IDs = nil
		}
	}, nil), []string{"list each record whose ID is in IDs exactly once, and no record if IDs is empty but not nil"}},
	{"List ignores the limit", onList(func(q *tokenauth.Query) { q.Limit = 0 }, nil), []string{
		"list at most Limit records, and all records if Limit is 0",
	}},
	{"List treats limit 0 as limit 3", onList(func(q *tokenauth.Query) {
		if q.Limit == 0 {
			q.Limit = 3
		}
	}, nil), []string{"list at most Limit records, and all records if Limit is 0"}},
	{"List treats a negative limit as no limit", onList(func(q *tokenauth.Query) { q.Limit = max(q.Limit, 0) }, nil), []string{
		"return an error that is not a sentinel error for a query with a negative Limit or a malformed range of slots",
	}},
	{"List ignores the ID of the cursor", onList(func(q *tokenauth.Query) {
		if q.After.ID != "" {
			q.After.ID = "~"
		}
	}, nil), []string{
		"list the records after the cursor, even if the cursor's token no longer exists",
		"list each record that existed before the first page once, in order, if the list changes between pages",
	}},
	{"List requires the cursor's token to exist", func(s *brokenStore) {
		s.list = func(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
			if _, ok := s.get(withID(q.After.ID)); !ok {
				q.After = tokenauth.Cursor{}
			}
			return s.plainStore.List(ctx, q)
		}
	}, []string{"list each record that existed before the first page once, in order, if the list changes between pages"}},
	{"List joins the results of two reads, which may differ", func(s *brokenStore) {
		s.list = func(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
			first, err := s.plainStore.List(ctx, q)
			if err != nil || q.Limit > 0 || len(first) < 2 {
				return first, err
			}
			await(&s.changes)
			again, err := s.plainStore.List(ctx, q)
			if err != nil {
				return nil, err
			}
			half := len(first) / 2
			return append(first[:half], again[min(half, len(again)):]...), nil
		}
	}, []string{"list each unchanged record once, in order, while other records are created and deleted"}},
	{"List does not copy the scopes", func(s *brokenStore) {
		s.list = func(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
			records, err := s.plainStore.List(ctx, q)
			for i := range records {
				s.edit(withID(records[i].Token.ID), func(r *tokenauth.Record) { records[i].Token.Scopes = r.Token.Scopes })
			}
			return records, err
		}
	}, []string{"return copies from List, so that changes by the caller do not change the stored records"}},

	{"Find returns ErrNotFound if its context is canceled", func(s *brokenStore) {
		s.find = func(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
			s.arrive()
			if ctx.Err() != nil {
				return nil, fmt.Errorf("%w: %w", tokenauth.ErrNotFound, ctx.Err())
			}
			return s.plainStore.Find(ctx, d)
		}
	}, []string{canceledCalls, overdueCalls, "return the record with the given digest from Find, and no other record, while other calls are canceled"}},
	{"Revoke ignores its context", func(s *brokenStore) {
		s.revoke = func(_ context.Context, userID, id string, at time.Time, by string) error {
			return s.plainStore.Revoke(context.Background(), userID, id, at, by)
		}
	}, []string{canceledCalls, overdueCalls}},
	{"a canceled Touch still changes the store", func(s *brokenStore) {
		s.touch = func(ctx context.Context, uses ...tokenauth.Use) error {
			_ = s.plainStore.Touch(context.Background(), uses...)
			return ctx.Err()
		}
	}, []string{canceledCalls, overdueCalls}},
}

const (
	canceledCalls = "return context.Canceled and no sentinel error if the context is canceled, and change nothing"
	overdueCalls  = "return context.DeadlineExceeded and no sentinel error if the deadline has passed, and change nothing"
)

func fullOrder(byTime int, a, b string) int {
	if byTime != 0 {
		return byTime
	}
	return -bytes.Compare([]byte(a), []byte(b))
}
