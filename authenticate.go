package tokenauth

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/go-tokenauth/tokenauth/internal/bearer"
)

// Authenticate returns the token whose key is presented. A key that is not
// accepted is [ErrInvalidKey]; where it is known why, [ErrExpired] or
// [ErrRevoked], which wrap it. Malformed keys are refused without asking the
// store.
func (m *Manager) Authenticate(ctx context.Context, presented string) (Token, error) {
	var p presentation
	err := m.authenticate(ctx, presented, &p)
	m.settle(ctx, &p, err)
	if err != nil {
		return Token{}, err
	}
	return p.token.clone(), nil
}

// A presentation is what is known of a key that was presented. It is filled in place:
// to hand it from call to call would be felt.
type presentation struct {
	token   *Token // the store's own, not to be changed; nil: the key is no token's
	retired bool   // whether the key is the one that a rotation replaced
	at      time.Time
}

func (m *Manager) authenticate(ctx context.Context, presented string, p *presentation) error {
	d, origin, ok := m.recognize(presented)
	if !ok {
		return errMalformedKey
	}
	r, err := m.store.Find(ctx, d)
	if err != nil {
		if errors.Is(err, ErrNotFound) {
			return errUnknownKey
		}
		return &unavailableError{findingToken, err}
	}
	if r == nil {
		return &unavailableError{findingToken, errors.New("the store returned neither a record nor an error")}
	}
	p.at = m.options.Now()
	return m.judge(r, &d, origin, p)
}

// recognize returns the digest to look for, and the origin that the token must
// have if the key is another system's.
func (m *Manager) recognize(presented string) (d Digest, origin string, ok bool) {
	for i := range m.forms {
		if m.forms[i].Matches(presented) {
			return DigestOf(presented), "", true
		}
	}
	if len(m.options.Legacy) > 0 && !bearer.IsKey(presented) {
		return d, "", false
	}
	for _, f := range m.options.Legacy {
		if text, ok := f.Canonical(presented); ok {
			return DigestOf(text), f.Origin, true
		}
	}
	return d, "", false
}

// judge decides whether the key with digest d, of origin's form, is good at p.at. It
// believes the store nothing that it can check itself.
func (m *Manager) judge(r *Record, d *Digest, origin string, p *presentation) error {
	generation := r.Token.Generation
	if !equal(&r.Digest, d) {
		if r.Retired == nil || !equal(&r.Retired.Digest, d) {
			return &unavailableError{findingToken, errors.New("the store returned the record of another key")}
		}
		generation--
		p.retired = true
	}
	if imported := generation == 0 && r.Token.Origin != ""; imported != (origin != "") || imported && origin != r.Token.Origin {
		return errUnknownKey // our keys and another system's never stand for each other
	}
	p.token = &r.Token
	switch {
	case !r.Token.RevokedAt.IsZero():
		return ErrRevoked
	case expired(r.Token.ExpiresAt, p.at):
		return ErrExpired
	case p.retired && !p.at.Before(r.Retired.Until):
		return errRetiredKey
	case m.options.IdleTimeout > 0 && m.isIdle(&r.Token, p.at):
		return errIdle
	}
	return nil
}

// isIdle reports whether a token went unused for too long, also by what this process
// knows and the store does not yet: one that takes no writes must lock nobody out.
func (m *Manager) isIdle(t *Token, now time.Time) bool {
	limit := m.options.IdleTimeout
	return now.Sub(t.CreatedAt) >= limit && now.Sub(t.LastUsedAt) >= limit && now.Sub(m.uses.Latest(t.ID)) >= limit
}

// settle is what follows from how a request with a key ended, by err: the use of its
// token, and at most one event.
func (m *Manager) settle(ctx context.Context, p *presentation, err error) {
	if err == nil {
		if m.uses != nil {
			m.uses.Note(p.token.ID, p.token.LastUsedAt, p.at)
		}
		if p.retired {
			m.tell(ctx, Event{Kind: EventRetiredKeyUsed, Token: p.token.clone()})
		}
		return
	}
	if m.options.OnEvent == nil || err == ErrNoKey {
		return
	}
	e := Event{Kind: EventRejected, Reason: reasonOf(err), Err: err}
	if e.isFailure() && ctx.Err() == context.Canceled {
		return // the client gave up
	}
	if p.token != nil {
		e.Token = p.token.clone()
	}
	m.options.OnEvent(ctx, e)
}

// equal takes the same time wherever a and b differ. crypto/subtle does so byte
// by byte, which is felt on each request.
func equal(a, b *Digest) bool {
	var differ uint64
	for i := 0; i < len(a); i += 8 {
		differ |= binary.NativeEndian.Uint64(a[i:]) ^ binary.NativeEndian.Uint64(b[i:])
	}
	return differ == 0
}
