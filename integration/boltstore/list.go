package boltstore

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/go-tokenauth/tokenauth"
)

// List implements [tokenauth.Store].
func (s *Store) List(ctx context.Context, q tokenauth.Query) (found []tokenauth.Record, err error) {
	if err := check(q); err != nil {
		return nil, err
	}
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		found, err = selected(tx, q)
		return err
	})
	return found, err
}

func check(q tokenauth.Query) error {
	switch {
	case q.AllUsers == (q.UserID != ""):
		return errors.New("boltstore: List needs either a user ID or AllUsers")
	case q.Limit < 0:
		return errors.New("boltstore: the limit of List must not be negative")
	case q.MinSlot < 0 || q.MaxSlot < q.MinSlot || q.MaxSlot > math.MaxInt32:
		return errors.New("boltstore: List requires 0 <= MinSlot <= MaxSlot <= 2147483647")
	}
	return nil
}

// selected returns the records that q selects. It reads the smallest index that contains them.
func selected(tx *bbolt.Tx, q tokenauth.Query) (found []tokenauth.Record, err error) {
	visit := func(r *tokenauth.Record) bool {
		if selects(q, r) {
			found = append(found, *r)
		}
		return q.Limit == 0 || len(found) < q.Limit
	}
	if q.IDs != nil || !q.AllUsers && (q.MaxSlot > 0 || q.Name != "" && !q.IncludeRevoked) {
		candidates, err := candidates(tx, q)
		for _, r := range candidates {
			if !visit(r) {
				break
			}
		}
		return found, err
	}
	var after []byte
	if q.After != (tokenauth.Cursor{}) {
		after = position(q.After)
	}
	switch {
	case q.AllUsers && q.CreatedBy != "":
		err = walk(tx, creators, userKey(q.CreatedBy), after, visit)
	case q.AllUsers && q.IncludeRevoked:
		err = walk(tx, all, nil, after, visit)
	case q.AllUsers:
		err = walk(tx, live, nil, after, visit)
	case q.IncludeRevoked:
		err = walk(tx, userAll, userKey(q.UserID), after, visit)
	default:
		err = walk(tx, userLive, userKey(q.UserID), after, visit)
	}
	return found, err
}

// selects reports whether q selects a record, without the limit of q.
func selects(q tokenauth.Query, r *tokenauth.Record) bool {
	return (q.AllUsers || r.Token.UserID == q.UserID) &&
		(q.IncludeRevoked || r.Token.RevokedAt.IsZero()) &&
		(q.Name == "" || r.Token.Name == q.Name) &&
		(q.CreatedBy == "" || r.Token.CreatedBy == q.CreatedBy) &&
		(q.ExpiresBefore.IsZero() || !r.Token.ExpiresAt.IsZero() && r.Token.ExpiresAt.Before(micros(q.ExpiresBefore))) &&
		(q.MaxSlot == 0 || r.Slot >= max(q.MinSlot, 1) && r.Slot <= q.MaxSlot) &&
		(q.After == (tokenauth.Cursor{}) || bytes.Compare(position(r.Token.Cursor()), position(q.After)) > 0)
}

// candidates returns the records that have the IDs, the name or the slots of q, in the order of
// List.
func candidates(tx *bbolt.Tx, q tokenauth.Query) (found []*tokenauth.Record, err error) {
	var ids [][]byte
	switch {
	case q.IDs != nil:
		for _, id := range q.IDs {
			ids = append(ids, []byte(id))
		}
	case q.MaxSlot > 0:
		c, last := tx.Bucket(slots).Cursor(), slotKey(q.UserID, q.MaxSlot)
		for key, id := c.Seek(slotKey(q.UserID, q.MinSlot)); key != nil && bytes.Compare(key, last) <= 0; key, id = c.Next() {
			ids = append(ids, id)
		}
	default:
		ids = append(ids, tx.Bucket(names).Get(userKey(q.UserID, []byte(q.Name)...)))
	}
	for _, id := range ids {
		r, err := load(tx, id)
		if errors.Is(err, tokenauth.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found = append(found, r)
	}
	slices.SortFunc(found, func(a, b *tokenauth.Record) int {
		return bytes.Compare(position(a.Token.Cursor()), position(b.Token.Cursor()))
	})
	// A query may contain the same ID twice.
	return slices.CompactFunc(found, func(a, b *tokenauth.Record) bool { return a.Token.ID == b.Token.ID }), nil
}

// Prune implements [tokenauth.Store]. It first finds the records, and then deletes them in small
// transactions, because all other changes wait while a transaction writes.
func (s *Store) Prune(ctx context.Context, before, unusedSince time.Time, limit int) (n int, err error) {
	p := pruning{micros(before), micros(unusedSince)}
	var dead [][]byte
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		dead, err = p.find(tx, limit)
		return err
	})
	if err != nil {
		return 0, err
	}
	for some := range slices.Chunk(dead, 1000) {
		deleted := 0
		err := s.update(ctx, func(tx *bbolt.Tx) (err error) {
			deleted, err = p.delete(tx, some)
			return err
		})
		if err != nil {
			return n, err
		}
		n += deleted
	}
	return n, nil
}

// delete deletes records, except those that another call has deleted or changed meanwhile.
func (p pruning) delete(tx *bbolt.Tx, ids [][]byte) (n int, err error) {
	for _, id := range ids {
		r, err := load(tx, id)
		if errors.Is(err, tokenauth.ErrNotFound) || err == nil && !p.hasEnded(r) && !p.isIdle(r) {
			continue
		}
		if err == nil {
			err = remove(tx, r)
		}
		if err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}

// A pruning holds the arguments of Prune.
type pruning struct{ before, unusedSince time.Time }

func (p pruning) hasEnded(r *tokenauth.Record) bool {
	end := endOf(r)
	return !end.IsZero() && end.Before(p.before)
}

func (p pruning) isIdle(r *tokenauth.Record) bool {
	return r.Token.Origin == "" && r.Token.RevokedAt.IsZero() && isIdle(r, p.unusedSince)
}

// find returns the IDs of at most limit records that Prune must delete.
func (p pruning) find(tx *bbolt.Tx, limit int) (dead [][]byte, err error) {
	if limit <= 0 {
		return nil, nil
	}
	err = walk(tx, ended, nil, nil, func(r *tokenauth.Record) bool {
		if !p.hasEnded(r) {
			return false // the index is sorted by the time of expiry or revocation
		}
		dead = append(dead, []byte(r.Token.ID))
		return len(dead) < limit
	})
	if err != nil || p.unusedSince.IsZero() || len(dead) == limit {
		return dead, err
	}
	err = walk(tx, live, nil, nil, func(r *tokenauth.Record) bool {
		if p.isIdle(r) && !p.hasEnded(r) { // otherwise dead already contains the ID
			dead = append(dead, []byte(r.Token.ID))
		}
		return len(dead) < limit && !r.Token.CreatedAt.After(p.unusedSince)
	})
	return dead, err
}
