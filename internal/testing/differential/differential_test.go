package differential

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
)

// A broken store violates the contract in the methods that are not nil.
type broken struct {
	*tokenauth.MemoryStore
	create    func(*tokenauth.MemoryStore, []tokenauth.Record) error
	find      func(*tokenauth.MemoryStore, tokenauth.Digest) (*tokenauth.Record, error)
	list      func(*tokenauth.MemoryStore, tokenauth.Query) ([]tokenauth.Record, error)
	update    func(*tokenauth.MemoryStore, string, string, tokenauth.Patch, time.Time) error
	rotate    func(*tokenauth.MemoryStore, string, string, tokenauth.Rotation, time.Time) error
	revoke    func(*tokenauth.MemoryStore, string, string, time.Time, string) error
	revokeAll func(*tokenauth.MemoryStore, string, time.Time, string, int) (int, error)
	touch     func(*tokenauth.MemoryStore, []tokenauth.Use) error
	prune     func(*tokenauth.MemoryStore, time.Time, time.Time, int) (int, error)
}

func (b *broken) Create(ctx context.Context, records ...tokenauth.Record) error {
	if b.create == nil {
		return b.MemoryStore.Create(ctx, records...)
	}
	return b.create(b.MemoryStore, records)
}

func (b *broken) Find(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
	if b.find == nil {
		return b.MemoryStore.Find(ctx, d)
	}
	return b.find(b.MemoryStore, d)
}

func (b *broken) List(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
	if b.list == nil {
		return b.MemoryStore.List(ctx, q)
	}
	return b.list(b.MemoryStore, q)
}

func (b *broken) Update(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
	if b.update == nil {
		return b.MemoryStore.Update(ctx, userID, id, p, at)
	}
	return b.update(b.MemoryStore, userID, id, p, at)
}

func (b *broken) Rotate(ctx context.Context, userID, id string, r tokenauth.Rotation, at time.Time) error {
	if b.rotate == nil {
		return b.MemoryStore.Rotate(ctx, userID, id, r, at)
	}
	return b.rotate(b.MemoryStore, userID, id, r, at)
}

func (b *broken) Revoke(ctx context.Context, userID, id string, at time.Time, by string) error {
	if b.revoke == nil {
		return b.MemoryStore.Revoke(ctx, userID, id, at, by)
	}
	return b.revoke(b.MemoryStore, userID, id, at, by)
}

func (b *broken) RevokeAll(ctx context.Context, userID string, at time.Time, by string, limit int) (int, error) {
	if b.revokeAll == nil {
		return b.MemoryStore.RevokeAll(ctx, userID, at, by, limit)
	}
	return b.revokeAll(b.MemoryStore, userID, at, by, limit)
}

func (b *broken) Touch(ctx context.Context, uses ...tokenauth.Use) error {
	if b.touch == nil {
		return b.MemoryStore.Touch(ctx, uses...)
	}
	return b.touch(b.MemoryStore, uses)
}

func (b *broken) Prune(ctx context.Context, before, unusedSince time.Time, limit int) (int, error) {
	if b.prune == nil {
		return b.MemoryStore.Prune(ctx, before, unusedSince, limit)
	}
	return b.prune(b.MemoryStore, before, unusedSince, limit)
}

type memory = *tokenauth.MemoryStore

var ctx = context.Background()

