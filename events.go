package tokenauth

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// An EventKind says which change or failure an [Event] reports.
type EventKind string

// The kinds of events. The comment of each kind lists the fields of the [Event] that are set in
// addition to Kind.
const (
	EventIssued          EventKind = "issued"            // sets Token
	EventImported        EventKind = "imported"          // sets Count, which includes tokens that already existed
	EventUpdated         EventKind = "updated"           // sets Patch, and Token to the token after the update, or only ID and UserID if it cannot be read
	EventRotated         EventKind = "rotated"           // sets Token to the token that Rotate returns
	EventRevoked         EventKind = "revoked"           // sets Count and Token.UserID, and Token.ID unless RevokeAll revoked the tokens
	EventPruned          EventKind = "pruned"            // sets Count
	EventRejected        EventKind = "rejected"          // sets Reason and Err, and Token if a token has the key
	EventPreviousKeyUsed EventKind = "previous_key_used" // sets Token; a client still uses the token's previous key
	EventFlushFailed     EventKind = "flush_failed"      // sets Err; last-used times were not written, and the Manager will retry
)

// A Reason says why a request was rejected. A Reason is for logs and is not sent to the client.
type Reason string

// The reasons why a request is rejected.
const (
	ReasonMalformed        Reason = "malformed"
	ReasonUnknown          Reason = "unknown"
	ReasonExpired          Reason = "expired"
	ReasonIdle             Reason = "idle"
	ReasonRevoked          Reason = "revoked"
	ReasonReplaced         Reason = "replaced" // a rotation replaced the key, and the grace has passed
	ReasonNoUser           Reason = "no_user"
	ReasonScopeMissing     Reason = "scope_missing"
	ReasonResourceMissing  Reason = "resource_missing" // the token is restricted to other resources
	ReasonPreviousKey      Reason = "previous_key"     // [Need].CurrentKey refused a key that is accepted otherwise
	ReasonNotFound         Reason = "not_found"        // the function given to RequireFunc returned ErrNotFound
	ReasonStoreFailed      Reason = "store_failed"
	ReasonUserLookupFailed Reason = "user_lookup_failed"
	// ReasonNeedFailed means that the function given to RequireFunc failed, or that its Need is a
	// mistake of the service.
	ReasonNeedFailed Reason = "need_failed"
)

// An Event reports a change of a token or a rejected request. An Event contains no key. Each change
// that was made or may have been made causes at least one event. A repeated call may cause another
// event for the same change. The authentication of a request by one Authenticator causes at most
// one event. If a nested handler of the same Authenticator rejects the request, this causes one
// more event. A request without credentials causes no event. If the client disconnects before the
// store responds, the request causes no event.
type Event struct {
	Kind   EventKind
	Reason Reason
	Token  Token  // known fields of the token; may be the zero Token
	Count  int    // number of tokens that the event is about
	By     string // who made the change; see [ContextWithActor]
	Patch  *Patch // new values of the fields that an update set; Replaces is nil
	// Err is an error for the log. It must not be sent to the client. In the event of a change, Err
	// means that the store did not respond and that the change may or may not have been made.
	Err error
}

// isFailure reports whether e means that the store or a function of the service failed.
func (e *Event) isFailure() bool {
	return e.Kind != EventRejected && e.Err != nil ||
		e.Reason == ReasonStoreFailed || e.Reason == ReasonUserLookupFailed || e.Reason == ReasonNeedFailed
}

// changed emits e for a change for which the store has returned err. If err is one of the errors
// that Store documents, nothing was changed and changed emits nothing. After any other error, the
// outcome is unknown, and changed emits e with that error.
func (m *Manager) changed(ctx context.Context, e Event, err error) {
	if !isStoreError(err) {
		e.Err = err
		m.emit(ctx, e)
	}
}

// emit calls OnEvent, if it is set.
func (m *Manager) emit(ctx context.Context, e Event) {
	if m.options.OnEvent != nil {
		if e.Kind != EventRejected && e.Kind != EventPreviousKeyUsed { // which are no changes
			e.By = ActorFrom(ctx)
		}
		m.options.OnEvent(ctx, e)
	}
}

