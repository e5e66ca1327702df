package tokenauth

import (
	"context"
	"errors"
	"time"

	"github.com/go-tokenauth/tokenauth/internal/bearer"
	"github.com/go-tokenauth/tokenauth/internal/lastuse"
)

// Authenticate returns the token of a presented key. If the key is not accepted, the error wraps
// [ErrInvalidKey]. The error is [ErrRevoked] if the token is revoked. It wraps [ErrExpired] if the
// token is expired or was unused for too long. Authenticate refuses a malformed key without a call
// to the store. Authenticate does not check what the token may do: call [Token.HasScopes] and
// [Token.Allows].
func (m *Manager) Authenticate(ctx context.Context, presented string) (Token, error) {
	var p presentation
	err := m.authenticate(ctx, presented, &p)
	m.settle(ctx, &p, err)
	if err != nil {
		return Token{}, err
	}
	return p.record.token(), nil
}

// A presentation holds what the Manager knows about the key of one request. Functions pass it by
// pointer to avoid an allocation per request.
type presentation struct {
	digest Digest
	// origin is the Origin of the LegacyFormat that recognized the key. It is empty if the key has
	// the Manager's own form.
	origin string
	// record is the record of the key's token, or nil if no token has the key. The store shares the
	// record, so it must not be changed.
	record  *Record
	retired bool      // true if the last rotation of the token replaced the key
	at      time.Time // time at which judge decides
}

func (m *Manager) authenticate(ctx context.Context, presented string, p *presentation) error {
	r, err := m.find(ctx, presented, p)
	if err != nil {
		return err
	}
	p.at = m.options.Now()
	return m.judge(r, p)
}

// find returns the record of the token that has the presented key. The record may come from a cache
// in front of the store.
func (m *Manager) find(ctx context.Context, presented string, p *presentation) (*Record, error) {
	if !m.recognize(presented, p) {
		return nil, errMalformedKey
	}
	r, err := m.store.Find(ctx, p.digest)
	switch {
	case err == nil && r == nil:
		err = errors.New("the store returned neither a record nor an error")
	case err == nil && !p.isKeyOf(r):
		err = errors.New("the store returned the record of another key")
	case err == nil:
		return r, nil
	case errors.Is(err, ErrNotFound):
		return nil, errUnknownKey
	}
	return nil, &unavailableError{ReasonStoreFailed, err}
}

// findFresh is like find, but never returns a cached record. The token t is the result of an
// earlier find with the same key.
func (m *Manager) findFresh(ctx context.Context, t *Token, p *presentation) (*Record, error) {
	found, err := m.store.List(ctx, Query{UserID: t.UserID, IDs: []string{t.ID}, IncludeRevoked: true, Limit: 1}) // never cached
	switch {
	case err != nil:
		return nil, &unavailableError{ReasonStoreFailed, err}
	case len(found) == 0:
		return nil, errUnknownKey
	case !p.isKeyOf(&found[0]):
		return nil, errRetiredKey
	}
	return &found[0], nil
}

// recognize reports whether presented has the Manager's own form or a legacy form. If so, recognize
// sets the digest and the origin of p.
func (m *Manager) recognize(presented string, p *presentation) bool {
	for i := range m.forms {
		if m.forms[i].Matches(presented) {
			p.digest = DigestOf(presented)
			return true
		}
	}
	if len(m.options.Legacy) == 0 || !bearer.IsKey(presented) {
		return false
	}
	for _, f := range m.options.Legacy {
		if text, ok := f.Canonical(presented); ok {
			p.digest, p.origin = DigestOf(text), f.Origin
			return true
		}
	}
	return false
}

// isKeyOf reports whether the presented key is the current or the retired key of r, and sets
// p.retired. The comparison need not take constant time. A client cannot learn a digest from
// response times, because p.digest is a SHA-256 hash that the client cannot choose byte by byte.
func (p *presentation) isKeyOf(r *Record) bool {
	p.retired = r.Digest != p.digest
	return !p.retired || r.Retired != nil && r.Retired.Digest == p.digest
}

// match sets p.record to r. It requires that isKeyOf has returned true for r. match returns an
// error if the form of the presented key contradicts the record. An imported key must have the
// legacy form of its Origin, and every other key must have the Manager's own form.
func (p *presentation) match(r *Record) error {
	generation := r.Token.Generation
	if p.retired {
		generation--
	}
	imported := generation == 0 && r.Token.Origin != ""
	if imported != (p.origin != "") || imported && p.origin != r.Token.Origin {
		return errUnknownKey
	}
	p.record = r
	return nil
}

// judge returns an error unless the presented key is accepted at the time p.at. It requires that
// isKeyOf has returned true for r. judge checks revocation, expiry, grace and idle time itself, and
// does not rely on the store for these checks.
func (m *Manager) judge(r *Record, p *presentation) error {
	if err := p.match(r); err != nil {
		return err
	}
	switch t := &r.Token; {
	case m.options.CheckUserID != nil && m.options.CheckUserID(t.UserID) != nil:
		return ErrNoUser // find could take the ID for another user, whose RevokeAll does not reach the token
	case !t.RevokedAt.IsZero():
		return ErrRevoked
	case t.ExpiredAt(p.at):
		return ErrExpired
	case p.retired && !p.at.Before(r.Retired.Until):
		return errRetiredKey
	case m.isIdle(t, p.at):
		return errIdle
	}
	return nil
}