// brokenStores are stores with mistakes of the kinds that databases and caches cause.
var brokenStores = map[string]broken{
	"creates the records before a conflict": {create: func(m memory, all []tokenauth.Record) error {
		for _, r := range all {
			if err := m.Create(ctx, r); err != nil {
				return err
			}
		}
		return nil
	}},
	"keeps the scopes of the caller": {create: func(m memory, all []tokenauth.Record) error {
		err := m.Create(ctx, all...)
		for _, r := range all {
			if stored, _ := m.Find(ctx, r.Digest); err == nil && len(stored.Token.Scopes) == len(r.Token.Scopes) {
				stored.Token.Scopes = r.Token.Scopes
			}
		}
		return err
	}},
	"reads an empty text as no resources": {create: func(m memory, all []tokenauth.Record) error {
		for i := range all {
			if all[i].Token.Resources == nil {
				all[i].Token.Resources = []string{}
			}
		}
		return m.Create(ctx, all...)
	}},
	"cuts off creators after 254 bytes": {create: func(m memory, all []tokenauth.Record) error {
		for i := range all {
			all[i].Token.CreatedBy = all[i].Token.CreatedBy[:min(254, len(all[i].Token.CreatedBy))]
		}
		return m.Create(ctx, all...)
	}},
	"ignores trailing spaces of names": {create: func(m memory, all []tokenauth.Record) error {
		for i := range all {
			all[i].Token.Name = strings.TrimRight(all[i].Token.Name, " ")
		}
		return m.Create(ctx, all...)
	}},
	"cuts off user IDs after 254 bytes": {create: func(m memory, all []tokenauth.Record) error {
		for i := range all {
			all[i].Token.UserID = all[i].Token.UserID[:min(254, len(all[i].Token.UserID))]
		}
		return m.Create(ctx, all...)
	}},
	"rounds times toward zero": {create: func(m memory, all []tokenauth.Record) error {
		for i := range all {
			if t := &all[i].Token; t.ExpiresAt.Unix() < 0 && t.ExpiresAt.Nanosecond()%1000 != 0 {
				t.ExpiresAt = t.ExpiresAt.Add(time.Microsecond)
			}
		}
		return m.Create(ctx, all...)
	}},
	"does not find retired digests": {find: func(m memory, d tokenauth.Digest) (*tokenauth.Record, error) {
		r, err := m.Find(ctx, d)
		if err == nil && r.Digest != d {
			return nil, tokenauth.ErrNotFound
		}
		return r, err
	}},
	"fails to find": {find: func(m memory, d tokenauth.Digest) (*tokenauth.Record, error) {
		r, err := m.Find(ctx, d)
		if err != nil {
			err = errors.New("no rows")
		}
		return r, err
	}},
	"panics": {find: func(m memory, d tokenauth.Digest) (*tokenauth.Record, error) {
		r, err := m.Find(ctx, d)
		_ = r.Token
		return r, err
	}},
	"ignores the ID of a cursor": {list: func(m memory, q tokenauth.Query) ([]tokenauth.Record, error) {
		q.After.ID = ""
		return m.List(ctx, q)
	}},
	"compares names without case": {list: func(m memory, q tokenauth.Query) ([]tokenauth.Record, error) {
		name, limit := q.Name, q.Limit
		if name == "" || q.Limit < 0 {
			return m.List(ctx, q)
		}
		q.Name, q.Limit = "", 0
		all, err := m.List(ctx, q)
		all = slices.DeleteFunc(all, func(r tokenauth.Record) bool { return !strings.EqualFold(r.Token.Name, name) })
		if limit > 0 {
			all = all[:min(limit, len(all))]
		}
		return all, err
	}},
	"lists slot 0 too": {list: func(m memory, q tokenauth.Query) ([]tokenauth.Record, error) {
		if q.MinSlot == 0 && q.MaxSlot > 1<<30 {
			q.MaxSlot = 0
		}
		return m.List(ctx, q)
	}},
	"compares creators without case": {list: func(m memory, q tokenauth.Query) ([]tokenauth.Record, error) {
		by, limit := q.CreatedBy, q.Limit
		if by == "" || q.Limit < 0 {
			return m.List(ctx, q)
		}
		q.CreatedBy, q.Limit = "", 0
		all, err := m.List(ctx, q)
		all = slices.DeleteFunc(all, func(r tokenauth.Record) bool { return !strings.EqualFold(r.Token.CreatedBy, by) })
		if limit > 0 {
			all = all[:min(limit, len(all))]
		}
		return all, err
	}},
	"lists tokens that expire at the given time": {list: func(m memory, q tokenauth.Query) ([]tokenauth.Record, error) {
		if !q.ExpiresBefore.IsZero() {
			q.ExpiresBefore = q.ExpiresBefore.Add(time.Microsecond)
		}
		return m.List(ctx, q)
	}},
	"updates to all resources change nothing": {update: func(m memory, u, id string, p tokenauth.Patch, at time.Time) error {
		if p.Resources != nil && *p.Resources == nil {
			p.Resources = nil
		}
		return m.Update(ctx, u, id, p, at)
	}},
	"never checks the resources that an update replaces": {update: func(m memory, u, id string, p tokenauth.Patch, at time.Time) error {
		if all, _ := m.List(ctx, tokenauth.Query{UserID: u, IDs: []string{id}}); len(all) == 1 && p.Replaces != nil {
			p.Replaces.Resources = all[0].Token.Resources
		}
		return m.Update(ctx, u, id, p, at)
	}},
	"never checks what an update replaces": {update: func(m memory, u, id string, p tokenauth.Patch, at time.Time) error {
		p.Replaces = nil
		return m.Update(ctx, u, id, p, at)
	}},
	"updates a token that expires now": {update: func(m memory, u, id string, p tokenauth.Patch, at time.Time) error {
		return m.Update(ctx, u, id, p, at.Add(-time.Microsecond))
	}},
	"rotates any generation": {rotate: func(m memory, u, id string, r tokenauth.Rotation, at time.Time) error {
		if all, _ := m.List(ctx, tokenauth.Query{UserID: u, IDs: []string{id}}); len(all) == 1 {
			r.Replaces = all[0].Token.Generation
		}
		return m.Rotate(ctx, u, id, r, at)
	}},
	"forgets who revoked a token": {revoke: func(m memory, u, id string, at time.Time, _ string) error {
		return m.Revoke(ctx, u, id, at, "")
	}},
	"forgets who revoked all tokens": {revokeAll: func(m memory, u string, at time.Time, _ string, limit int) (int, error) {
		return m.RevokeAll(ctx, u, at, "", limit)
	}},
	"revokes one token too many": {revokeAll: func(m memory, u string, at time.Time, by string, limit int) (int, error) {
		n, err := m.RevokeAll(ctx, u, at, by, limit+1)
		return min(n, max(limit, 0)), err
	}},
	"counts one token too few": {revokeAll: func(m memory, u string, at time.Time, by string, limit int) (int, error) {
		n, err := m.RevokeAll(ctx, u, at, by, limit)
		return max(n-1, 0), err
	}},
	"touches with the last of two uses": {touch: func(m memory, all []tokenauth.Use) error {
		last := map[string]tokenauth.Use{}
		for _, u := range all {
			last[u.ID] = u
		}
		for _, u := range last {
			if err := m.Touch(ctx, u); err != nil {
				return err
			}
		}
		return nil
	}},
	"prunes imported records": {prune: func(m memory, before, unused time.Time, limit int) (int, error) {
		n, err := m.Prune(ctx, before, unused, limit)
		all, _ := m.List(ctx, everything)
		kept := slices.DeleteFunc(all, func(r tokenauth.Record) bool { return r.Token.Origin != "" && n > 0 })
		*m = *holding(kept)
		return n, err
	}},
	"prunes tokens that are used now": {prune: func(m memory, before, unused time.Time, limit int) (int, error) {
		if !unused.IsZero() {
			unused = unused.Add(time.Microsecond)
		}
		return m.Prune(ctx, before, unused, limit)
	}},
}

