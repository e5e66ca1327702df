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
// [ErrNotFound]. If [Manager.CheckUserID] refuses a user ID, methods return [ErrInvalidSpec].
type Manager struct {
	store   Store
	options Options
	prefix  string
	forms   []keyform.Form   // form of keys with prefix, then one form for each former prefix
	scopes  []string         // allowed scopes, sorted, without duplicates; empty if every well-formed scope is allowed
	lastUse *lastuse.Tracker // nil if last-used times are not recorded

	// If inTransaction is true, the store is a transaction of the caller. The Manager then records
	// no last-used times, because the transaction ends before they would be written. lastUse belongs
	// to the Manager outside of the transaction and is only read.
	inTransaction bool
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
	m := &Manager{store: store, options: opts.withDefaults(), prefix: prefix, inTransaction: inTransaction(store)}
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
	m.track()
	return m, nil
}

// WithStore returns a Manager with the same options on another store. With a store from
// [SQLStore.With], a service can issue a token and write its own rows in one transaction. WithStore
// panics if store is nil.
//
// If onEvent is not nil, it receives the events of the returned Manager in place of
// [Options].OnEvent. Collect the events of a transaction that way, and pass them on after the
// commit. Otherwise OnEvent reports changes that a rollback undoes.
//
// If store has a method InTransaction() bool that returns true, as a [SQLStore] on a transaction
// has, the returned Manager records no last-used times and need not be closed. Otherwise it records
// last-used times in store, and its owner calls Close.
func (m *Manager) WithStore(store Store, onEvent func(context.Context, Event)) *Manager {
	if isNil(store) {
		panic("tokenauth: WithStore: nil Store")
	}
	c := *m
	c.store = store
	if onEvent != nil {
		c.options.OnEvent = onEvent
	}
	if c.inTransaction = inTransaction(store); !c.inTransaction {
		c.track()
	}
	return &c
}

func inTransaction(store Store) bool {
	s, ok := store.(interface{ InTransaction() bool })
	return ok && s.InTransaction()
}

// Scopes returns the scopes of [Options].Scopes, sorted and without duplicates. If every
// well-formed scope is allowed, Scopes returns none.
func (m *Manager) Scopes() []string { return slices.Clone(m.scopes) }

// MaxTTL returns [Options].MaxTTL, the longest allowed time from now to an expiry. Zero means no
// limit.
func (m *Manager) MaxTTL() time.Duration { return m.options.MaxTTL }

// MaxGrace returns the longest allowed grace of a rotation. See [Options].MaxGrace.
func (m *Manager) MaxGrace() time.Duration { return m.options.MaxGrace }

// Now returns the current time of the clock in [Options].Now.
func (m *Manager) Now() time.Time { return m.options.Now() }

// CheckUserID returns a [*SpecError] if id is not a valid user ID. A user ID has 1 to 255 bytes of
// UTF-8 without control characters, and [Options].CheckUserID accepts it.
func (m *Manager) CheckUserID(id string) error {
	err := syntax.UserID(id)
	if err == nil && m.options.CheckUserID != nil {
		err = m.options.CheckUserID(id)
	}
	return invalid("user_id", err)
}

// Expired reports whether t is expired now, because of its ExpiresAt or of [Options].IdleTimeout.
func (m *Manager) Expired(t *Token) bool {
	now := m.Now()
	return t.ExpiredAt(now) || m.isIdle(t, now)
}

// ExpiresSoon reports whether t will expire within 7 days and within the last quarter of its
// lifetime, because of its ExpiresAt. It returns false for a token that is expired or revoked.
func (m *Manager) ExpiresSoon(t *Token) bool { return expiresSoon(t, m.Now()) }

const soon = 7 * 24 * time.Hour

func expiresSoon(t *Token, now time.Time) bool {
	near := min(soon, t.ExpiresAt.Sub(t.CreatedAt)/4)
	return t.RevokedAt.IsZero() && !t.ExpiredAt(now) && t.ExpiredAt(now.Add(near))
}

// Get returns the token of a user with the given ID, even if the token is revoked. If the user has
// no such token, Get returns [ErrNotFound].
func (m *Manager) Get(ctx context.Context, userID, id string) (Token, error) {
	r, err := m.get(ctx, userID, id)
	return r.token(), err
}

