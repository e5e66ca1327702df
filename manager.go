package tokenauth

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/go-tokenauth/tokenauth/internal/keyform"
	"github.com/go-tokenauth/tokenauth/internal/lastuse"
	"github.com/go-tokenauth/tokenauth/internal/syntax"
)

// A Manager issues, authenticates, rotates and revokes tokens. A Manager is safe for concurrent
// use.
//
// The comment of each method names the errors that the method returns. Any other error comes from
// the [Store] and means that the store failed. If a token belongs to another user, methods return
// [ErrNotFound]. If a user ID is empty, longer than 255 bytes, not UTF-8 or contains a control
// character, methods return [ErrInvalidSpec].
type Manager struct {
	store   Store
	options Options
	prefix  string
	forms   []keyform.Form   // form of keys with prefix, then one form for each former prefix
	scopes  []string         // allowed scopes, sorted, without duplicates; empty if every well-formed scope is allowed
	lastUse *lastuse.Tracker // nil if last-used times are not recorded
}

// New returns a Manager of the tokens in store. The keys that the Manager issues begin with prefix.
// A prefix consists of 1 to 20 characters a-z, 0-9 and _, starts with a letter, and does not end in
// _. Choose a prefix that no other service uses, so that secret scanners can tell which service a
// leaked key belongs to.
//
// New copies opts, which may be nil. It returns an error for a malformed prefix or an invalid
// option, and panics if store is nil.
func New(store Store, prefix string, opts *Options) (*Manager, error) {
	if isNil(store) {
		panic("tokenauth: New: nil Store")
	}
	m := &Manager{store: store, options: opts.withDefaults(), prefix: prefix}
	if err := keyform.CheckPrefix(prefix); err != nil {
		return nil, fmt.Errorf("tokenauth: New: %w", err)
	}
	if err := m.options.validate(); err != nil {
		return nil, err
	}
	for _, p := range append([]string{prefix}, m.options.FormerPrefixes...) {
		m.forms = append(m.forms, keyform.New(p))
	}
	m.scopes = slices.Compact(slices.Sorted(slices.Values(m.options.Scopes)))
	if m.options.TouchEvery > 0 {
		m.lastUse = lastuse.New(m.options.TouchEvery/2, m.touch, m.flushFailed)
	}
	return m, nil
}

// WithStore returns a Manager with the same options on another store. With a store from
// [SQLStore.With], a service can issue a token and write its own rows in one transaction. OnEvent
// is then called before the transaction commits. WithStore panics if store is nil.
func (m *Manager) WithStore(store Store) *Manager {
	if isNil(store) {
		panic("tokenauth: WithStore: nil Store")
	}
	c := *m
	c.store = store
	return &c
}

// Scopes returns the scopes of [Options].Scopes, sorted and without duplicates. If every
// well-formed scope is allowed, Scopes returns none.
func (m *Manager) Scopes() []string { return slices.Clone(m.scopes) }

// MaxTTL returns [Options].MaxTTL, the longest allowed time from now to an expiry. Zero means no
// limit.
func (m *Manager) MaxTTL() time.Duration { return m.options.MaxTTL }

// Get returns the token of a user with the given ID, even if the token is revoked. If the user has
// no such token, Get returns [ErrNotFound].
func (m *Manager) Get(ctx context.Context, userID, id string) (Token, error) {
	r, err := m.get(ctx, userID, id)
	return r.Token, err
}

func (m *Manager) get(ctx context.Context, userID, id string) (Record, error) {
	if err := checkTarget(userID, id); err != nil {
		return Record{}, err
	}
	records, err := m.store.List(ctx, Query{UserID: userID, IDs: []string{id}, IncludeRevoked: true, Limit: 1})
	if err != nil {
		return Record{}, err
	}
	if len(records) == 0 {
		return Record{}, ErrNotFound
	}
	return records[0], nil
}

func checkUserID(id string) error { return invalid("user_id", syntax.UserID(id)) }

func checkTarget(userID, id string) error {
	if err := checkUserID(userID); err != nil {
		return err
	}
	if !syntax.IsWord(id) {
		return ErrNotFound
	}
	return nil
}

