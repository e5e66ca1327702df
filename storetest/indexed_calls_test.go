package storetest

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// The methods of indexedStore.

func (s *indexedStore) Create(ctx context.Context, records ...tokenauth.Record) error {
	return s.locked(ctx, func() error {
		var added []tokenauth.Record
		for _, r := range records {
			r = kept(r)
			if old, ok := s.records[r.Token.ID]; ok && old.Digest == r.Digest && old.Token.UserID == r.Token.UserID {
				noteRecord(s.again, r)
				continue
			}
			if err := s.conflict(r); err != nil {
				for _, undone := range added {
					s.put("Create that fails", &undone, nil)
				}
				return err
			}
			s.put("Create", nil, &r)
			added = append(added, r)
		}
		return nil
	})
}

// noteRecord calls f with r, unless f is nil.
func noteRecord(f func(tokenauth.Record), r tokenauth.Record) {
	if f != nil {
		f(r)
	}
}

func (s *indexedStore) conflict(r tokenauth.Record) error {
	_, ok := s.records[r.Token.ID]
	switch {
	case ok, s.taken(byDigest, r):
		return tokenauth.ErrKeyTaken
	case s.taken(byName, r):
		return tokenauth.ErrNameTaken
	case s.taken(bySlot, r):
		return tokenauth.ErrSlotTaken
	}
	return nil
}

// taken reports whether an index has a key of r for another record.
func (s *indexedStore) taken(name string, r tokenauth.Record) bool {
	return slices.ContainsFunc(keysOf(&r)[name], func(key string) bool {
		id, ok := s.indices[name].ids[key]
		return ok && id != r.Token.ID
	})
}

func (s *indexedStore) Find(ctx context.Context, d tokenauth.Digest) (found *tokenauth.Record, err error) {
	err = s.locked(ctx, func() error {
		id, ok := s.indices[byDigest].ids[string(d[:])]
		if !ok {
			return tokenauth.ErrNotFound
		}
		records, err := s.read([]string{id})
		switch {
		case err != nil:
			return err
		case len(records) == 0:
			return tokenauth.ErrNotFound
		}
		found = &records[0]
		return nil
	})
	return found, err
}

func (s *indexedStore) List(ctx context.Context, q tokenauth.Query) (records []tokenauth.Record, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if q.AllUsers == (q.UserID != "") || q.Limit < 0 || q.MinSlot < 0 || q.MaxSlot < q.MinSlot || q.MaxSlot > math.MaxInt32 {
		return nil, errors.New("malformed query")
	}
	err = s.locked(ctx, func() error {
		found, err := s.read(s.candidates(q))
		for _, r := range inOrder(found...) {
			if q.Limit > 0 && len(records) == q.Limit {
				break
			}
			if (q.AllUsers || r.Token.UserID == q.UserID) && compare(r.Token.Cursor(), q.After) > 0 &&
				(usesExpiries(q) || expiresBefore(r, q.ExpiresBefore)) && // the index of expiries is trusted, too
				(q.Name == "" || r.Token.Name == q.Name || q.IDs == nil && !q.AllUsers) && // the index of names is trusted
				(q.CreatedBy == "" || r.Token.CreatedBy == q.CreatedBy) &&
				(q.IncludeRevoked || q.IDs == nil && !usesCreators(q) || isLive(r)) && (q.MaxSlot == 0 || r.Slot != 0 && r.Slot >= q.MinSlot && r.Slot <= q.MaxSlot) {
				records = append(records, r)
			}
		}
		return err
	})
	return records, err
}

// usesCreators and usesExpiries report whether candidates uses the index of creators or of
// expiries.
func usesCreators(q tokenauth.Query) bool { return q.IDs == nil && q.AllUsers && q.CreatedBy != "" }

func usesExpiries(q tokenauth.Query) bool {
	return q.IDs == nil && q.AllUsers && q.CreatedBy == "" && !q.ExpiresBefore.IsZero() && !q.IncludeRevoked
}

// candidates returns the IDs that the best index has for q. The index of live tokens is the only
// source of the knowledge that a token is live.
func (s *indexedStore) candidates(q tokenauth.Query) []string {
	name, prefix, after := liveOfAll, "", cursorKey(q.After)
	switch {
	case q.IDs != nil:
		ids := slices.Compact(slices.Sorted(slices.Values(q.IDs)))
		return slices.DeleteFunc(ids, func(id string) bool { _, ok := s.records[id]; return !ok })
	case usesCreators(q):
		name, prefix = byCreator, part(q.CreatedBy)
	case usesExpiries(q):
		return s.due(byExpiry, micros(q.ExpiresBefore).Add(-time.Microsecond))
	case q.AllUsers && q.IncludeRevoked:
		name = allOfAll
	case q.AllUsers:
	case q.Name != "" && q.IncludeRevoked:
		name, prefix = byAllNames, part(q.UserID)+part(q.Name)
	case q.Name != "":
		return s.indices[byName].scan(part(q.UserID)+part(q.Name), "")
	case q.MaxSlot > 0:
		return s.indices[bySlot].scan(part(q.UserID), "")
	case q.IncludeRevoked:
		name, prefix = allOfUser, part(q.UserID)
	default:
		name, prefix = liveOfUser, part(q.UserID)
	}
	return s.indices[name].scan(prefix, prefix+after)
}

