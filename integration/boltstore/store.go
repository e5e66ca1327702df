// Package boltstore is an example of a [tokenauth.Store] on an embedded key-value library, bbolt. A
// Store on another key-value database with transactions has a similar form.
package boltstore

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/go-tokenauth/tokenauth"
)

// A Store is a [tokenauth.Store] that keeps its records in one file.
type Store struct{ db *bbolt.DB }

// Open opens the file at path. If it does not exist, Open creates it. The caller closes the store.
func Open(path string, options *bbolt.Options) (*Store, error) {
	db, err := bbolt.Open(path, 0o600, options)
	if err != nil {
		return nil, err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
	return &Store{db}, err
}

// Close closes the file.
func (s *Store) Close() error { return s.db.Close() }

// update runs change in a transaction. If change returns an error, the transaction changes nothing.
func (s *Store) update(ctx context.Context, change func(tx *bbolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.db.Update(func(tx *bbolt.Tx) error {
		if err := ctx.Err(); err != nil { // Update may have waited for another transaction
			return err
		}
		return change(tx)
	})
}

func (s *Store) view(ctx context.Context, query func(tx *bbolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.db.View(query)
}

// Create implements [tokenauth.Store].
func (s *Store) Create(ctx context.Context, records ...tokenauth.Record) error {
	return s.update(ctx, func(tx *bbolt.Tx) error {
		for i := range records {
			if err := create(tx, normalize(records[i])); err != nil && len(records) > 1 {
				return &tokenauth.RecordError{Index: i, Err: err}
			} else if err != nil {
				return err
			}
		}
		return nil
	})
}

func create(tx *bbolt.Tx, r *tokenauth.Record) error {
	old, err := load(tx, []byte(r.Token.ID))
	switch {
	case errors.Is(err, tokenauth.ErrNotFound):
		return put(tx, nil, r)
	case err != nil:
		return err
	case old.Token.UserID == r.Token.UserID && old.Digest == r.Digest:
		return nil // a repeated call changes nothing
	}
	return tokenauth.ErrKeyTaken
}

// Find implements [tokenauth.Store].
func (s *Store) Find(ctx context.Context, d tokenauth.Digest) (r *tokenauth.Record, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		r, err = load(tx, tx.Bucket(digests).Get(d[:]))
		return err
	})
	return r, err
}

// change changes one token of a user. apply changes a copy of the record.
func (s *Store) change(ctx context.Context, userID, id string, apply func(tx *bbolt.Tx, r *tokenauth.Record) error) error {
	return s.update(ctx, func(tx *bbolt.Tx) error {
		old, err := load(tx, []byte(id))
		if err != nil {
			return err
		}
		if old.Token.UserID != userID {
			return tokenauth.ErrNotFound
		}
		r := *old
		if err := apply(tx, &r); err != nil {
			return err
		}
		return put(tx, old, normalize(r))
	})
}

// Revoke implements [tokenauth.Store].
func (s *Store) Revoke(ctx context.Context, userID, id string, at time.Time, by string) error {
	return s.change(ctx, userID, id, func(_ *bbolt.Tx, r *tokenauth.Record) error {
		revoke(r, at, by)
		return nil
	})
}

func revoke(r *tokenauth.Record, at time.Time, by string) {
	if r.Token.RevokedAt.IsZero() {
		r.Token.RevokedAt, r.Token.RevokedBy = at, by
	}
}

// RevokeExpired implements [tokenauth.Store].
func (s *Store) RevokeExpired(ctx context.Context, userID, id string, at time.Time, by string, unusedSince time.Time) error {
	return s.change(ctx, userID, id, func(_ *bbolt.Tx, r *tokenauth.Record) error {
		if r.Token.RevokedAt.IsZero() && !r.Token.ExpiredAt(at) && !isIdle(r, micros(unusedSince)) {
			return tokenauth.ErrConflict
		}
		revoke(r, at, by)
		return nil
	})
}

func isIdle(r *tokenauth.Record, since time.Time) bool {
	return !since.IsZero() && !r.Token.CreatedAt.After(since) && !r.Token.LastUsedAt.After(since)
}

// changeLive is like change, but returns an error if the token is revoked or expired.
func (s *Store) changeLive(ctx context.Context, userID, id string, at time.Time, apply func(tx *bbolt.Tx, r *tokenauth.Record) error) error {
	return s.change(ctx, userID, id, func(tx *bbolt.Tx, r *tokenauth.Record) error {
		switch {
		case !r.Token.RevokedAt.IsZero():
			return tokenauth.ErrNotFound
		case r.Token.ExpiredAt(at):
			return tokenauth.ErrConflict
		}
		return apply(tx, r)
	})
}

// Update implements [tokenauth.Store].
func (s *Store) Update(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
	return s.changeLive(ctx, userID, id, at, func(_ *bbolt.Tx, r *tokenauth.Record) error {
		old := r.Token
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
		isNew := old.Name != r.Token.Name || !sameRights(&old, &r.Token)
		if p.Replaces != nil && isNew && !sameRights(&old, p.Replaces) {
			return tokenauth.ErrConflict
		}
		return nil
	})
}

func sameRights(a, b *tokenauth.Token) bool {
	return slices.Equal(a.Scopes, b.Scopes) && micros(a.ExpiresAt).Equal(micros(b.ExpiresAt)) &&
		reflect.DeepEqual(a.Resources, b.Resources) // unlike slices.Equal, it tells nil from an empty list
}

// Rotate implements [tokenauth.Store].
func (s *Store) Rotate(ctx context.Context, userID, id string, rot tokenauth.Rotation, at time.Time) error {
	return s.changeLive(ctx, userID, id, at, func(tx *bbolt.Tx, r *tokenauth.Record) error {
		switch {
		case r.Digest == rot.Digest:
			return nil // a repeated call changes nothing
		case r.Token.Generation != rot.Replaces:
			return tokenauth.ErrConflict
		case tx.Bucket(digests).Get(rot.Digest[:]) != nil: // also the retired digest of this token
			return tokenauth.ErrKeyTaken
		}
		r.Retired = &tokenauth.RetiredKey{Digest: r.Digest, Until: rot.GraceUntil}
		r.Digest = rot.Digest
		r.Token.Hint = rot.Hint
		r.Token.Generation++
		return nil
	})
}

// RevokeAll implements [tokenauth.Store].
func (s *Store) RevokeAll(ctx context.Context, userID string, at time.Time, by string, limit int) (n int, err error) {
	if limit <= 0 {
		return 0, errors.New("boltstore: the limit of RevokeAll must be positive")
	}
	err = s.update(ctx, func(tx *bbolt.Tx) error {
		var found []*tokenauth.Record
		err := walk(tx, userLive, userKey(userID), nil, func(r *tokenauth.Record) bool {
			found = append(found, r)
			return len(found) < limit
		})
		if err != nil {
			return err
		}
		for _, old := range found {
			r := *old
			revoke(&r, at, by)
			if err := put(tx, old, normalize(r)); err != nil {
				return err
			}
		}
		n = len(found)
		return nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// Touch implements [tokenauth.Store]. It moves no index entry.
func (s *Store) Touch(ctx context.Context, uses ...tokenauth.Use) error {
	return s.update(ctx, func(tx *bbolt.Tx) error {
		for _, use := range uses {
			r, err := load(tx, []byte(use.ID))
			if errors.Is(err, tokenauth.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			at := micros(use.At)
			if at.Before(r.Token.CreatedAt) {
				at = r.Token.CreatedAt
			}
			if at.After(r.Token.LastUsedAt) {
				r.Token.LastUsedAt = at
				if err := save(tx, r); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// walk calls visit with the records of an index until visit returns false. The keys of the index
// must begin with prefix. walk begins at the key that consists of prefix and first.
func walk(tx *bbolt.Tx, index, prefix, first []byte, visit func(r *tokenauth.Record) bool) error {
	c := tx.Bucket(index).Cursor()
	for key, id := c.Seek(append(slices.Clone(prefix), first...)); key != nil && bytes.HasPrefix(key, prefix); key, id = c.Next() {
		r, err := load(tx, id)
		if err != nil {
			return err
		}
		if !visit(r) {
			return nil
		}
	}
	return nil
}