// isIdle reports whether a token was unused for IdleTimeout or longer. Last-used times that this
// process has not written yet count too. Otherwise a store that fails all writes would lock out
// users whose tokens are in use.
func (m *Manager) isIdle(t *Token, now time.Time) bool {
	limit := m.options.IdleTimeout
	return limit > 0 && now.Sub(t.CreatedAt) >= limit && now.Sub(t.LastUsedAt) >= limit && now.Sub(m.lastUse.Latest(t.ID)) >= limit
}

// unusedSince returns the time since which a token must be unused so that the Manager may revoke or
// delete the token. The zero time means that the Manager must not do so. Last-used times may arrive
// late, so a token that is idle for isIdle may still be in use.
func (m *Manager) unusedSince(ctx context.Context, now time.Time) time.Time {
	if m.options.IdleTimeout == 0 || m.inTransaction {
		return time.Time{}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second) // the flush is not only for this caller
	defer cancel()
	since := now.Add(-m.options.IdleTimeout - m.lag())
	if m.Flush(ctx) != nil || m.lastUse.Dropped().After(since) {
		return time.Time{}
	}
	return since
}

// lag is the time by which a last-used time in the store may be behind the actual last use. It
// leaves room for a write that failed once, and for a cache.
func (m *Manager) lag() time.Duration { return 2 * m.options.TouchEvery }

// RevokeKey revokes the token of a presented key and returns the token. The key may be the token's
// current key, or its previous key until the grace has passed. The token may be expired. If the
// token is already revoked, RevokeKey changes nothing and returns no error.
//
// RevokeKey returns an error that wraps [ErrInvalidKey] if the key is malformed or unknown, or if a
// rotation replaced the key and the grace has passed. After any other error, the token may or may
// not be revoked. In that case, repeat the call.
func (m *Manager) RevokeKey(ctx context.Context, presented string) (Token, error) {
	var p presentation
	r, err := m.find(ctx, presented, &p)
	if err == nil {
		r, err = m.findFresh(ctx, &r.Token, &p)
	}
	if err == nil {
		err = p.match(r)
	}
	if err != nil {
		return Token{}, err
	}
	now := m.options.Now()
	switch {
	case p.retired && !now.Before(r.Retired.Until):
		return Token{}, errRetiredKey
	case !r.Token.RevokedAt.IsZero():
		return r.Token, nil
	}
	by := ActorFrom(ctx)
	err = m.store.Revoke(ctx, r.Token.UserID, r.Token.ID, now, by)
	r.Token.RevokedAt, r.Token.RevokedBy = micros(now), by
	m.changed(ctx, Event{Kind: EventRevoked, Token: r.Token.clone(), Count: 1}, err)
	switch {
	case errors.Is(err, ErrNotFound): // deleted meanwhile
		return Token{}, errUnknownKey
	case err != nil:
		return Token{}, err
	}
	return r.Token, nil
}

// settle records the outcome of an authentication, whose error is err. If err is nil, settle
// records the last-used time of the token. settle emits at most one event.
func (m *Manager) settle(ctx context.Context, p *presentation, err error) {
	if err != nil {
		m.reject(ctx, p.record, err)
		return
	}
	if m.lastUse != nil && !m.inTransaction {
		m.lastUse.Note(p.record.Token.ID, p.record.Token.LastUsedAt, p.at)
	}
	if p.retired {
		m.emit(ctx, Event{Kind: EventPreviousKeyUsed, Token: p.record.token()})
	}
}

// reject emits an EventRejected for err. The record r is that of the presented key, or nil if no
// token has the key.
func (m *Manager) reject(ctx context.Context, r *Record, err error) {
	if m.options.OnEvent == nil || err == ErrNoKey {
		return
	}
	e := Event{Kind: EventRejected, Reason: verdictOf(err).reason, Err: err}
	if e.isFailure() && ctx.Err() == context.Canceled {
		return // the store call failed because the client has disconnected
	}
	if r != nil {
		e.Token = r.token()
	}
	m.emit(ctx, e)
}

// track starts to record last-used times, unless the options turn that off.
func (m *Manager) track() {
	if m.options.TouchEvery > 0 {
		m.lastUse = lastuse.New(m.options.TouchEvery/2, m.touch, m.flushFailed)
	}
}

// Flush writes the last-used times that are still in memory. If another write is running, Flush
// waits for its end, but no longer than ctx allows. A service needs Flush only to read its latest
// last-used times from the store immediately.
func (m *Manager) Flush(ctx context.Context) error {
	if m.lastUse == nil || m.inTransaction {
		return nil
	}
	return m.lastUse.Flush(ctx)
}

// Close writes the last-used times that are still in memory, and stops the background writes. ctx
// limits the duration of the write. Call Close when the service shuts down. After Close, the
// Manager still authenticates keys, but records no last-used times. A second call of Close returns
// nil. If the first call failed, Flush retries the write. A Manager from WithStore has last-used
// times of its own, and is closed on its own.
func (m *Manager) Close(ctx context.Context) error {
	if m.lastUse == nil || m.inTransaction {
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