// Each broken store must be found within 100 rounds, and the reproduction must be short. Otherwise
// the tests that use this package may miss the mistakes of a real store.
func TestCheckFindsBrokenStores(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	t.Parallel()
	for name, store := range brokenStores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target := Target{Open: func() tokenauth.Store {
				s := store
				s.MemoryStore = tokenauth.NewMemoryStore()
				return &s
			}}
			for seed := range uint64(100) {
				if report := check(target, mode{}, seed, 80); report != "" {
					require.Less(t, strings.Count(report, "\nstore."), 7, report)
					t.Log("seed", seed, report)
					return
				}
			}
			require.Fail(t, "no difference was found")
		})
	}
}

// A store that ignores the rollback of its transaction must be found. Otherwise With could return a
// store that does not use the transaction.
func TestCheckFindsStoreOutsideTransaction(t *testing.T) {
	t.Parallel()
	db, store := sqlite.New(t), tokenauth.NewMemoryStore()
	target := Target{
		Open: func() tokenauth.Store { store = tokenauth.NewMemoryStore(); return store },
		Begin: func(ctx context.Context, opts *sql.TxOptions) (*sql.Tx, tokenauth.Store, error) {
			tx, err := db.BeginTx(ctx, opts)
			return tx, store, err
		},
	}
	report := check(target, mode{transactional: true}, 1, 100)
	require.Contains(t, report, "tx.Rollback()")
}

// The calls of a round must depend on its seed alone. Otherwise a failure of CI cannot be
// reproduced.
func TestSameSeedGeneratesSameCalls(t *testing.T) {
	t.Parallel()
	for _, m := range []mode{{}, {cached: true}, {transactional: true}} {
		require.Equal(t, source(generate(m, 1, 100)), source(generate(m, 1, 100)))
		require.NotEqual(t, source(generate(m, 1, 10)), source(generate(m, 2, 10)))
	}
}