// change passes a copy of a record to f. If f returns nil, the copy replaces the record.
func (s *indexedStore) change(ctx context.Context, method, userID, id string, f func(r *tokenauth.Record) error) error {
	return s.locked(ctx, func() error {
		old, ok := s.records[id]
		if !ok || old.Token.UserID != userID {
			noteRecord(s.foreign, old)
			return tokenauth.ErrNotFound
		}
		r := kept(old)
		err := f(&r)
		if err == nil {
			r = kept(r)
			s.put(method, &old, &r)
		}
		if s.after != nil {
			s.after(s, method, old, r, err)
		}
		return err
	})
}

func (s *indexedStore) Update(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
	return s.change(ctx, "Update", userID, id, func(r *tokenauth.Record) error {
		if err := checkLive(r, at); err != nil {
			return err
		}
		before, old := *r, p.Replaces
		if p.Name != nil {
			r.Token.Name = *p.Name
		}
		if p.Scopes != nil {
			r.Token.Scopes = *p.Scopes
		}
		if p.Resources != nil {
			r.Token.Resources = *p.Resources
		}
		if p.ExpiresAt != nil {
			r.Token.ExpiresAt = micros(*p.ExpiresAt)
		}
		changed := r.Token.Name != before.Token.Name || changes(before, p)
		switch {
		case old != nil && changed && !replaces(old, before):
			return tokenauth.ErrConflict
		case s.taken(byName, *r):
			return tokenauth.ErrNameTaken
		}
		return nil
	})
}

func (s *indexedStore) Rotate(ctx context.Context, userID, id string, rot tokenauth.Rotation, at time.Time) error {
	return s.change(ctx, "Rotate", userID, id, func(r *tokenauth.Record) error {
		_, taken := s.indices[byDigest].ids[string(rot.Digest[:])]
		switch err := checkLive(r, at); {
		case err != nil || r.Digest == rot.Digest:
			return err
		case r.Token.Generation != rot.Replaces:
			return tokenauth.ErrConflict
		case taken:
			return tokenauth.ErrKeyTaken
		}
		*r = rotated(*r, rot)
		return nil
	})
}

func (s *indexedStore) Revoke(ctx context.Context, userID, id string, at time.Time, by string) error {
	return s.change(ctx, "Revoke", userID, id, func(r *tokenauth.Record) error {
		if isLive(*r) {
			*r = revokedBy(*r, at, by)
		}
		return nil
	})
}

func (s *indexedStore) RevokeExpired(ctx context.Context, userID, id string, at time.Time, by string, unusedSince time.Time) error {
	return s.change(ctx, "RevokeExpired", userID, id, func(r *tokenauth.Record) error {
		switch {
		case isLive(*r) && !r.Token.ExpiredAt(at) && !isIdle(*r, unusedSince):
			return tokenauth.ErrConflict
		case isLive(*r):
			*r = revokedBy(*r, at, by)
		}
		return nil
	})
}

func (s *indexedStore) RevokeAll(ctx context.Context, userID string, at time.Time, by string, limit int) (n int, err error) {
	err = s.locked(ctx, func() error {
		if limit <= 0 {
			return errors.New("the limit must be positive")
		}
		ids := s.indices[liveOfUser].scan(part(userID), "")
		live, err := s.read(ids[:min(limit, len(ids))])
		for _, old := range live {
			r := kept(revokedBy(old, at, by))
			s.put("RevokeAll", &old, &r)
			n++
		}
		return err
	})
	return n, err
}

func (s *indexedStore) Touch(ctx context.Context, uses ...tokenauth.Use) error {
	return s.locked(ctx, func() error {
		for _, u := range uses {
			old, ok := s.records[u.ID]
			r := kept(old)
			r.Token.LastUsedAt = micros(u.At)
			r.Token.LastUsedAt = lastUse(r.Token)
			if ok && r.Token.LastUsedAt.After(old.Token.LastUsedAt) {
				s.put("Touch", &old, &r)
				noteRecord(s.used, r)
			}
		}
		return nil
	})
}

func (s *indexedStore) Prune(ctx context.Context, before, unusedSince time.Time, limit int) (n int, err error) {
	err = s.locked(ctx, func() error {
		due := s.due(byDeath, micros(before).Add(-time.Microsecond))
		if !unusedSince.IsZero() {
			due = append(due, s.due(byLastUse, unusedSince)...)
		}
		dead, err := s.read(due)
		for _, r := range dead {
			if _, ok := s.records[r.Token.ID]; ok && n < limit { // a record may be in both indices
				s.put("Prune", &r, nil)
				n++
			}
		}
		return err
	})
	return n, err
}

// due returns the IDs of the entries of an index whose time is at most t.
func (s *indexedStore) due(name string, t time.Time) []string {
	x := s.indices[name]
	end, _ := slices.BinarySearch(x.keys, position(t)+"~")
	var ids []string
	for _, key := range x.keys[:end] {
		ids = append(ids, x.ids[key])
	}
	return ids
}
