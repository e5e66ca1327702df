package tokenauth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/keyform"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// A watchedService is an Authenticator whose events are recorded. It has one token for each reason
// to reject a key. The maps tokens and lines are indexed by the name of the token.
type watchedService struct {
	store  *tokenauthtest.Store
	auth   *tokenauth.Authenticator[*fixture.User]
	events fixture.Recorder
	tokens map[string]tokenauth.Token
	lines  map[string]string // Authorization headers with the keys of the tokens
}

func newWatchedService(t *testing.T) *watchedService {
	t.Helper()
	clock := fixture.NewClock()
	s := &watchedService{
		store:  tokenauthtest.NewStore(tokenauth.NewMemoryStore()),
		tokens: map[string]tokenauth.Token{}, lines: map[string]string{},
	}
	m := fixture.NewManager(s.store, &tokenauth.Options{Now: clock.Now, OnEvent: s.events.Record, IdleTimeout: 24 * time.Hour})
	s.auth = must.Get(tokenauth.NewAuthenticator(m, func(_ context.Context, id string) (*fixture.User, error) {
		switch id {
		case "gone":
			return nil, tokenauth.ErrNoUser
		case "unclear":
			return nil, errors.New("directory is down")
		}
		return &fixture.User{ID: id}, nil
	}, nil))
	add := func(userID, name string, expiresAt time.Time) (id string) {
		key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: userID, Name: name, Scopes: []string{"a"}, ExpiresAt: expiresAt})
		s.tokens[name], s.lines[name] = token, "Bearer "+key
		return token.ID
	}
	rotate := func(id string, grace time.Duration) {
		_, _, err := m.Rotate(ctx, "u", id, grace)
		require.NoError(t, err)
	}
	require.NoError(t, m.Revoke(ctx, "u", add("u", "revoked", time.Time{})))
	add("u", "expired", fixture.Start.Add(time.Minute))
	rotate(add("u", "replaced", time.Time{}), time.Minute)
	add("u", "idle", time.Time{})
	clock.Set(fixture.Start.Add(23 * time.Hour))
	add("u", "good", time.Time{})
	rotate(add("u", "retired", time.Time{}), 30*time.Hour)
	add("gone", "gone", time.Time{})
	add("unclear", "unclear", time.Time{})
	clock.Set(fixture.Start.Add(24 * time.Hour))
	s.events.Take()
	return s
}