// LogEvents returns a function for [Options].OnEvent that logs each event to l. The level is Error
// for failures of the store or the service, Warn for rejected requests and uses of previous keys,
// and Info for other events.
//
// Events that clients cause by repeated requests are limited to ten lines per minute. The limit is
// separate for each token, for keys of no token, and for each kind of failure. The next line has
// the number of skipped events as the attribute "left_out". If more than 1000 tokens have such
// events in one minute, the further tokens share the limit of the keys of no token. Events of
// changes are not limited. LogEvents panics if l is nil.
func LogEvents(l *slog.Logger) func(context.Context, Event) {
	if l == nil {
		panic("tokenauth: LogEvents: nil Logger")
	}
	// Failures are counted apart, so that no number of tokens can mute them.
	clients, failures := rateLimit{subjects: map[string]*minute{"": {}}}, rateLimit{subjects: map[string]*minute{"": {}}}
	return func(ctx context.Context, e Event) {
		level, limit, subject, failure := slog.LevelInfo, &clients, e.Token.ID, slog.Attr{}
		limited := e.Kind == EventRejected || e.Kind == EventPreviousKeyUsed || e.Kind == EventFlushFailed
		if limited {
			level = slog.LevelWarn
		}
		if e.isFailure() {
			level, failure = slog.LevelError, slog.Any("error", e.Err)
			limit, subject = &failures, string(e.Kind)+":"+string(e.Reason)
		}
		left := 0
		if limited {
			var ok bool
			if ok, left = limit.allow(subject, time.Now()); !ok {
				return
			}
		}
		l.LogAttrs(ctx, level, "token "+string(e.Kind), attr("reason", string(e.Reason)), attr("user", e.Token.UserID),
			attr("token", e.Token.ID), attr("name", e.Token.Name), attr("count", e.Count), attr("by", e.By), e.Patch.attr(), failure, attr("left_out", left))
	}
}

// attr returns the new values of p as an attribute. If p is nil, it returns the zero Attr.
func (p *Patch) attr() slog.Attr {
	if p == nil {
		return slog.Attr{}
	}
	var set []any
	if p.Name != nil {
		set = append(set, slog.String("name", *p.Name))
	}
	if p.Scopes != nil {
		set = append(set, slog.Any("scopes", *p.Scopes))
	}
	if p.Resources != nil {
		resources := slog.AnyValue(*p.Resources)
		if *p.Resources == nil {
			resources = slog.StringValue("all")
		}
		set = append(set, slog.Attr{Key: "resources", Value: resources})
	}
	if p.ExpiresAt != nil {
		end := slog.TimeValue(*p.ExpiresAt)
		if p.ExpiresAt.IsZero() {
			end = slog.StringValue("never")
		}
		set = append(set, slog.Attr{Key: "expires_at", Value: end})
	}
	return slog.Group("set", set...)
}

// attr returns an attribute. If the value is zero, attr returns the zero Attr, which handlers
// ignore.
func attr[T comparable](key string, value T) slog.Attr {
	if value == *new(T) {
		return slog.Attr{}
	}
	return slog.Any(key, value)
}

const (
	maxLines    = 10   // lines per subject and minute
	maxSubjects = 1000 // bounds the memory of a rateLimit
)

// A rateLimit allows maxLines events per minute of each subject, such as a token. Subjects beyond
// maxSubjects share the limit of the empty subject.
type rateLimit struct {
	mu       sync.Mutex
	subjects map[string]*minute // has the empty subject
	swept    time.Time          // when subjects were last removed
}

// A minute counts the events of one subject.
type minute struct {
	begin time.Time
	// n is the number of allowed events since begin. left is the number of events that were left
	// out since the last allowed event.
	n, left int
}

// allow reports whether one more event of subject is allowed. If so, left is the number of events
// that were left out since the last allowed event.
func (r *rateLimit) allow(subject string, now time.Time) (ok bool, left int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.find(subject, now)
	if now.Sub(m.begin) >= time.Minute {
		m.begin, m.n = now, 0
	}
	if m.n == maxLines {
		m.left++
		return false, 0
	}
	m.n++
	left, m.left = m.left, 0
	return true, left
}

// find returns the count of subject, and adds it if there is room.
func (r *rateLimit) find(subject string, now time.Time) *minute {
	if m := r.subjects[subject]; m != nil {
		return m
	}
	if len(r.subjects) >= maxSubjects {
		r.sweep(now)
	}
	if len(r.subjects) >= maxSubjects {
		return r.subjects[""]
	}
	m := &minute{}
	r.subjects[subject] = m
	return m
}

// sweep removes the subjects whose minute has passed, at most once per minute. Their left-out
// events are counted for the empty subject.
func (r *rateLimit) sweep(now time.Time) {
	if now.Sub(r.swept) < time.Minute {
		return
	}
	r.swept = now
	rest := r.subjects[""]
	for subject, m := range r.subjects {
		if m != rest && now.Sub(m.begin) >= time.Minute {
			rest.left += m.left
			delete(r.subjects, subject)
		}
	}
}
