package storetest

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

const (
	createsActors = "return CreatedBy and RevokedBy exactly as they were created, up to 255 bytes of UTF-8"
	revokesBy     = "store who revokes a token as RevokedBy, with Revoke, RevokeExpired and RevokeAll"
	revokesOnceBy = "leave RevokedBy of a revoked token unchanged, whoever revokes the token again"
	keepsCreator  = "leave CreatedBy unchanged with each change of a token"
	listsCreator  = "list the tokens with a given CreatedBy, which is compared byte by byte"

	listsExpiring    = "list the tokens that expire before a given time, but neither at that time nor never"
	listsExpiryTimes = "compare expiries with the ExpiresBefore of a query to the microsecond, in all years from 1 to 9999"
)

// actorsBy returns a function that breaks the Create method of a store: it stores the actors that f
// returns.
func actorsBy(f func(string) string) func(*brokenStore) {
	return beforeCreate(func(_ *brokenStore, r *tokenauth.Record) error {
		r.Token.CreatedBy, r.Token.RevokedBy = f(r.Token.CreatedBy), f(r.Token.RevokedBy)
		return nil
	})
}

// onRevoke returns a function that breaks the methods of a store that revoke tokens. A method
// stores the actor that f returns. The record r is the token, or the zero Record for RevokeAll.
func onRevoke(f func(method string, r tokenauth.Record, by string) string) func(*brokenStore) {
	return func(s *brokenStore) {
		s.revoke = func(ctx context.Context, userID, id string, at time.Time, by string) error {
			r, _ := s.get(withID(id))
			return s.plainStore.Revoke(ctx, userID, id, at, f("Revoke", r, by))
		}
		s.revokeExpired = func(ctx context.Context, userID, id string, at time.Time, by string, unusedSince time.Time) error {
			r, _ := s.get(withID(id))
			return s.plainStore.RevokeExpired(ctx, userID, id, at, f("RevokeExpired", r, by), unusedSince)
		}
		s.revokeAll = func(ctx context.Context, userID string, at time.Time, by string, limit int) (int, error) {
			return s.plainStore.RevokeAll(ctx, userID, at, f("RevokeAll", tokenauth.Record{}, by), limit)
		}
	}
}

// forgetsActor returns a function that breaks the method with the given name: it does not store who
// revokes a token.
func forgetsActor(forgetting string) func(*brokenStore) {
	return onRevoke(func(method string, _ tokenauth.Record, by string) string {
		if method == forgetting {
			return ""
		}
		return by
	})
}

// lists returns a function that breaks the List method of a store. If isOf is true for a query,
// List drops the condition that relax removes from the query, and applies f instead.
func lists(isOf func(q tokenauth.Query) bool, relax func(q *tokenauth.Query), f func(q tokenauth.Query, r tokenauth.Record) bool) func(*brokenStore) {
	return func(s *brokenStore) {
		s.list = func(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
			if !isOf(q) {
				return s.plainStore.List(ctx, q)
			}
			relaxed := q
			relax(&relaxed)
			relaxed.Limit = min(0, q.Limit)
			records, err := s.plainStore.List(ctx, relaxed)
			records = where(records, func(r tokenauth.Record) bool { return f(q, r) })
			if q.Limit > 0 {
				records = records[:min(q.Limit, len(records))]
			}
			return records, err
		}
	}
}

func hasCreator(q tokenauth.Query) bool { return q.CreatedBy != "" }

// createdBy returns a function that breaks the List method of a store: it compares CreatedBy by f.
func createdBy(f func(asked, stored string) bool) func(*brokenStore) {
	return lists(hasCreator, func(q *tokenauth.Query) { q.CreatedBy = "" }, func(q tokenauth.Query, r tokenauth.Record) bool {
		return f(q.CreatedBy, r.Token.CreatedBy)
	})
}