// A rejected request must cause one event with the reason and the token. Operators use this event
// to find out why the request failed. A second event is allowed only in the cases that the comment
// of [tokenauth.Event] lists.
func TestRejectedRequestCausesOneEvent(t *testing.T) {
	t.Parallel()
	s := newWatchedService(t)
	required, optional := s.auth.Require(fixture.Whoami), s.auth.Optional(fixture.Whoami)
	scoped := s.auth.RequireScopes("b")(fixture.Whoami)
	nested := s.auth.Require(scoped)
	line := func(name string) []string { return []string{s.lines[name]} }
	type event struct {
		kind   tokenauth.EventKind
		reason tokenauth.Reason
		token  string
	}
	rejected := func(reason tokenauth.Reason, token string) []event {
		return []event{{tokenauth.EventRejected, reason, token}}
	}
	retired := event{tokenauth.EventPreviousKeyUsed, "", "retired"}
	for name, c := range map[string]struct {
		handler http.Handler
		lines   []string
		want    []event
	}{
		"good":                   {required, line("good"), nil},
		"no credentials":         {required, nil, nil},
		"another scheme":         {required, []string{"Basic dTpw"}, nil},
		"malformed":              {required, []string{"Bearer nonsense"}, rejected(tokenauth.ReasonMalformed, "")},
		"malformed header":       {required, []string{"Bearer a b"}, rejected(tokenauth.ReasonMalformed, "")},
		"two":                    {required, append(line("good"), line("good")...), rejected(tokenauth.ReasonMalformed, "")},
		"too long":               {required, []string{"Bearer " + strings.Repeat("x", 2000)}, rejected(tokenauth.ReasonMalformed, "")},
		"unknown":                {required, []string{"Bearer " + keyform.Generate("acme")}, rejected(tokenauth.ReasonUnknown, "")},
		"revoked":                {required, line("revoked"), rejected(tokenauth.ReasonRevoked, "revoked")},
		"expired":                {required, line("expired"), rejected(tokenauth.ReasonExpired, "expired")},
		"replaced":               {required, line("replaced"), rejected(tokenauth.ReasonReplaced, "replaced")},
		"idle":                   {required, line("idle"), rejected(tokenauth.ReasonIdle, "idle")},
		"no user":                {required, line("gone"), rejected(tokenauth.ReasonNoUser, "gone")},
		"user lookup failed":     {required, line("unclear"), rejected(tokenauth.ReasonUserLookupFailed, "unclear")},
		"scope":                  {scoped, line("good"), rejected(tokenauth.ReasonScopeMissing, "good")},
		"scope, nested":          {nested, line("good"), rejected(tokenauth.ReasonScopeMissing, "good")},
		"retired":                {required, line("retired"), []event{retired}},
		"retired, scope":         {scoped, line("retired"), rejected(tokenauth.ReasonScopeMissing, "retired")},
		"retired, scope, nested": {nested, line("retired"), append([]event{retired}, rejected(tokenauth.ReasonScopeMissing, "retired")...)},
		"optional, wrong":        {optional, []string{"Bearer nonsense"}, rejected(tokenauth.ReasonMalformed, "")},
		"optional, anonymous":    {optional, nil, nil},
	} {
		fixture.Get(c.handler, c.lines...)
		var got []event
		for _, e := range s.events.Take() {
			got = append(got, event{e.Kind, e.Reason, e.Token.Name})
			require.Equal(t, s.tokens[e.Token.Name].ID, e.Token.ID, name)
		}
		require.Equal(t, c.want, got, name)
	}
}

// If the store fails during a request, the event must contain the error of the store. Operators
// need this error to find the cause.
func TestEventContainsErrorOfStore(t *testing.T) {
	t.Parallel()
	s := newWatchedService(t)
	down := errors.New("down")
	s.store.Fail(down)
	fixture.Get(s.auth.Require(fixture.Whoami), s.lines["good"])
	got := s.events.Take()
	require.Len(t, got, 1)
	require.Equal(t, tokenauth.ReasonStoreFailed, got[0].Reason)
	require.ErrorIs(t, got[0].Err, down)
}

// If a client cancels its request, the Authenticator must emit no event. Neither the store nor the
// key is at fault, so an event would be a false alarm for operators. Case F4.
func TestCanceledRequestCausesNoEvent(t *testing.T) {
	t.Parallel()
	s := newWatchedService(t)
	s.store.Fail(errors.New("down"))
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	r := httptest.NewRequest(http.MethodGet, "/", nil).WithContext(canceled)
	r.Header.Set("Authorization", s.lines["good"])
	fixture.Serve(s.auth.Require(fixture.Whoami), r)
	require.Empty(t, s.events.Take())
	_, _, err := s.auth.Authenticate(canceled, r.Header, tokenauth.Need{})
	require.Error(t, err)
	require.Empty(t, s.events.Take())
}

// If the store fails because the deadline of the request has passed, the Manager must emit an
// event. Otherwise an outage behind http.TimeoutHandler would be invisible. Case F4.
func TestFailureAtDeadlineCausesEvent(t *testing.T) {
	t.Parallel()
	s := newWatchedService(t)
	s.store.Fail(context.DeadlineExceeded)
	late, cancel := context.WithDeadline(ctx, time.Unix(0, 0))
	defer cancel()
	_, _, err := s.auth.Authenticate(late, http.Header{"Authorization": {s.lines["good"]}}, tokenauth.Need{})
	require.Equal(t, 503, tokenauth.StatusCode(err))
	all := s.events.Take()
	require.Len(t, all, 1)
	require.Equal(t, tokenauth.ReasonStoreFailed, all[0].Reason)
}