func (m *Manager) get(ctx context.Context, userID, id string) (Record, error) {
	if err := m.checkTarget(ctx, userID, id); err != nil {
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

// checkTarget checks the arguments of a call that concerns one token. If ctx has ended, checkTarget
// returns its error, so that a change that was not even tried causes no event.
func (m *Manager) checkTarget(ctx context.Context, userID, id string) error {
	if err := cmp.Or(ctx.Err(), m.CheckUserID(userID)); err != nil {
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
		if err := m.CheckUserID(q.UserID); err != nil {
			return nil, err
		}
	}
	if q.Name != "" {
		name, err := syntax.Name(q.Name)
		if err != nil {
			return []Token{}, nil // no token has the name, and a database may refuse it
		}
		q.Name = name
	}
	if q.CreatedBy != "" {
		if q.CreatedBy = cleanActor(q.CreatedBy); q.CreatedBy == "" {
			return []Token{}, nil // otherwise the query would select all actors
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
		tokens[i] = records[i].token()
	}
	return tokens, nil
}

// Update changes the fields of a token that p sets, and returns the changed token.
//
// Update returns [ErrNotFound] if the token does not exist or is revoked, [ErrConflict] if the
// token is expired or no longer has the values of p.Replaces, [ErrNameTaken] or [ErrInvalidSpec].
// After any other error, the change may have been made. It is safe to repeat the call.
func (m *Manager) Update(ctx context.Context, userID, id string, p Patch) (Token, error) {
	if err := m.checkTarget(ctx, userID, id); err != nil {
		return Token{}, err
	}
	now := m.options.Now()
	var nameErr, scopesErr, resourcesErr, expiryErr error
	p.Name, nameErr = checked("name", p.Name, syntax.Name)
	p.Scopes, scopesErr = checked("scopes", p.Scopes, func(s []string) ([]string, error) { return syntax.Scopes(s, m.scopes) })
	p.Resources, resourcesErr = checked("resources", p.Resources, syntax.Resources)
	p.ExpiresAt, expiryErr = checked("expires_at", p.ExpiresAt, func(t time.Time) (time.Time, error) { return m.checkExpiry(t, now) })
	if err := cmp.Or(nameErr, scopesErr, resourcesErr, expiryErr); err != nil {
		return Token{}, err
	}
	if p.Resources != nil {
		if err := m.checkResources(ctx, userID, *p.Resources); err != nil {
			return Token{}, err
		}
	}
	if m.options.IdleTimeout > 0 {
		if t, err := m.Get(ctx, userID, id); err != nil || t.RevokedAt.IsZero() && m.isIdle(&t, now) {
			return Token{}, cmp.Or(err, ErrConflict)
		}
	}
	set := p
	set.Replaces = nil
	e := Event{Kind: EventUpdated, Token: Token{ID: id, UserID: userID}, Patch: &set}
	if err := m.store.Update(ctx, userID, id, p, now); err != nil {
		m.changed(ctx, e, err)
		return Token{}, err
	}
	t, err := m.Get(ctx, userID, id)
	if err == nil {
		e.Token = t.clone()
	}
	m.emit(ctx, e)
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
// The returned Token is read after the rotation. If that read fails, the Token has only its ID,
// UserID, Hint and Generation. Hint and Generation are those of the returned Key.
//
// Rotate returns [ErrNotFound] if the token does not exist or is revoked. It returns [ErrConflict]
// if the token is expired, was unused for too long or was rotated concurrently. It returns
// [ErrInvalidSpec] if grace is negative or exceeds [Options].MaxGrace. After any other error, the
// key may have been replaced. In that case, rotate the token again.
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
	if grace < 0 || grace > m.options.MaxGrace || until.After(latestTime) {
		return Key{}, Token{}, &SpecError{"grace_seconds", fmt.Sprintf("must be from 0 to %.0f", m.options.MaxGrace.Seconds())}
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
	known := Token{ID: id, UserID: userID, Hint: rotation.Hint, Generation: t.Generation + 1}
	if err := m.store.Rotate(ctx, userID, id, rotation, now); err != nil {
		m.changed(ctx, Event{Kind: EventRotated, Token: known}, err)
		return Key{}, Token{}, err
	}
	if t, err = m.Get(ctx, userID, id); err != nil {
		t = known // the key must reach the caller, even if the token cannot be read
	}
	t.Hint, t.Generation = known.Hint, known.Generation
	m.emit(ctx, Event{Kind: EventRotated, Token: t.clone()})
	return key, t, nil
}

// Revoke revokes a token permanently and frees its name. Its keys are refused from then on. Revoke
// returns nil if the token is already revoked, and [ErrNotFound] if the user has no such token.
// After any other error, the token may or may not be revoked. In that case, repeat the call.
func (m *Manager) Revoke(ctx context.Context, userID, id string) error {
	if err := m.checkTarget(ctx, userID, id); err != nil {
		return err
	}
	err := m.store.Revoke(ctx, userID, id, m.options.Now(), ActorFrom(ctx))
	m.changed(ctx, Event{Kind: EventRevoked, Token: Token{ID: id, UserID: userID}, Count: 1}, err)
	return err
}

const (
	revokeBatch = 1000    // maximum number of tokens per call of Store.RevokeAll
	revokeCalls = 10_000  // maximum number of calls of Store.RevokeAll per call of RevokeAll
	pruneBatch  = 100_000 // maximum number of tokens per call of Store.Prune, which deletes them in smaller steps
)

// RevokeAll revokes all live tokens of a user, and returns the number of tokens that it revoked. It
// revokes the tokens in batches, so an error does not undo earlier batches. RevokeAll returns
// [ErrConflict] if other calls issue tokens faster than RevokeAll revokes them. If there is nothing
// to revoke, RevokeAll emits no event.
//
// When a user changes the password, first change the password and commit, then call RevokeAll
// outside of a transaction. A login in progress has then stored its token before RevokeAll looks
// for tokens, or it finds that the password has changed (see Stamp in package tokenlogin). In a
// transaction, RevokeAll takes effect with the commit, and does not revoke tokens that other calls
// issue before the commit. Therefore call it again after the commit.
func (m *Manager) RevokeAll(ctx context.Context, userID string) (int, error) {
	if err := cmp.Or(ctx.Err(), m.CheckUserID(userID)); err != nil {
		return 0, err
	}
	e := Event{Kind: EventRevoked, Token: Token{UserID: userID}}
	for range revokeCalls {
		n, err := m.store.RevokeAll(ctx, userID, m.options.Now(), ActorFrom(ctx), revokeBatch)
		e.Count += n
		if err != nil || n == 0 && e.Count > 0 {
			m.changed(ctx, e, err)
		}
		if err != nil || n == 0 {
			return e.Count, err
		}
	}
	m.emit(ctx, e)
	return e.Count, fmt.Errorf("%w: gave up after %d batches", ErrConflict, revokeCalls)
}

// Prune deletes the tokens that expired or were revoked before the given time. It returns the
// number of deleted tokens, even if it also returns an error. If before is in the future, Prune
// uses the current time instead. Prune deletes tokens in batches. Concurrent calls of Prune are
// allowed. Prune keeps imported tokens, so that a later import does not add them again.
//
// A token that was unused for IdleTimeout counts as expired. However, Prune deletes the token only
// if it was unused for another 2 × TouchEvery, because last-used times may arrive late. If the
// last-used times of this process cannot be written, or in a transaction, Prune does not delete
// unused tokens.
func (m *Manager) Prune(ctx context.Context, before time.Time) (int, error) {
	now := m.options.Now()
	if before.After(now) {
		before = now // tokens that expire after now are still accepted
	} else if before.Before(time.Time{}) {
		before = time.Time{} // the microseconds of earlier times overflow
	}
	unusedSince := m.unusedSince(ctx, now)
	if end := before.Add(-m.options.IdleTimeout); end.Before(unusedSince) {
		unusedSince = end
	}
	e := Event{Kind: EventPruned}
	for ctx.Err() == nil {
		n, err := m.store.Prune(ctx, before, unusedSince, pruneBatch)
		e.Count += n
		if err != nil || n < pruneBatch && e.Count > 0 {
			m.changed(ctx, e, err)
		}
		if err != nil || n < pruneBatch {
			return e.Count, err
		}
	}
	if e.Count > 0 {
		m.emit(ctx, e)
	}
	return e.Count, ctx.Err()
}