// lineageBugs are bugs in CreatedBy and RevokedBy.
var lineageBugs = []bug{
	{"actors are cut off after 254 bytes", actorsBy(func(by string) string { return prefix(by, 254) }), []string{createsActors}},
	{"actors lose trailing spaces", actorsBy(func(by string) string { return strings.TrimRight(by, " ") }), []string{createsActors}},
	{"actors are ASCII", actorsBy(asciiOf), []string{createsActors}},
	{"an unknown actor is stored as a text", actorsBy(func(by string) string {
		if by == "" {
			return "unknown"
		}
		return by
	}), []string{createsActors}},
	{"RevokedBy of a record that is created as revoked is not stored", beforeCreate(func(_ *brokenStore, r *tokenauth.Record) error {
		r.Token.RevokedBy = ""
		return nil
	}), []string{createsActors}},

	{"Revoke does not store who revokes", forgetsActor("Revoke"), []string{revokesBy, revokesOnce}},
	{"RevokeExpired does not store who revokes", forgetsActor("RevokeExpired"), []string{revokesBy}},
	{"RevokeAll does not store who revokes", forgetsActor("RevokeAll"), []string{revokesBy, revokesAll}},
	{"RevokeExpired of an idle token does not store who revokes", onRevoke(func(method string, r tokenauth.Record, by string) string {
		if method == "RevokeExpired" && r.Token.ExpiresAt.IsZero() {
			return ""
		}
		return by
	}), []string{revokesBy}},
	{"Revoke cuts off who revokes after 254 bytes", onRevoke(func(_ string, _ tokenauth.Record, by string) string { return prefix(by, 254) }), []string{revokesBy}},
	{"an unknown actor is the creator", onRevoke(func(_ string, r tokenauth.Record, by string) string {
		if by == "" {
			return r.Token.CreatedBy
		}
		return by
	}), []string{revokesBy}},

	{"a second Revoke changes RevokedBy", func(s *brokenStore) {
		s.revoke = func(ctx context.Context, userID, id string, at time.Time, by string) error {
			return s.alsoEdit(s.plainStore.Revoke(ctx, userID, id, at, by), withID(id), func(r *tokenauth.Record) { r.Token.RevokedBy = by })
		}
	}, []string{revokesOnceBy}},
	{"a second Revoke at the same time changes RevokedBy", func(s *brokenStore) {
		s.revoke = func(ctx context.Context, userID, id string, at time.Time, by string) error {
			return s.alsoEdit(s.plainStore.Revoke(ctx, userID, id, at, by), withID(id), func(r *tokenauth.Record) {
				if r.Token.RevokedAt.Equal(at) {
					r.Token.RevokedBy = by
				}
			})
		}
	}, []string{revokesOnceBy}},
	{"a second Revoke sets RevokedBy if it is unknown", func(s *brokenStore) {
		s.revoke = func(ctx context.Context, userID, id string, at time.Time, by string) error {
			return s.alsoEdit(s.plainStore.Revoke(ctx, userID, id, at, by), withID(id), func(r *tokenauth.Record) {
				if r.Token.RevokedBy == "" {
					r.Token.RevokedBy = by
				}
			})
		}
	}, []string{revokesOnceBy}},
	{"a second RevokeExpired changes RevokedBy", func(s *brokenStore) {
		s.revokeExpired = func(ctx context.Context, userID, id string, at time.Time, by string, unusedSince time.Time) error {
			return s.alsoEdit(s.plainStore.RevokeExpired(ctx, userID, id, at, by, unusedSince), withID(id), func(r *tokenauth.Record) { r.Token.RevokedBy = by })
		}
	}, []string{revokesOnceBy}},
	{"RevokeAll changes RevokedBy of revoked tokens", func(s *brokenStore) {
		s.revokeAll = func(ctx context.Context, userID string, at time.Time, by string, limit int) (int, error) {
			n, err := s.plainStore.RevokeAll(ctx, userID, at, by, limit)
			return n, s.alsoEdit(err, ofUser(userID, ""), func(r *tokenauth.Record) { r.Token.RevokedBy = by })
		}
	}, []string{revokesOnceBy}},
	{"a refused Revoke sets RevokedBy", func(s *brokenStore) {
		s.revoke = func(ctx context.Context, userID, id string, at time.Time, by string) error {
			s.edit(func(r tokenauth.Record) bool { return isLive(r) && r.Token.ID == id }, func(r *tokenauth.Record) { r.Token.RevokedBy = by })
			return s.plainStore.Revoke(ctx, userID, id, at, by)
		}
	}, []string{revokesOnceBy}},
	{"a refused RevokeExpired sets RevokedBy", func(s *brokenStore) {
		s.revokeExpired = func(ctx context.Context, userID, id string, at time.Time, by string, unusedSince time.Time) error {
			s.edit(func(r tokenauth.Record) bool { return isLive(r) && r.Token.ID == id && r.Token.UserID == userID }, func(r *tokenauth.Record) { r.Token.RevokedBy = by })
			return s.plainStore.RevokeExpired(ctx, userID, id, at, by, unusedSince)
		}
	}, []string{revokesOnceBy}},

	{"Update forgets the creator", forgets("Update", noCreator), []string{keepsCreator, updatesFields}},
	{"Rotate forgets the creator", forgets("Rotate", noCreator), []string{keepsCreator}},
	{"Touch forgets the creator", forgets("Touch", noCreator), []string{keepsCreator}},
	{"Revoke forgets the creator", forgets("Revoke", noCreator), []string{keepsCreator}},
	{"RevokeAll stores who revokes as the creator", forgets("RevokeAll", func(r *tokenauth.Record) { r.Token.CreatedBy = r.Token.RevokedBy }), []string{keepsCreator}},
	{"a repeated Create changes the creator", beforeCreate(func(s *brokenStore, r *tokenauth.Record) error {
		s.edit(withID(r.Token.ID), func(old *tokenauth.Record) {
			if old.Digest == r.Digest && old.Token.UserID == r.Token.UserID {
				old.Token.CreatedBy = r.Token.CreatedBy
			}
		})
		return nil
	}), []string{keepsCreator}},
	{"a repeated Create sets the creator if it is unknown", beforeCreate(func(s *brokenStore, r *tokenauth.Record) error {
		s.edit(withID(r.Token.ID), func(old *tokenauth.Record) {
			if old.Token.CreatedBy == "" {
				old.Token.CreatedBy = r.Token.CreatedBy
			}
		})
		return nil
	}), []string{keepsCreator}},

	{"List ignores the creator", createdBy(func(_, _ string) bool { return true }), []string{listsCreator, combinesFields}},
	{"List ignores case in creators", createdBy(strings.EqualFold), []string{listsCreator}},
	{"List ignores spaces at the end of creators", createdBy(func(a, b string) bool { return strings.TrimRight(a, " ") == strings.TrimRight(b, " ") }), []string{listsCreator}},
	{"List ignores spaces at the start of creators", createdBy(func(a, b string) bool { return strings.TrimLeft(a, " ") == strings.TrimLeft(b, " ") }), []string{listsCreator}},
	{"List finds creators that begin with a text", createdBy(func(asked, stored string) bool { return strings.HasPrefix(stored, asked) }), []string{listsCreator}},
	{"List compares the first 254 bytes of creators", createdBy(func(a, b string) bool { return prefix(a, 254) == prefix(b, 254) }), []string{listsCreator}},
	{"List compares creators without non-ASCII characters", createdBy(func(a, b string) bool { return asciiOf(a) == asciiOf(b) }), []string{listsCreator}},
	{"List treats an underscore in a creator as any character", createdBy(func(asked, stored string) bool {
		return asked == stored || strings.HasSuffix(asked, "_") && len(asked) == len(stored) && strings.HasPrefix(stored, strings.TrimSuffix(asked, "_"))
	}), []string{listsCreator}},
	{"List treats a percent sign in a creator as any text", createdBy(func(asked, stored string) bool {
		return asked == stored || strings.HasSuffix(asked, "%") && strings.HasPrefix(stored, strings.TrimSuffix(asked, "%"))
	}), []string{listsCreator}},
	{"List by creator omits revoked tokens", onList(func(q *tokenauth.Query) { q.IncludeRevoked = q.IncludeRevoked && q.CreatedBy == "" }, nil), []string{listsCreator}},
	{"List by creator includes revoked tokens", onList(func(q *tokenauth.Query) { q.IncludeRevoked = q.IncludeRevoked || q.CreatedBy != "" }, nil), []string{listsCreator}},
	{"List by creator ignores the user", lists(hasCreator, func(q *tokenauth.Query) { q.UserID, q.AllUsers = "", true }, anyRecord), []string{listsCreator}},
	{"List by creator ignores the limit", onList(func(q *tokenauth.Query) {
		if q.CreatedBy != "" {
			q.Limit = min(0, q.Limit)
		}
	}, nil), []string{listsCreator}},
	{"List by creator ignores the cursor", onList(func(q *tokenauth.Query) {
		if q.CreatedBy != "" {
			q.After = tokenauth.Cursor{}
		}
	}, nil), []string{listsCreator}},
	{"List by ID ignores the creator", lists(func(q tokenauth.Query) bool { return q.IDs != nil }, func(q *tokenauth.Query) { q.CreatedBy = "" }, anyRecord), []string{combinesFields}},
	{"List by name ignores the creator", lists(func(q tokenauth.Query) bool { return q.Name != "" }, func(q *tokenauth.Query) { q.CreatedBy = "" }, anyRecord), []string{combinesFields}},
	{"List by slot ignores the creator", lists(func(q tokenauth.Query) bool { return q.MaxSlot > 0 }, func(q *tokenauth.Query) { q.CreatedBy = "" }, anyRecord), []string{combinesFields}},
	{"List looks for a creator among 100 records", filtersFew(func(q *tokenauth.Query) func(tokenauth.Record) bool {
		by := q.CreatedBy
		if q.CreatedBy = ""; by == "" {
			return nil
		}
		return func(r tokenauth.Record) bool { return r.Token.CreatedBy == by }
	}), []string{fillsPages}},
}

