package tokenauth

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/go-tokenauth/tokenauth/internal/keyform"
	"github.com/go-tokenauth/tokenauth/internal/lastuse"
	"github.com/go-tokenauth/tokenauth/internal/syntax"
)

// A Manager issues, authenticates, rotates and revokes tokens. It is safe for
// concurrent use.
//
// Its methods return the errors that they list, and otherwise the error of the
// [Store], which means that the store did not answer. A token of another user
// is [ErrNotFound]. A user ID that is empty, longer than 255 bytes, not UTF-8 or
// with a control character is [ErrInvalidSpec].
type Manager struct {
	store   Store
	options Options
	prefix  string
	forms   []keyform.Form  // the prefix's first, then the former ones'
	scopes  map[string]bool // those that exist; nil: any
	newKey  func(prefix string) Key
	uses    *lastuse.Tracker // nil: last uses are not recorded
}

// New returns a Manager of the tokens in store, whose keys begin with prefix:
// 1 to 20 of a-z, 0-9 and _, starting with a letter and not ending in _. A
// prefix of the service's own lets secret scanners tell whose a leaked key is.
//
// Options may be nil; they are copied. New panics on a programming mistake: a
// nil store, a malformed prefix, scope or legacy format, a negative TTL, a
// DefaultTTL above MaxTTL, or an IdleTimeout that TouchEvery makes meaningless.
func New(store Store, prefix string, opts *Options) *Manager {
	if store == nil {
		panic("tokenauth: New: nil Store")
	}
	m := &Manager{store: store, prefix: prefix, newKey: generateKey}
	if opts != nil {
		m.options = *opts
	}
	if err := m.configure(); err != nil {
		panic("tokenauth: New: " + err.Error())
	}
	return m
}

// WithStore returns a Manager with the same policy on another store: on
// [SQLStore.With] a transaction, to issue a token and write the service's own
// rows in one commit. Events are told before that.
func (m *Manager) WithStore(store Store) *Manager {
	if store == nil {
		panic("tokenauth: WithStore: nil Store")
	}
	c := *m
	c.store = store
	return &c
}

// Scopes returns the scopes that exist, sorted; none if any well-formed scope is allowed.
func (m *Manager) Scopes() []string { return slices.Sorted(maps.Keys(m.scopes)) }

// MaxTTL returns how far ahead an expiry may lie; zero: there is no limit.
func (m *Manager) MaxTTL() time.Duration { return m.options.MaxTTL }

// Get returns a token of a user, also a revoked one, or [ErrNotFound].
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

func checkUserID(id string) error { return invalidSpec(syntax.UserID(id)) }

func checkTarget(userID, id string) error {
	if err := checkUserID(userID); err != nil {
		return err
	}
	if !syntax.IsWord(id) {
		return ErrNotFound
	}
	return nil
}