// A client that tries keys and disconnects before the response must still cause an event. Otherwise
// an attacker could guess keys without a trace. Case F4.
func TestRejectionOfCanceledRequestCausesEvent(t *testing.T) {
	t.Parallel()
	s := newWatchedService(t)
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	_, err := s.auth.Manager().Authenticate(canceled, "acme_guess")
	require.ErrorIs(t, err, tokenauth.ErrInvalidKey)
	require.Len(t, s.events.Take(), 1)
	_, _, err = s.auth.Authenticate(canceled, http.Header{"Authorization": {"Bearer acme_guess"}}, tokenauth.Need{})
	require.ErrorIs(t, err, tokenauth.ErrInvalidKey)
	require.Len(t, s.events.Take(), 1)
}

// Every change of tokens must cause one event. The event must contain the changed token or the
// number of changed tokens.
func TestChangeCausesOneEvent(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		clock := fixture.NewClock()
		var events fixture.Recorder
		m := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now, OnEvent: events.Record})
		one := func(kind tokenauth.EventKind) tokenauth.Event {
			t.Helper()
			got := events.Take()
			require.Len(t, got, 1)
			require.Equal(t, kind, got[0].Kind)
			return got[0]
		}
		_, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop", Scopes: []string{"a"}})
		e := one(tokenauth.EventIssued)
		require.Equal(t, token, e.Token)
		// OnEvent may modify the event. This must not change the token that Issue returned.
		e.Token.Scopes[0] = "changed"
		require.Equal(t, tokenauth.Scopes{"a"}, token.Scopes)

		_, _, err := m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: "laptop"})
		require.ErrorIs(t, err, tokenauth.ErrNameTaken)
		require.Empty(t, events.Take(), "a call of Issue that returns an error must cause no event")

		token, err = m.Update(ctx, "u", token.ID, tokenauth.Patch{Scopes: &[]string{"a", "b"}})
		require.NoError(t, err)
		require.Equal(t, token, one(tokenauth.EventUpdated).Token)
		_, err = m.Import(ctx, tokenauth.ImportSpec{UserID: "v", Name: "old", Origin: "drf", Digest: tokenauth.DigestOf("old")})
		require.NoError(t, err)
		require.Equal(t, 1, one(tokenauth.EventImported).Count)
		_, token, err = m.Rotate(ctx, "u", token.ID, 0)
		require.NoError(t, err)
		require.Equal(t, token, one(tokenauth.EventRotated).Token)

		require.NoError(t, m.Revoke(ctx, "u", token.ID))
		e = one(tokenauth.EventRevoked)
		require.Equal(t, tokenauth.Token{ID: token.ID, UserID: "u"}, e.Token)
		require.ErrorIs(t, m.Revoke(ctx, "other", token.ID), tokenauth.ErrNotFound)
		require.Empty(t, events.Take())

		fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "phone"})
		fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "ci"})
		events.Take()
		_, err = m.RevokeAll(ctx, "u")
		require.NoError(t, err)
		e = one(tokenauth.EventRevoked)
		require.Equal(t, 2, e.Count)
		require.Equal(t, tokenauth.Token{UserID: "u"}, e.Token)
		_, err = m.RevokeAll(ctx, "u")
		require.NoError(t, err)
		require.Empty(t, events.Take(), "RevokeAll must cause no event if the user has no live token")

		clock.Set(fixture.Start.Add(time.Hour))
		_, err = m.Prune(ctx, clock.Now())
		require.NoError(t, err)
		require.Equal(t, 3, one(tokenauth.EventPruned).Count)
		_, err = m.Prune(ctx, clock.Now())
		require.NoError(t, err)
		require.Empty(t, events.Take())
	})
}

// A log holds the lines of LogEvents.
type log struct{ bytes.Buffer }

func (l *log) events() func(context.Context, tokenauth.Event) {
	return tokenauth.LogEvents(slog.New(slog.NewJSONHandler(l, nil)))
}

