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
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/leaktest"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// A recorder keeps the events it is told of.
type recorder struct {
	mu  sync.Mutex
	all []tokenauth.Event
}

func (r *recorder) tell(_ context.Context, e tokenauth.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = fmt.Fprintf(&leaktest.Default, "%+v %v\n", e, e.Err)
	r.all = append(r.all, e)
}

// take returns what was told since it was last called.
func (r *recorder) take() []tokenauth.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.all
	r.all = nil
	return all
}

// Whoever watches a service must learn why requests are refused, and of which token:
// once for each request.
func TestEventsOfRequests(t *testing.T) {
	t.Parallel()
	clock := newClock()
	store := tokenauthtest.NewStore(tokenauth.NewMemoryStore())
	var events recorder
	m := newManager(store, &tokenauth.Options{Now: clock.Now, OnEvent: events.tell, IdleTimeout: 24 * time.Hour})
	broken := errors.New("directory is down")
	find := func(_ context.Context, id string) (*user, error) {
		switch id {
		case "gone":
			return nil, tokenauth.ErrNoUser
		case "unclear":
			return nil, broken
		}
		return &user{ID: id}, nil
	}
	auth := tokenauth.NewAuthenticator(m, find, nil)
	tokens := map[string]tokenauth.Token{}
	issued := func(userID, name string, spec tokenauth.Spec) string {
		spec.UserID, spec.Name = userID, name
		key, token := issue(t, m, spec)
		tokens[name] = token
		return "Bearer " + key
	}
	revoked := issued("u", "revoked", tokenauth.Spec{})
	require.NoError(t, m.Revoke(ctx, "u", tokens["revoked"].ID))
	expired := issued("u", "expired", tokenauth.Spec{ExpiresAt: start.Add(time.Minute)})
	replaced := issued("u", "replaced", tokenauth.Spec{})
	_, _, err := m.Rotate(ctx, "u", tokens["replaced"].ID, time.Minute)
	require.NoError(t, err)
	idle := issued("u", "idle", tokenauth.Spec{})
	clock.Set(start.Add(23 * time.Hour))
	good := issued("u", "good", tokenauth.Spec{Scopes: []string{"a"}})
	retired := issued("u", "retired", tokenauth.Spec{})
	_, _, err = m.Rotate(ctx, "u", tokens["retired"].ID, 30*time.Hour)
	require.NoError(t, err)
	gone, unclear := issued("gone", "gone", tokenauth.Spec{}), issued("unclear", "unclear", tokenauth.Spec{})
	clock.Set(start.Add(24 * time.Hour))
	events.take()

	plain, scoped := auth.Require(whoami), auth.RequireScopes("b")(whoami)
	type want struct {
		kind   tokenauth.EventKind
		reason tokenauth.Reason
		token  string
	}
	rejected := func(reason tokenauth.Reason, token string) *want {
		return &want{tokenauth.EventRejected, reason, token}
	}
	for name, c := range map[string]struct {
		handler http.Handler
		lines   []string
		want    *want
	}{
		"good":                {plain, []string{good}, nil},
		"no credentials":      {plain, nil, nil},
		"another scheme":      {plain, []string{"Basic dTpw"}, nil},
		"malformed":           {plain, []string{"Bearer nonsense"}, rejected(tokenauth.ReasonMalformed, "")},
		"malformed header":    {plain, []string{"Bearer a b"}, rejected(tokenauth.ReasonMalformed, "")},
		"two":                 {plain, []string{good, good}, rejected(tokenauth.ReasonMalformed, "")},
		"too long":            {plain, []string{"Bearer " + strings.Repeat("x", 2000)}, rejected(tokenauth.ReasonMalformed, "")},
		"unknown":             {plain, []string{"Bearer " + tokenauth.GenerateKey("acme")}, rejected(tokenauth.ReasonUnknown, "")},
		"revoked":             {plain, []string{revoked}, rejected(tokenauth.ReasonRevoked, "revoked")},
		"expired":             {plain, []string{expired}, rejected(tokenauth.ReasonExpired, "expired")},
		"replaced":            {plain, []string{replaced}, rejected(tokenauth.ReasonReplaced, "replaced")},
		"idle":                {plain, []string{idle}, rejected(tokenauth.ReasonIdle, "idle")},
		"no user":             {plain, []string{gone}, rejected(tokenauth.ReasonNoUser, "gone")},
		"user lookup failed":  {plain, []string{unclear}, rejected(tokenauth.ReasonUserLookupFailed, "unclear")},
		"scope":               {scoped, []string{good}, rejected(tokenauth.ReasonScopeMissing, "good")},
		"scope, nested":       {auth.Require(scoped), []string{good}, rejected(tokenauth.ReasonScopeMissing, "good")},
		"retired":             {plain, []string{retired}, &want{tokenauth.EventRetiredKeyUsed, "", "retired"}},
		"optional, wrong":     {auth.Optional(whoami), []string{"Bearer nonsense"}, rejected(tokenauth.ReasonMalformed, "")},
		"optional, anonymous": {auth.Optional(whoami), nil, nil},
	} {
		get(c.handler, c.lines...)
		got := events.take()
		if c.want == nil {
			require.Empty(t, got, name)
			continue
		}
		require.Len(t, got, 1, name)
		require.Equal(t, *c.want, want{got[0].Kind, got[0].Reason, got[0].Token.Name}, name)
		if c.want.token != "" {
			require.Equal(t, tokens[c.want.token].ID, got[0].Token.ID, name)
		}
	}

	down := errors.New("down")
	store.Fail(down)
	get(plain, good)
	got := events.take()
	require.Len(t, got, 1)
	require.Equal(t, tokenauth.ReasonStoreFailed, got[0].Reason)
	require.ErrorIs(t, got[0].Err, down)

	// F4: a client that gave up is no fault of the store, nor a wrong key.
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	r := httptest.NewRequest(http.MethodGet, "/", nil).WithContext(canceled)
	r.Header.Set("Authorization", good)
	serve(plain, r)
	require.Empty(t, events.take())
	_, _, err = auth.Authenticate(canceled, http.Header{"Authorization": {good}})
	require.Error(t, err)
	require.Empty(t, events.take())
}