func noCreator(r *tokenauth.Record) { r.Token.CreatedBy = "" }

func anyRecord(tokenauth.Query, tokenauth.Record) bool { return true }

func hasExpiry(q tokenauth.Query) bool { return !q.ExpiresBefore.IsZero() }

// expiresBy returns a function that breaks the List method of a store: it compares ExpiresAt with
// ExpiresBefore by f.
func expiresBy(f func(at, before time.Time) bool) func(*brokenStore) {
	return lists(hasExpiry, func(q *tokenauth.Query) { q.ExpiresBefore = time.Time{} }, func(q tokenauth.Query, r tokenauth.Record) bool {
		return f(r.Token.ExpiresAt, q.ExpiresBefore)
	})
}

// expiringBugs are bugs of queries with ExpiresBefore.
var expiringBugs = []bug{
	{"List ignores ExpiresBefore", expiresBy(func(_, _ time.Time) bool { return true }), []string{listsExpiring, combinesFields}},
	{"List includes tokens that expire at ExpiresBefore", expiresBy(func(at, before time.Time) bool {
		return !at.IsZero() && !at.After(micros(before))
	}), []string{listsExpiring, listsExpiryTimes}},
	{"List includes tokens that never expire", expiresBy(func(at, before time.Time) bool { return at.Before(micros(before)) }), []string{listsExpiring, listsExpiryTimes}},
	{"List includes tokens that expire in the microsecond of ExpiresBefore", expiresBy(func(at, before time.Time) bool {
		return !at.IsZero() && at.Before(before)
	}), []string{listsExpiring, listsExpiryTimes}},
	{"List compares expiries in seconds", expiresBy(func(at, before time.Time) bool { return !at.IsZero() && at.Unix() < before.Unix() }), []string{listsExpiring}},
	{"List compares expiries as float64 numbers", expiresBy(func(at, before time.Time) bool {
		return !at.IsZero() && float64(at.UnixMicro()) < float64(before.UnixMicro())
	}), []string{listsExpiryTimes}},
	{"List compares expiries as unsigned numbers", expiresBy(func(at, before time.Time) bool {
		return !at.IsZero() && uint64(at.UnixMicro()) < uint64(before.UnixMicro())
	}), []string{listsExpiryTimes}},
	{"List with ExpiresBefore omits expired tokens", expiresBy(func(at, before time.Time) bool {
		return endsBefore(at, before) && !at.Before(start)
	}), []string{listsExpiring}},
	{"List with ExpiresBefore omits imported tokens", lists(hasExpiry, func(*tokenauth.Query) {}, func(_ tokenauth.Query, r tokenauth.Record) bool {
		return !isImported(r)
	}), []string{listsExpiring}},
	{"List with ExpiresBefore omits revoked tokens", onList(func(q *tokenauth.Query) { q.IncludeRevoked = q.IncludeRevoked && !hasExpiry(*q) }, nil), []string{listsExpiring}},
	{"List with ExpiresBefore includes revoked tokens", onList(func(q *tokenauth.Query) { q.IncludeRevoked = q.IncludeRevoked || hasExpiry(*q) }, nil), []string{listsExpiring}},
	{"List with ExpiresBefore ignores the user", lists(hasExpiry, func(q *tokenauth.Query) { q.UserID, q.AllUsers = "", true }, anyRecord), []string{listsExpiring}},
	{"List with ExpiresBefore is in the order of expiries", func(s *brokenStore) {
		s.list = func(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
			records, err := s.plainStore.List(ctx, q)
			if hasExpiry(q) {
				sortByExpiry(records)
			}
			return records, err
		}
	}, []string{listsExpiring}},
	{"List by ID ignores ExpiresBefore", lists(func(q tokenauth.Query) bool { return q.IDs != nil }, func(q *tokenauth.Query) { q.ExpiresBefore = time.Time{} }, anyRecord), []string{combinesFields}},
	{"List by name ignores ExpiresBefore", lists(func(q tokenauth.Query) bool { return q.Name != "" }, func(q *tokenauth.Query) { q.ExpiresBefore = time.Time{} }, anyRecord), []string{combinesFields}},
	{"List by slot ignores ExpiresBefore", lists(func(q tokenauth.Query) bool { return q.MaxSlot > 0 }, func(q *tokenauth.Query) { q.ExpiresBefore = time.Time{} }, anyRecord), []string{combinesFields}},
	{"List by creator ignores ExpiresBefore", lists(hasCreator, func(q *tokenauth.Query) { q.ExpiresBefore = time.Time{} }, anyRecord), []string{combinesFields}},
	{"List looks for expiries among 100 records", filtersFew(func(q *tokenauth.Query) func(tokenauth.Record) bool {
		before := q.ExpiresBefore
		if q.ExpiresBefore = (time.Time{}); before.IsZero() {
			return nil
		}
		return func(r tokenauth.Record) bool { return expiresBefore(r, before) }
	}), []string{fillsPages}},
}

func sortByExpiry(records []tokenauth.Record) {
	slices.SortStableFunc(records, func(a, b tokenauth.Record) int { return a.Token.ExpiresAt.Compare(b.Token.ExpiresAt) })
}