// take returns the fields of each line without the time, and empties the log.
func (l *log) take(t *testing.T) (lines []map[string]any) {
	t.Helper()
	defer l.Reset()
	_, _ = leak.Default.Write(l.Bytes())
	for line := range strings.Lines(l.String()) {
		var fields map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &fields))
		delete(fields, "time")
		lines = append(lines, fields)
	}
	return lines
}

// LogEvents must log the fields of an event that an operator needs, but never a key.
func TestLogEventsLogsFieldsButNoKey(t *testing.T) {
	t.Parallel()
	var out log
	store := tokenauthtest.NewStore(tokenauth.NewMemoryStore())
	m := fixture.NewManager(store, &tokenauth.Options{OnEvent: out.events()})
	key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop"})
	require.Equal(t, []map[string]any{{"level": "INFO", "msg": "token issued", "user": "u", "token": token.ID, "name": "laptop"}}, out.take(t))
	require.NoError(t, m.Revoke(ctx, "u", token.ID))
	require.Equal(t, []map[string]any{{"level": "INFO", "msg": "token revoked", "user": "u", "token": token.ID, "count": 1.0}}, out.take(t))
	_, err := m.Authenticate(ctx, key)
	require.Error(t, err)
	require.Equal(t, []map[string]any{{"level": "WARN", "msg": "token rejected", "reason": "revoked", "user": "u", "token": token.ID, "name": "laptop"}}, out.take(t))
	store.Fail(errors.New("connection refused"))
	_, err = m.Authenticate(ctx, key)
	require.Error(t, err)
	failed := out.take(t)
	require.Len(t, failed, 1)
	require.Equal(t, "ERROR", failed[0]["level"])
	require.Contains(t, failed[0]["error"], "connection refused")
	require.Panics(t, func() { tokenauth.LogEvents(nil) })
}

