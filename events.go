package tokenauth

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// An EventKind says what happened.
type EventKind string

// The kinds of events, and what of an [Event] they fill beside its Kind.
const (
	EventIssued         EventKind = "issued"           // Token
	EventImported       EventKind = "imported"         // Count; also of those that were there already
	EventUpdated        EventKind = "updated"          // Token, as it is now
	EventRotated        EventKind = "rotated"          // Token, as it is now
	EventRevoked        EventKind = "revoked"          // Token's UserID, its ID unless it was all of the user's, Count
	EventPruned         EventKind = "pruned"           // Count
	EventRejected       EventKind = "rejected"         // Reason, Err, Token if the key is one's
	EventRetiredKeyUsed EventKind = "retired key used" // Token: a client has not changed over yet
	EventFlushFailed    EventKind = "flush failed"     // Err: last uses could not be written; they are tried again
)

// A Reason says why a request was rejected. It is for logs: a client is not told.
type Reason string

// The reasons.
const (
	ReasonMalformed        Reason = "malformed"
	ReasonUnknown          Reason = "unknown"
	ReasonExpired          Reason = "expired"
	ReasonIdle             Reason = "idle"
	ReasonRevoked          Reason = "revoked"
	ReasonReplaced         Reason = "replaced" // by a rotation whose grace is over
	ReasonNoUser           Reason = "no user"
	ReasonScopeMissing     Reason = "scope missing"
	ReasonStoreFailed      Reason = "store failed"
	ReasonUserLookupFailed Reason = "user lookup failed"
)

// An Event is something that happened to a token, or a request that was rejected.
// It holds no key. A request causes at most one for its key, and one more if it uses a
// retired key and then lacks a scope behind [Authenticator.Require]; without credentials,
// and when its client gave up before the store answered, it causes none.
type Event struct {
	Kind   EventKind
	Reason Reason
	Token  Token // what is known of it; the zero Token if nothing is
	Count  int   // of tokens
	Err    error // for the log, not for the client
}

// isFailure reports whether something did not answer.
func (e *Event) isFailure() bool {
	return e.Kind == EventFlushFailed || e.Reason == ReasonStoreFailed || e.Reason == ReasonUserLookupFailed
}

// tell tells whoever listens.
func (m *Manager) tell(ctx context.Context, e Event) {
	if m.options.OnEvent != nil {
		m.options.OnEvent(ctx, e)
	}
}

func reasonOf(err error) Reason {
	var unavailable *unavailableError
	switch {
	case errors.As(err, &unavailable) && unavailable.doing == findingUser:
		return ReasonUserLookupFailed
	case errors.As(err, &unavailable):
		return ReasonStoreFailed
	case errors.Is(err, ErrRevoked):
		return ReasonRevoked
	case errors.Is(err, errIdle):
		return ReasonIdle
	case errors.Is(err, ErrExpired):
		return ReasonExpired
	case errors.Is(err, errRetiredKey):
		return ReasonReplaced
	case errors.Is(err, ErrNoUser):
		return ReasonNoUser
	case errors.Is(err, ErrInsufficientScope):
		return ReasonScopeMissing
	case errors.Is(err, errUnknownKey):
		return ReasonUnknown
	}
	return ReasonMalformed
}

// LogEvents returns a function for [Options].OnEvent that logs each event: what fails
// as an error, rejections and late uses of retired keys as a warning, the rest as
// information. Of keys that are malformed or unknown, which anybody can send, it logs
// ten a minute, and how many were left out. It panics if l is nil.
func LogEvents(l *slog.Logger) func(context.Context, Event) {
	if l == nil {
		panic("tokenauth: LogEvents: nil Logger")
	}
	var junk rateLimit
	return func(ctx context.Context, e Event) {
		level, attrs := slog.LevelInfo, make([]slog.Attr, 0, 8)
		add := func(name, value string) {
			if value != "" {
				attrs = append(attrs, slog.String(name, value))
			}
		}
		add("reason", string(e.Reason))
		add("user", e.Token.UserID)
		add("token", e.Token.ID)
		add("name", e.Token.Name)
		if e.Count > 0 {
			attrs = append(attrs, slog.Int("count", e.Count))
		}
		switch {
		case e.isFailure():
			level = slog.LevelError
			attrs = append(attrs, slog.Any("error", e.Err))
		case e.Kind == EventRejected, e.Kind == EventRetiredKeyUsed:
			level = slog.LevelWarn
		}
		if e.Reason == ReasonMalformed || e.Reason == ReasonUnknown {
			ok, left := junk.allow(time.Now())
			if !ok {
				return
			}
			if left > 0 {
				attrs = append(attrs, slog.Int("left_out", left))
			}
		}
		l.LogAttrs(ctx, level, "token "+string(e.Kind), attrs...)
	}
}

// A rateLimit allows ten a minute.
type rateLimit struct {
	mu      sync.Mutex
	begin   time.Time // of the minute
	n, left int       // allowed in it, and left out since one was
}

// allow reports whether one more is allowed, and if so how many were left out before.
func (r *rateLimit) allow(now time.Time) (ok bool, left int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if since := now.Sub(r.begin); since >= time.Minute {
		r.begin, r.n = now, 0
	}
	if r.n == 10 {
		r.left++
		return false, 0
	}
	r.n++
	left, r.left = r.left, 0
	return true, left
}
