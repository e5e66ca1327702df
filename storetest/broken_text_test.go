package storetest

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

const (
	keepsUsersApart  = "keep users apart whose IDs and names have the same text if they are joined"
	keepsScopesApart = "keep scopes apart, whatever punctuation characters they contain"
	comparesIDs      = "compare token IDs byte by byte"
	ordersTimes      = "order records whose CreatedAt differ by a microsecond, in all years from 1 to 9999"
	prunesTimes      = "compare expiries and revocations with the time of Prune to the microsecond, in all years from 1 to 9999"
	idlesTimes       = "compare last-used times with unusedSince to the microsecond, in all years from 1 to 9999"
	expiresTimes     = "compare expiries with the current time to the microsecond, in all years from 1 to 9999"
	combinesFields   = "list the records that all set fields of a query select, for each combination of fields"
	fillsPages       = "fill a page with the records that the query selects if many other records precede them"
)

// joined returns a function that breaks the Create method of a store, as if names and slots had a
// key of the user ID, a separator, and the name or the slot.
func joined(separator string) func(*brokenStore) {
	return refuseIf(tokenauth.ErrNameTaken, func(old, r tokenauth.Record) bool {
		return isLive(old) && isLive(r) && old.Token.UserID != r.Token.UserID &&
			old.Token.UserID+separator+old.Token.Name == r.Token.UserID+separator+r.Token.Name
	})
}

// joinScopes returns a function that breaks the methods Create and Update of a store, as if scopes
// were stored as one text with a separator.
func joinScopes(separator string) func(*brokenStore) {
	split := func(scopes []string) []string { return strings.Split(strings.Join(scopes, separator), separator) }
	return func(s *brokenStore) {
		beforeCreate(func(_ *brokenStore, r *tokenauth.Record) error {
			if len(r.Token.Scopes) > 0 {
				r.Token.Scopes = split(r.Token.Scopes)
			}
			return nil
		})(s)
		onUpdate(func(_ *brokenStore, _, _ *string, p *tokenauth.Patch, _ *time.Time) {
			if p.Scopes != nil && len(*p.Scopes) > 0 {
				p.Scopes = new(split(*p.Scopes))
			}
		})(s)
	}
}

// sortBy returns a function that breaks the List method of a store, which compares the keys of the
// records' CreatedAt instead of the times.
func sortBy[K any](key func(time.Time) K, compare func(a, b K) int) func(*brokenStore) {
	return onList(nil, func(records []tokenauth.Record) []tokenauth.Record {
		slices.SortStableFunc(records, func(a, b tokenauth.Record) int {
			if c := compare(key(a.Token.CreatedAt), key(b.Token.CreatedAt)); c != 0 {
				return c
			}
			return strings.Compare(a.Token.ID, b.Token.ID)
		})
		return records
	})
}

// inFloat returns a time as it is after its microseconds were a float64.
func inFloat(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return time.UnixMicro(int64(float64(t.UnixMicro()))).UTC()
}

func seconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