// List returns the tokens that q selects, oldest first. To get the next page, set Query.After to
// the [Token.Cursor] of the last token. List returns [ErrInvalidSpec] if q is invalid.
func (m *Manager) List(ctx context.Context, q Query) ([]Token, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	if !q.AllUsers {
		if err := checkUserID(q.UserID); err != nil {
			return nil, err
		}
	}
	if q.IDs != nil {
		q.IDs = slices.DeleteFunc(slices.Clone(q.IDs), func(id string) bool { return !syntax.IsWord(id) })
	}
	records, err := m.store.List(ctx, q)
	if err != nil {
		return nil, err
	}
	tokens := make([]Token, len(records))
	for i := range records {
		tokens[i] = records[i].Token
	}
	return tokens, nil
}

// Update changes the fields of a token that p sets, and returns the changed token.
//
// Update returns [ErrNotFound] if the token does not exist or is revoked, [ErrConflict] if the
// token is expired, [ErrNameTaken] or [ErrInvalidSpec]. After any other error, the change may have
// been made. It is safe to repeat the call.
func (m *Manager) Update(ctx context.Context, userID, id string, p Patch) (Token, error) {
	if err := checkTarget(userID, id); err != nil {
		return Token{}, err
	}
	now := m.options.Now()
	var nameErr, scopesErr, expiryErr error
	p.Name, nameErr = checked("name", p.Name, syntax.Name)
	p.Scopes, scopesErr = checked("scopes", p.Scopes, func(s []string) ([]string, error) { return syntax.Scopes(s, m.scopes) })
	p.ExpiresAt, expiryErr = checked("expires_at", p.ExpiresAt, func(t time.Time) (time.Time, error) { return m.checkExpiry(t, now) })
	if err := cmp.Or(nameErr, scopesErr, expiryErr); err != nil {
		return Token{}, err
	}
	if err := m.store.Update(ctx, userID, id, p, now); err != nil {
		return Token{}, err
	}
	t, err := m.Get(ctx, userID, id)
	if err == nil {
		m.emit(ctx, Event{Kind: EventUpdated, Token: t.clone()})
	}
	return t, err
}

// checked returns the result of check for the new value of a field. If value is nil, the field has
// no new value, and checked returns nil.
func checked[T any](field string, value *T, check func(T) (T, error)) (*T, error) {
	if value == nil {
		return nil, nil
	}
	v, err := check(*value)
	return &v, invalid(field, err)
}

// Rotate gives a token a new key. The token keeps its ID, name, scopes and expiry. The previous key
// is accepted until grace has passed, but not beyond the token's expiry. If grace is zero, the
// previous key is refused immediately. A key that an earlier rotation replaced is also refused
// immediately, so at most two keys of a token are accepted at any time.
//
// Rotate returns [ErrNotFound] if the token does not exist or is revoked. It returns [ErrConflict]
// if the token is expired, was unused for too long or was rotated concurrently. It returns
// [ErrInvalidSpec] if grace is negative or too long. After any other error, the key may have been
// replaced. In that case, rotate the token again.
func (m *Manager) Rotate(ctx context.Context, userID, id string, grace time.Duration) (Key, Token, error) {
	return m.rotate(ctx, userID, id, nil, grace)
}

// RotateFrom is like [Manager.Rotate], but returns [ErrConflict] unless the token still has the
// given [Token].Generation. If a client sends the same request twice, the key is replaced only
// once, and the previous key keeps the grace of the first rotation.
func (m *Manager) RotateFrom(ctx context.Context, userID, id string, generation int, grace time.Duration) (Key, Token, error) {
	return m.rotate(ctx, userID, id, &generation, grace)
}