// LogEvents must limit the lines that clients cause by repeated requests. Otherwise a stranger, one
// forgotten client or a dead store could flood the log. A flood about one token must not hide other
// events.
func TestLogEventsLimitsRepeatedEvents(t *testing.T) {
	t.Parallel()
	rejected := func(reason tokenauth.Reason, id string) tokenauth.Event {
		return tokenauth.Event{Kind: tokenauth.EventRejected, Reason: reason, Token: tokenauth.Token{ID: id}, Err: errors.New("no")}
	}
	changed := tokenauth.Event{Kind: tokenauth.EventRevoked, Token: tokenauth.Token{ID: "a"}}
	lost := tokenauth.Event{Kind: tokenauth.EventRevoked, Token: tokenauth.Token{ID: "a"}, Err: errors.New("no response")}
	for name, c := range map[string]struct {
		flood []tokenauth.Event
		other []tokenauth.Event // events that the flood must not hide
	}{
		"junk": {
			[]tokenauth.Event{rejected(tokenauth.ReasonMalformed, ""), rejected(tokenauth.ReasonUnknown, "")},
			[]tokenauth.Event{rejected(tokenauth.ReasonRevoked, "a"), rejected(tokenauth.ReasonStoreFailed, ""), changed},
		},
		"one revoked token": {
			[]tokenauth.Event{rejected(tokenauth.ReasonRevoked, "a")},
			[]tokenauth.Event{rejected(tokenauth.ReasonUnknown, ""), rejected(tokenauth.ReasonRevoked, "b"), changed, lost},
		},
		"one token, several reasons": {
			[]tokenauth.Event{
				rejected(tokenauth.ReasonExpired, "a"), rejected(tokenauth.ReasonReplaced, "a"), rejected(tokenauth.ReasonIdle, "a"),
				rejected(tokenauth.ReasonNoUser, "a"), rejected(tokenauth.ReasonScopeMissing, "a"), rejected(tokenauth.ReasonNotFound, "a"),
				rejected(tokenauth.ReasonUnknown, "a"), rejected(tokenauth.ReasonPreviousKey, "a"),
			},
			[]tokenauth.Event{rejected(tokenauth.ReasonScopeMissing, "b"), changed},
		},
		"previous key": {
			[]tokenauth.Event{{Kind: tokenauth.EventPreviousKeyUsed, Token: tokenauth.Token{ID: "a"}}},
			[]tokenauth.Event{{Kind: tokenauth.EventPreviousKeyUsed, Token: tokenauth.Token{ID: "b"}}, changed},
		},
		"dead store": {
			[]tokenauth.Event{rejected(tokenauth.ReasonStoreFailed, "")},
			[]tokenauth.Event{rejected(tokenauth.ReasonUserLookupFailed, "a"), rejected(tokenauth.ReasonRevoked, "a"), lost},
		},
		"dead directory": {
			[]tokenauth.Event{rejected(tokenauth.ReasonUserLookupFailed, "a"), rejected(tokenauth.ReasonUserLookupFailed, "b")},
			[]tokenauth.Event{rejected(tokenauth.ReasonStoreFailed, ""), rejected(tokenauth.ReasonNoUser, "a"), rejected(tokenauth.ReasonNeedFailed, "a")},
		},
		"flush": {
			[]tokenauth.Event{{Kind: tokenauth.EventFlushFailed, Err: errors.New("no")}},
			[]tokenauth.Event{rejected(tokenauth.ReasonStoreFailed, "")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var out log
				onEvent := out.events()
				for i := range 1000 {
					onEvent(ctx, c.flood[i%len(c.flood)])
				}
				require.Len(t, out.take(t), 10)
				for _, e := range c.other {
					onEvent(ctx, e)
				}
				require.Len(t, out.take(t), len(c.other))
				time.Sleep(time.Minute)
				onEvent(ctx, c.flood[0])
				onEvent(ctx, c.flood[0])
				lines := out.take(t)
				require.Len(t, lines, 2)
				require.Equal(t, 990.0, lines[0]["left_out"])
				require.NotContains(t, lines[1], "left_out")
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		var out log
		onEvent := out.events()
		for range 1000 {
			onEvent(ctx, changed)
			onEvent(ctx, lost)
		}
		require.Len(t, out.take(t), 2000, "LogEvents must log every change")
	})
}

// The clients of many tokens may be rejected in one minute. LogEvents must neither keep all of the
// tokens in memory nor lose the number of skipped events.
func TestLogEventsBoundsTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const tokens, repeated = 1500, 11
		var out log
		onEvent := out.events()
		var lines []map[string]any
		for minute := range 3 {
			for range repeated {
				for id := range tokens {
					onEvent(ctx, tokenauth.Event{
						Kind: tokenauth.EventRejected, Reason: tokenauth.ReasonRevoked,
						Token: tokenauth.Token{ID: fmt.Sprint(minute, "-", id)},
					})
				}
			}
			got := out.take(t)
			require.Equal(t, 1000*10, len(got), "10 lines for each of 999 tokens, and 10 lines for all others")
			lines = append(lines, got...)
			onEvent(ctx, tokenauth.Event{Kind: tokenauth.EventRejected, Reason: tokenauth.ReasonStoreFailed, Err: errors.New("down")})
			require.Len(t, out.take(t), 1, "no number of tokens may hide a failure of the store")
			time.Sleep(time.Minute)
		}
		for id := range 1000 { // these events make room, and report the events that were left out
			onEvent(ctx, tokenauth.Event{Kind: tokenauth.EventRejected, Token: tokenauth.Token{ID: fmt.Sprint("last-", id)}})
		}
		onEvent(ctx, tokenauth.Event{Kind: tokenauth.EventRejected, Reason: tokenauth.ReasonUnknown})
		lines = append(lines, out.take(t)...)
		total := len(lines)
		for _, fields := range lines {
			left, _ := fields["left_out"].(float64)
			total += int(left)
		}
		require.Equal(t, 3*tokens*repeated+1001, total)
	})
}