func compareOrdered[T int64 | uint64 | float64 | string](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// textBugs are bugs of stores that join texts, or that compare IDs, names or times in another form.
var textBugs = []bug{
	{"user ID and name are joined by a colon", joined(":"), []string{keepsUsersApart}},
	{"user ID and name are joined by a space", joined(" "), []string{keepsUsersApart}},
	{"user ID and name are joined without a separator", joined(""), []string{keepsUsersApart}},
	{"user ID and slot are joined without a separator", refuseIf(tokenauth.ErrSlotTaken, func(old, r tokenauth.Record) bool {
		return isLive(old) && isLive(r) && old.Slot != 0 && r.Slot != 0 &&
			old.Token.UserID != r.Token.UserID && old.Token.UserID+strconv.Itoa(old.Slot) == r.Token.UserID+strconv.Itoa(r.Slot)
	}), []string{keepsUsersApart}},
	{"List finds the tokens of users whose ID begins with the user ID", func(s *brokenStore) {
		s.list = func(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
			if q.UserID == "" || q.AllUsers || q.IDs != nil || q.Limit > 0 {
				return s.plainStore.List(ctx, q)
			}
			all := q
			all.UserID, all.AllUsers = "", true
			records, err := s.plainStore.List(ctx, all)
			return where(records, func(r tokenauth.Record) bool { return strings.HasPrefix(r.Token.UserID, q.UserID) }), err
		}
	}, []string{keepsUsersApart}},
	{"scopes are joined by commas", joinScopes(","), []string{keepsScopesApart}},
	{"scopes are joined by colons", joinScopes(":"), []string{keepsScopesApart}},
	{"Revoke ignores case in token IDs", func(s *brokenStore) {
		s.revoke = func(ctx context.Context, userID, id string, at time.Time, by string) error {
			if r, ok := s.get(func(r tokenauth.Record) bool { return strings.EqualFold(r.Token.ID, id) }); ok {
				id = r.Token.ID
			}
			return s.plainStore.Revoke(ctx, userID, id, at, by)
		}
	}, []string{comparesIDs}},
	{"RevokeAll ignores case in user IDs", func(s *brokenStore) {
		s.revokeAll = func(ctx context.Context, userID string, at time.Time, by string, limit int) (int, error) {
			r, ok := s.get(func(r tokenauth.Record) bool { return isLive(r) && strings.EqualFold(r.Token.UserID, userID) })
			if ok {
				userID = r.Token.UserID
			}
			return s.plainStore.RevokeAll(ctx, userID, at, by, limit)
		}
	}, []string{"compare user IDs byte by byte"}},
	{"List ignores case in names", func(s *brokenStore) {
		s.list = func(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
			name := q.Name
			q.Name = ""
			records, err := s.plainStore.List(ctx, q)
			return where(records, func(r tokenauth.Record) bool { return name == "" || strings.EqualFold(r.Token.Name, name) }), err
		}
	}, []string{"compare names byte by byte", combinesFields}},

	{"List compares times as texts", sortBy(func(t time.Time) string { return strconv.FormatInt(t.UnixMicro(), 10) }, compareOrdered), []string{ordersTimes}},
	{"List compares times as unsigned numbers", sortBy(func(t time.Time) uint64 { return uint64(t.UnixMicro()) }, compareOrdered), []string{ordersTimes}},
	{"List compares times as float64 numbers of microseconds", sortBy(func(t time.Time) float64 { return float64(t.UnixMicro()) }, compareOrdered), []string{ordersTimes}},
	{"List compares times as float64 numbers of seconds", sortBy(seconds, compareOrdered), []string{ordersTimes}},
	{"List compares times in nanoseconds", sortBy(time.Time.UnixNano, compareOrdered), []string{ordersTimes}},
	{"List rounds the cursor up to the microsecond", onList(func(q *tokenauth.Query) {
		if q.After.CreatedAt.Nanosecond()%1000 > 0 {
			q.After.CreatedAt = q.After.CreatedAt.Add(time.Microsecond)
		}
	}, nil), []string{ordersTimes}},
	{"Prune compares times as float64 numbers", func(s *brokenStore) {
		s.prune = func(ctx context.Context, before, unusedSince time.Time, limit int) (int, error) {
			return s.plainStore.Prune(ctx, inFloat(before), inFloat(unusedSince), limit)
		}
	}, []string{prunesTimes, idlesTimes}},
	{"Prune does not round the given time down to the microsecond", func(s *brokenStore) {
		s.prune = func(ctx context.Context, before, unusedSince time.Time, limit int) (int, error) {
			if before.Nanosecond()%1000 > 0 {
				before = before.Add(time.Microsecond)
			}
			return s.plainStore.Prune(ctx, before, unusedSince, limit)
		}
	}, []string{prunesTimes}},
	{"Prune ignores times before 1970", func(s *brokenStore) {
		s.prune = func(ctx context.Context, before, unusedSince time.Time, limit int) (int, error) {
			if before.Unix() < 0 {
				before = time.Time{}
			}
			if unusedSince.Unix() < 0 {
				unusedSince = time.Time{}
			}
			return s.plainStore.Prune(ctx, before, unusedSince, limit)
		}
	}, []string{prunesTimes, idlesTimes}},
	{"Update compares expiries as float64 numbers", onUpdate(func(_ *brokenStore, _, _ *string, _ *tokenauth.Patch, at *time.Time) {
		*at = inFloat(*at)
	}), []string{expiresTimes}},

	{"List of all users ignores the cursor", onList(func(q *tokenauth.Query) {
		if q.AllUsers {
			q.After = tokenauth.Cursor{}
		}
	}, nil), []string{combinesFields, ordersTimes}},
	{"List with revoked tokens ignores the limit", onList(func(q *tokenauth.Query) {
		if q.IncludeRevoked {
			q.Limit = 0
		}
	}, nil), []string{combinesFields, fillsPages}},
	{"List with revoked tokens ignores the cursor", onList(func(q *tokenauth.Query) {
		if q.IncludeRevoked {
			q.After = tokenauth.Cursor{}
		}
	}, nil), []string{combinesFields}},
	{"List by name ignores the limit", onList(func(q *tokenauth.Query) {
		if q.Name != "" {
			q.Limit = 0
		}
	}, nil), []string{combinesFields}},
	{"List by ID ignores the cursor for all users", onList(func(q *tokenauth.Query) {
		if q.IDs != nil && q.AllUsers {
			q.After = tokenauth.Cursor{}
		}
	}, nil), []string{combinesFields}},
	{"List applies the limit before it omits revoked tokens", func(s *brokenStore) {
		s.list = func(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
			all := q
			all.IncludeRevoked = true
			records, err := s.plainStore.List(ctx, all)
			return where(records, func(r tokenauth.Record) bool { return q.IncludeRevoked || isLive(r) }), err
		}
	}, []string{combinesFields, fillsPages}},
	{"List looks for live tokens among 100 records", func(s *brokenStore) {
		s.list = func(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
			all := q
			all.IncludeRevoked, all.Limit = true, 100
			records, err := s.plainStore.List(ctx, all)
			if !q.IncludeRevoked {
				records = where(records, isLive)
			}
			if q.Limit > 0 {
				records = records[:min(q.Limit, len(records))]
			}
			return records, err
		}
	}, []string{fillsPages}},
}
