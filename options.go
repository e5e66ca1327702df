package tokenauth

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/go-tokenauth/tokenauth/internal/keyform"
	"github.com/go-tokenauth/tokenauth/internal/lastuse"
	"github.com/go-tokenauth/tokenauth/internal/syntax"
)

// Options are a [Manager]'s settings. Every zero field is the safe default.
type Options struct {
	// FormerPrefixes are prefixes whose keys are still accepted, though none is
	// issued with them any more.
	FormerPrefixes []string

	// Scopes are the scopes that exist; others are refused. None: any
	// well-formed scope.
	Scopes []string

	// DefaultTTL is how long a token lasts that is issued without an expiry.
	// Zero: MaxTTL if that is set, else without end.
	DefaultTTL time.Duration

	// MaxTTL is how far ahead an expiry may lie when it is set. Zero: no limit.
	// Changing it changes no token: the expiry that counts is the token's own.
	MaxTTL time.Duration

	// MaxPerUser is how many live tokens a user may hold at once. Imported ones,
	// and those issued while there was no limit, do not count. Zero: 100.
	// Negative: no limit.
	MaxPerUser int

	// TouchEvery is how far behind a token's LastUsedAt may be. Uses are collected
	// and written together, in the background. Zero: 1 minute. Negative: last uses
	// are not recorded.
	TouchEvery time.Duration

	// IdleTimeout is how long a token may go unused before its key is refused. It
	// counts from the latest of CreatedAt, LastUsedAt and the uses that this
	// process has not written yet. What other processes saw last is known TouchEvery
	// later, and a cache's MaxStale after that: so much earlier a key may be refused.
	// Where uses were not recorded before, tokens older than this end at once. At
	// least twice TouchEvery, which must not be off. Zero: no limit.
	IdleTimeout time.Duration

	// OnEvent is told what happens to tokens and which keys are refused; see
	// [LogEvents]. It is called in the course of the request and must neither block
	// nor panic.
	// Nil: nobody is told.
	OnEvent func(context.Context, Event)

	// Legacy recognises the keys of imported tokens.
	Legacy []LegacyFormat

	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

const (
	defaultMaxPerUser = 100
	defaultTouchEvery = time.Minute
)

// A LegacyFormat recognises the keys that another system has made, so that
// tokens imported from there go on working.
type LegacyFormat struct {
	// Origin is the one that the tokens were imported with.
	Origin string

	// Canonical returns the text whose SHA-256 is the imported digest, or false
	// if presented is not a key of this format. It is called, before the store
	// is asked, with what a client sends that is no key of the Manager's own:
	// visible ASCII without a comma, through an Authenticator at most 1 KiB of it.
	Canonical func(presented string) (text string, ok bool)
}

// configure takes over the options, and says what is wrong with them.
func (m *Manager) configure() error {
	o := &m.options
	for _, p := range append([]string{m.prefix}, o.FormerPrefixes...) {
		if err := keyform.CheckPrefix(p); err != nil {
			return err
		}
		m.forms = append(m.forms, keyform.New(p))
	}
	for _, s := range o.Scopes {
		if err := syntax.Scope(s); err != nil {
			return err
		}
	}
	m.scopes = syntax.ScopeSet(o.Scopes)
	if o.DefaultTTL < 0 || o.MaxTTL < 0 || o.MaxTTL > 0 && o.DefaultTTL > o.MaxTTL {
		return errors.New("DefaultTTL and MaxTTL must not be negative, nor DefaultTTL above MaxTTL")
	}
	if o.MaxPerUser == 0 {
		o.MaxPerUser = defaultMaxPerUser
	}
	if o.TouchEvery == 0 {
		o.TouchEvery = defaultTouchEvery
	}
	if o.IdleTimeout < 0 || o.IdleTimeout > 0 && (o.TouchEvery < 0 || o.IdleTimeout/2 < o.TouchEvery) {
		return errors.New("IdleTimeout must be at least twice TouchEvery, and last uses be recorded")
	}
	if o.TouchEvery > 0 {
		m.uses = lastuse.New(o.TouchEvery/2, m.touch, m.flushFailed)
	}
	o.Legacy = slices.Clone(o.Legacy)
	for _, f := range o.Legacy {
		if f.Canonical == nil || !syntax.IsWord(f.Origin) {
			return errors.New("Options.Legacy: a format needs an Origin and Canonical")
		}
	}
	now := o.Now
	if o.Now = time.Now; now != nil {
		o.Now = func() time.Time {
			// A clock that was never set must not revoke "never".
			if t := now(); !t.IsZero() {
				return t
			}
			return time.Unix(0, 0)
		}
	}
	return nil
}