func (m *Manager) rotate(ctx context.Context, userID, id string, from *int, grace time.Duration) (Key, Token, error) {
	now := m.options.Now()
	until := now.Add(grace)
	if grace < 0 || until.After(latestTime) {
		return Key{}, Token{}, &SpecError{"grace_seconds", "must not be negative or reach beyond the year 9999"}
	}
	r, err := m.get(ctx, userID, id)
	if err != nil {
		return Key{}, Token{}, err
	}
	t := r.Token
	switch {
	case !t.RevokedAt.IsZero():
		return Key{}, Token{}, ErrNotFound
	case m.isIdle(&t, now): // Authenticate would refuse the new key
		return Key{}, Token{}, ErrConflict
	case from != nil && t.Generation != *from:
		return Key{}, Token{}, ErrConflict
	}
	if t.ExpiredAt(until) {
		until = t.ExpiresAt
	}
	key := generateKey(m.prefix)
	rotation := Rotation{Replaces: t.Generation, Digest: DigestOf(key.Reveal()), Hint: key.hint(), GraceUntil: micros(until)}
	if err := m.store.Rotate(ctx, userID, id, rotation, now); err != nil {
		return Key{}, Token{}, err
	}
	t.Generation++
	t.Hint = rotation.Hint
	m.emit(ctx, Event{Kind: EventRotated, Token: t.clone()})
	return key, t, nil
}

// Revoke revokes a token permanently and frees its name. Its keys are refused from then on. Revoke
// returns nil if the token is already revoked, and [ErrNotFound] if the user has no such token.
// After any other error, the token may or may not be revoked. In that case, repeat the call.
func (m *Manager) Revoke(ctx context.Context, userID, id string) error {
	if err := checkTarget(userID, id); err != nil {
		return err
	}
	if err := m.store.Revoke(ctx, userID, id, m.options.Now()); err != nil {
		return err
	}
	m.emit(ctx, Event{Kind: EventRevoked, Token: Token{ID: id, UserID: userID}, Count: 1})
	return nil
}

// RevokeAll revokes all live tokens of a user, for example after a change of the user's password.
// It returns the number of tokens that it revoked. If the user has no live tokens, RevokeAll emits
// no event.
func (m *Manager) RevokeAll(ctx context.Context, userID string) (int, error) {
	if err := checkUserID(userID); err != nil {
		return 0, err
	}
	n, err := m.store.RevokeAll(ctx, userID, m.options.Now())
	if n > 0 {
		m.emit(ctx, Event{Kind: EventRevoked, Token: Token{UserID: userID}, Count: n})
	}
	return n, err
}

const pruneBatch = 1000

// Prune deletes the tokens that expired or were revoked before the given time. It returns the
// number of deleted tokens, even if it also returns an error. If before is in the future, Prune
// uses the current time instead. Prune deletes tokens in batches. Concurrent calls of Prune are
// allowed. Prune keeps imported tokens, so that a later import does not add them again.
func (m *Manager) Prune(ctx context.Context, before time.Time) (int, error) {
	if now := m.options.Now(); before.After(now) {
		before = now // tokens that expire after now are still accepted
	} else if before.Before(time.Time{}) {
		before = time.Time{} // the microseconds of earlier times overflow
	}
	total := 0
	for {
		n, err := m.store.Prune(ctx, before, pruneBatch)
		total += n
		if err != nil || n < pruneBatch {
			if total > 0 {
				m.emit(ctx, Event{Kind: EventPruned, Count: total})
			}
			return total, err
		}
	}
}

// Flush writes the last-used times that are still in memory. If another write is running, Flush
// waits for its end, but no longer than ctx allows. A service needs Flush only to read its latest
// last-used times from the store immediately.
func (m *Manager) Flush(ctx context.Context) error {
	if m.lastUse == nil {
		return nil
	}
	return m.lastUse.Flush(ctx)
}

// Close writes the last-used times that are still in memory, and stops the background writes. ctx
// limits the duration of the write. Call Close when the service shuts down. After Close, the
// Manager still authenticates keys, but records no last-used times. A second call of Close returns
// nil. If the first call failed, Flush retries the write. The Managers that WithStore returns share
// the last-used times of m, so Close stops their background writes too.
func (m *Manager) Close(ctx context.Context) error {
	if m.lastUse == nil {
		return nil
	}
	return m.lastUse.Close(ctx)
}

func (m *Manager) touch(ctx context.Context, latest map[string]time.Time) error {
	all := make([]Use, 0, len(latest))
	for id, at := range latest {
		all = append(all, Use{ID: id, At: at})
	}
	return m.store.Touch(ctx, all...)
}

func (m *Manager) flushFailed(err error) {
	m.emit(context.Background(), Event{Kind: EventFlushFailed, Err: err})
}