// List returns the tokens that q selects, oldest first. The next page is the
// one after the last token's [Token.Cursor].
func (m *Manager) List(ctx context.Context, q Query) ([]Token, error) {
	if q.AllUsers && q.UserID != "" {
		return nil, invalidSpec(errQuery)
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

// Update changes the fields that p gives: name, scopes, expiry. It returns the
// token as it is afterwards.
//
// [ErrNotFound] (also if it is revoked), [ErrConflict] if it is expired,
// [ErrNameTaken], [ErrInvalidSpec]. After any other error the change may have been
// made: it is safe to repeat.
func (m *Manager) Update(ctx context.Context, userID, id string, p Patch) (Token, error) {
	if err := checkTarget(userID, id); err != nil {
		return Token{}, err
	}
	now := m.options.Now()
	var nameErr, scopesErr, expiryErr error
	p.Name, nameErr = checked(p.Name, syntax.Name)
	p.Scopes, scopesErr = checked(p.Scopes, func(scopes []string) ([]string, error) { return syntax.Scopes(scopes, m.scopes) })
	p.ExpiresAt, expiryErr = checked(p.ExpiresAt, func(at time.Time) (time.Time, error) { return m.checkExpiry(at, now) })
	if err := cmp.Or(nameErr, scopesErr, expiryErr); err != nil {
		return Token{}, invalidSpec(err)
	}
	if err := m.store.Update(ctx, userID, id, p, now); err != nil {
		return Token{}, err
	}
	t, err := m.Get(ctx, userID, id)
	if err == nil {
		m.tell(ctx, Event{Kind: EventUpdated, Token: t.clone()})
	}
	return t, err
}

// checked returns what check makes of a value that is given.
func checked[T any](value *T, check func(T) (T, error)) (*T, error) {
	if value == nil {
		return nil, nil
	}
	v, err := check(*value)
	return &v, err
}

// Rotate gives a token a new key. It keeps its ID, name, scopes and expiry. The
// key before goes on working until grace has passed, but never beyond the
// token's expiry; a grace of zero ends it at once. A key that an earlier
// rotation replaced ends at once, so that at most two are good at a time.
//
// [ErrNotFound] (also if it is revoked), [ErrConflict] if it is expired, was
// unused for too long, or another rotation came first, [ErrInvalidSpec] for a negative
// or endless grace. After any other error the key may have been replaced: rotate again.
func (m *Manager) Rotate(ctx context.Context, userID, id string, grace time.Duration) (Key, Token, error) {
	return m.rotate(ctx, userID, id, nil, grace)
}

// RotateFrom is [Manager.Rotate] if the token still has the given [Token].Generation,
// and [ErrConflict] if not: a form that is sent twice replaces the key once, and does
// not end the one before, whose grace the first rotation promised.
func (m *Manager) RotateFrom(ctx context.Context, userID, id string, generation int, grace time.Duration) (Key, Token, error) {
	return m.rotate(ctx, userID, id, &generation, grace)
}

func (m *Manager) rotate(ctx context.Context, userID, id string, from *int, grace time.Duration) (Key, Token, error) {
	now := m.options.Now()
	until := now.Add(grace)
	if grace < 0 || until.After(latestTime) {
		return Key{}, Token{}, invalidSpec(errors.New("grace must not be negative nor reach beyond the year 9999"))
	}
	r, err := m.get(ctx, userID, id)
	if err != nil {
		return Key{}, Token{}, err
	}
	t := r.Token
	if !t.RevokedAt.IsZero() {
		return Key{}, Token{}, ErrNotFound
	}
	if m.options.IdleTimeout > 0 && m.isIdle(&t, now) {
		return Key{}, Token{}, ErrConflict // the new key would be refused
	}
	if from != nil && t.Generation != *from {
		return Key{}, Token{}, ErrConflict
	}
	if t.ExpiredAt(until) {
		until = t.ExpiresAt
	}
	key := m.newKey(m.prefix)
	rotation := Rotation{Replaces: t.Generation, Digest: DigestOf(key.Reveal()), Hint: key.hint(), GraceUntil: micros(until)}
	if err := m.store.Rotate(ctx, userID, id, rotation, now); err != nil {
		return Key{}, Token{}, err
	}
	t.Generation++
	t.Hint = rotation.Hint
	m.tell(ctx, Event{Kind: EventRotated, Token: t.clone()})
	return key, t, nil
}

// Revoke ends a token and its keys at once, for good, and frees its name. It is
// done if the token is revoked already. [ErrNotFound]. After any other error it
// may or may not be revoked: repeat it.
func (m *Manager) Revoke(ctx context.Context, userID, id string) error {
	if err := checkTarget(userID, id); err != nil {
		return err
	}
	if err := m.store.Revoke(ctx, userID, id, m.options.Now()); err != nil {
		return err
	}
	m.tell(ctx, Event{Kind: EventRevoked, Token: Token{ID: id, UserID: userID}, Count: 1})
	return nil
}

// RevokeAll revokes all live tokens of a user, as after a change of password,
// and returns their number. Where there are none, no event is told.
func (m *Manager) RevokeAll(ctx context.Context, userID string) (int, error) {
	if err := checkUserID(userID); err != nil {
		return 0, err
	}
	n, err := m.store.RevokeAll(ctx, userID, m.options.Now())
	if n > 0 {
		m.tell(ctx, Event{Kind: EventRevoked, Token: Token{UserID: userID}, Count: n})
	}
	return n, err
}

const pruneBatch = 1000

// Prune deletes the tokens that expired or were revoked before the given time,
// which counts as now if it lies in the future, and returns their number, also
// beside an error. It works in batches, and may run at any time, more than once at a
// time too. Imported tokens stay: they mark what must not be imported again.
func (m *Manager) Prune(ctx context.Context, before time.Time) (int, error) {
	if now := m.options.Now(); before.After(now) {
		before = now // what is still good must stay
	} else if before.Before(time.Time{}) {
		before = time.Time{} // still farther back, microseconds overflow
	}
	total := 0
	for {
		n, err := m.store.Prune(ctx, before, pruneBatch)
		total += n
		if err != nil || n < pruneBatch {
			if total > 0 {
				m.tell(ctx, Event{Kind: EventPruned, Count: total})
			}
			return total, err
		}
	}
}

// Flush writes the last uses that are not written yet. Call it at shutdown, when
// no request is served any more; while the service runs, they are written anyhow.
// It waits for a write that runs, within ctx.
func (m *Manager) Flush(ctx context.Context) error {
	if m.uses == nil {
		return nil
	}
	return m.uses.Flush(ctx)
}

func (m *Manager) touch(ctx context.Context, latest map[string]time.Time) error {
	all := make([]Use, 0, len(latest))
	for id, at := range latest {
		all = append(all, Use{ID: id, At: at})
	}
	return m.store.Touch(ctx, all...)
}

func (m *Manager) flushFailed(err error) {
	m.tell(context.Background(), Event{Kind: EventFlushFailed, Err: err})
}
