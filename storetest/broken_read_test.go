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

// ifFound has f change, or refuse, what Find returns.
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

// onList has f change queries, and g what they select; either may be nil.
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

const listsInOrder = "list in the order of CreatedAt, then ID, byte by byte"

var readBugs = []bug{
	{"Find ignores the retired digest", ifFound(func(d tokenauth.Digest, r *tokenauth.Record) error {
		if r.Digest != d {
			return tokenauth.ErrNotFound
		}
		return nil
	}), []string{"find a record by its current and by its retired digest"}},
	{"Find hides revoked records", ifFound(func(_ tokenauth.Digest, r *tokenauth.Record) error {
		if !isLive(*r) {
			return tokenauth.ErrNotFound
		}
		return nil
	}), []string{
		"find expired and revoked records too, and retired keys whose grace is over",
		"find the digests of a revoked token, from the next call on, as revoked",
	}},
	{"Find judges by the clock", ifFound(func(_ tokenauth.Digest, r *tokenauth.Record) error {
		if r.Token.ExpiredAt(time.Now()) {
			return tokenauth.ErrNotFound
		}
		return nil
	}), []string{"find expired and revoked records too, and retired keys whose grace is over"}},
	{"Find returns local times", ifFound(func(_ tokenauth.Digest, r *tokenauth.Record) error {
		r.Token.CreatedAt = r.Token.CreatedAt.In(time.FixedZone("", 0))
		return nil
	}), []string{"keep every time as its instant in UTC, rounded down to the microsecond, and zero as zero"}},
	{"Find returns empty scopes", ifFound(func(_ tokenauth.Digest, r *tokenauth.Record) error {
		if r.Token.Scopes == nil {
			r.Token.Scopes = []string{}
		}
		return nil
	}), []string{"keep no scopes as nil"}},
	{"Find returns neither", func(s *brokenStore) {
		s.find = func(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
			r, err := s.plainStore.Find(ctx, d)
			if errors.Is(err, tokenauth.ErrNotFound) {
				return nil, nil
			}
			return r, err
		}
	}, []string{"answer ErrNotFound to a digest that no record has"}},
	{"Find compares digests without case", func(s *brokenStore) {
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
	{"Find hands out what changes later", func(s *brokenStore) {
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
	{"Find keeps an old answer", func(s *brokenStore) {
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
		"find the digests of a revoked token, from the next call on, as revoked",
		"find only the last two digests after a second rotation",
	}},
	{"Find mixes up results while calls are cancelled", func(s *brokenStore) {
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
	}, []string{"find the record of the digest asked for and no other, while other calls are cancelled"}},

	{"List forgets the user", onList(func(q *tokenauth.Query) {
		q.AllUsers, q.UserID = true, ""
	}, nil), []string{
		"list a user's live records and no others", "list a record by its ID only for its own user",
		"refuse a query for neither a user nor all, or for both, with an error that is no answer",
	}},
	{"List takes no user for all", onList(func(q *tokenauth.Query) {
		q.AllUsers = q.AllUsers || q.UserID == ""
	}, nil), []string{"refuse a query for neither a user nor all, or for both, with an error that is no answer"}},
	{"List of all shows revoked records", onList(func(q *tokenauth.Query) {
		q.IncludeRevoked = q.IncludeRevoked || q.AllUsers
	}, nil), []string{"list everybody's records only when it is asked to"}},
	{"List of none is an error", func(s *brokenStore) {
		s.list = func(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
			records, err := s.plainStore.List(ctx, q)
			if err == nil && len(records) == 0 {
				err = tokenauth.ErrNotFound
			}
			return records, err
		}
	}, []string{"list no records, without an error, where there are none"}},
	{"List has no order", onList(nil, func(records []tokenauth.Record) []tokenauth.Record {
		for i := range len(records) / 2 {
			records[i], records[len(records)-1-i] = records[len(records)-1-i], records[i]
		}
		return records
	}), []string{listsInOrder}},
	{"List has no order among equal times", onList(nil, func(records []tokenauth.Record) []tokenauth.Record {
		slices.SortStableFunc(records, func(a, b tokenauth.Record) int {
			return fullOrder(a.Token.CreatedAt.Compare(b.Token.CreatedAt), a.Token.Name, b.Token.Name)
		})
		return records
	}), []string{listsInOrder}},
	{"List looks at the first ID alone", onList(func(q *tokenauth.Query) { q.IDs = q.IDs[:min(1, len(q.IDs))] }, nil), []string{
		"list records by several IDs, each once, and none by no ID",
	}},
	{"List takes no ID for any", onList(func(q *tokenauth.Query) {
		if len(q.IDs) == 0 {
			q.IDs = nil
		}
	}, nil), []string{"list records by several IDs, each once, and none by no ID"}},
	{"List ignores the limit", onList(func(q *tokenauth.Query) { q.Limit = 0 }, nil), []string{
		"list at most as many records as the limit says, and all for 0",
	}},
	{"List takes 0 for a limit", onList(func(q *tokenauth.Query) {
		if q.Limit == 0 {
			q.Limit = 3
		}
	}, nil), []string{"list at most as many records as the limit says, and all for 0"}},
	{"the cursor is by time alone", onList(func(q *tokenauth.Query) {
		if q.After.ID != "" {
			q.After.ID = "~"
		}
	}, nil), []string{
		"list what is behind the cursor, whether or not that token is there",
		"page through a list that changes so that what stays is seen once, in order",
	}},
	{"the cursor must be there", func(s *brokenStore) {
		s.list = func(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
			if _, ok := s.get(withID(q.After.ID)); !ok {
				q.After = tokenauth.Cursor{}
			}
			return s.plainStore.List(ctx, q)
		}
	}, []string{"page through a list that changes so that what stays is seen once, in order"}},
	{"List is put together from parts", func(s *brokenStore) {
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
	}, []string{"list what stays once, in order, while other records come and go"}},
	{"List shares its scopes", func(s *brokenStore) {
		s.list = func(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
			records, err := s.plainStore.List(ctx, q)
			for i := range records {
				s.edit(withID(records[i].Token.ID), func(r *tokenauth.Record) { records[i].Token.Scopes = r.Token.Scopes })
			}
			return records, err
		}
	}, []string{"return copies from List"}},

	{"ErrNotFound when cancelled", func(s *brokenStore) {
		s.find = func(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
			s.arrive()
			if ctx.Err() != nil {
				return nil, fmt.Errorf("%w: %w", tokenauth.ErrNotFound, ctx.Err())
			}
			return s.plainStore.Find(ctx, d)
		}
	}, []string{cancelledCalls, overdueCalls, "find the record of the digest asked for and no other, while other calls are cancelled"}},
	{"contexts are ignored", func(s *brokenStore) {
		s.revoke = func(_ context.Context, userID, id string, at time.Time) error {
			return s.plainStore.Revoke(context.Background(), userID, id, at)
		}
	}, []string{cancelledCalls, overdueCalls}},
	{"a cancelled change is done all the same", func(s *brokenStore) {
		s.touch = func(ctx context.Context, uses ...tokenauth.Use) error {
			_ = s.plainStore.Touch(context.Background(), uses...)
			return ctx.Err()
		}
	}, []string{cancelledCalls, overdueCalls}},
}

const (
	cancelledCalls = "answer every call whose context is cancelled with context.Canceled and no answer of its own, and change nothing"
	overdueCalls   = "answer every call whose deadline has passed with context.DeadlineExceeded and no answer of its own, and change nothing"
)

func fullOrder(byTime int, a, b string) int {
	if byTime != 0 {
		return byTime
	}
	return -bytes.Compare([]byte(a), []byte(b))
}