// An audit log must show each change, and whose token it was.
func TestEventsOfChanges(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store tokenauth.Store) {
		clock := newClock()
		var events recorder
		m := newManager(store, &tokenauth.Options{Now: clock.Now, OnEvent: events.tell})
		one := func(kind tokenauth.EventKind) tokenauth.Event {
			t.Helper()
			got := events.take()
			require.Len(t, got, 1)
			require.Equal(t, kind, got[0].Kind)
			return got[0]
		}
		_, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop", Scopes: []string{"a"}})
		e := one(tokenauth.EventIssued)
		require.Equal(t, token, e.Token)
		e.Token.Scopes[0] = "changed" // is the listener's to change
		require.Equal(t, []string{"a"}, token.Scopes)

		_, _, err := m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: "laptop"})
		require.ErrorIs(t, err, tokenauth.ErrNameTaken)
		require.Empty(t, events.take(), "nothing happened")

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
		require.Empty(t, events.take())

		issue(t, m, tokenauth.Spec{UserID: "u", Name: "phone"})
		issue(t, m, tokenauth.Spec{UserID: "u", Name: "ci"})
		events.take()
		_, err = m.RevokeAll(ctx, "u")
		require.NoError(t, err)
		e = one(tokenauth.EventRevoked)
		require.Equal(t, 2, e.Count)
		require.Equal(t, tokenauth.Token{UserID: "u"}, e.Token)

		clock.Set(start.Add(time.Hour))
		_, err = m.Prune(ctx, clock.Now())
		require.NoError(t, err)
		require.Equal(t, 3, one(tokenauth.EventPruned).Count)
		_, err = m.Prune(ctx, clock.Now())
		require.NoError(t, err)
		require.Empty(t, events.take())
	})
}

// A log must say what an operator needs, no key, and not fill the disk with what
// strangers send.
func TestLogEvents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		store := tokenauthtest.NewStore(tokenauth.NewMemoryStore())
		m := newManager(store, &tokenauth.Options{OnEvent: tokenauth.LogEvents(slog.New(slog.NewJSONHandler(&out, nil)))})
		lines := func() (all []map[string]any) {
			defer out.Reset()
			_, _ = leaktest.Default.Write(out.Bytes())
			for line := range strings.SplitSeq(strings.TrimSpace(out.String()), "\n") {
				var fields map[string]any
				if line != "" {
					require.NoError(t, json.Unmarshal([]byte(line), &fields))
					delete(fields, "time")
					all = append(all, fields)
				}
			}
			return all
		}
		key, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop"})
		require.Equal(t, []map[string]any{{"level": "INFO", "msg": "token issued", "user": "u", "token": token.ID, "name": "laptop"}}, lines())
		require.NoError(t, m.Revoke(ctx, "u", token.ID))
		require.Equal(t, []map[string]any{{"level": "INFO", "msg": "token revoked", "user": "u", "token": token.ID, "count": 1.0}}, lines())
		_, err := m.Authenticate(ctx, key)
		require.Error(t, err)
		require.Equal(t, []map[string]any{{"level": "WARN", "msg": "token rejected", "reason": "revoked", "user": "u", "token": token.ID, "name": "laptop"}}, lines())
		store.Fail(errors.New("connection refused"))
		_, err = m.Authenticate(ctx, key)
		require.Error(t, err)
		failed := lines()
		require.Len(t, failed, 1)
		require.Equal(t, "ERROR", failed[0]["level"])
		require.Contains(t, failed[0]["error"], "connection refused")
		store.Fail(nil)

		for range 1000 {
			_, err = m.Authenticate(ctx, "junk")
			require.Error(t, err)
			_, err = m.Authenticate(ctx, tokenauth.GenerateKey("acme"))
			require.Error(t, err)
		}
		require.Len(t, lines(), 10)
		time.Sleep(time.Minute)
		_, err = m.Authenticate(ctx, "junk")
		require.Error(t, err)
		require.Equal(t, []map[string]any{{"level": "WARN", "msg": "token rejected", "reason": "malformed", "left_out": 1990.0}}, lines())
		_, err = m.Authenticate(ctx, key)
		require.Error(t, err)
		require.Len(t, lines(), 1, "what is no junk is always logged")
	})
	require.Panics(t, func() { tokenauth.LogEvents(nil) })
}
