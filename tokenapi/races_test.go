package tokenapi_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/apitest"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenapi"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// A race is a service with a token whose owner makes a change between two calls of the store.
type race struct {
	store  *tokenauthtest.Store
	owner  *tokenauth.Manager // changes tokens without a call of store
	events fixture.Recorder
	api    http.Handler
	key    string
	token  tokenauth.Token // token of key; it may manage tokens

	session    string // ID of the signed-in user
	sessionErr error
	panics     bool // whether the function for the session panics
	disabled   bool // whether the user of the token is disabled
}

func newRace(t *testing.T) *race {
	inner := tokenauth.NewMemoryStore()
	x := &race{store: tokenauthtest.NewStore(inner), session: "ada"}
	x.owner = must.Get(tokenauth.New(inner, "acme", &tokenauth.Options{Resources: projects}))
	key, made, err := x.owner.Issue(t.Context(), tokenauth.Spec{
		UserID: "ada", Name: "own", Scopes: []string{manageScope, selfScope, "orders"}, ExpiresAt: time.Now().Add(24 * time.Hour),
	})
	require.NoError(t, err)
	x.key, x.token = key.Reveal(), made
	leak.Default.Secret(x.key)
	m := must.Get(tokenauth.New(x.store, "acme", &tokenauth.Options{OnEvent: x.events.Record, Resources: projects}))
	auth := must.Get(tokenauth.NewAuthenticator(m, func(_ context.Context, id string) (string, error) {
		if x.disabled {
			return "", tokenauth.ErrNoUser
		}
		return id, nil
	}, nil))
	x.api = http.StripPrefix("/api", must.Get(tokenapi.New(auth, func(*http.Request) (string, error) {
		if x.panics {
			panic("session store")
		}
		return x.session, x.sessionErr
	}, &tokenapi.Options{ManageScope: manageScope, SelfScope: selfScope})))
	return x
}

// after calls change once, after the n-th call of a method of the store.
func (x *race) after(method string, n int, change func()) {
	x.store.Intercept(func(_ context.Context, called string, next func() error) error {
		err := next()
		if called == method {
			if n--; n == 0 {
				change()
			}
		}
		return err
	})
}

// before is like after, but calls change before the call of the method.
func (x *race) before(method string, change func()) {
	x.store.Intercept(func(_ context.Context, called string, next func() error) error {
		if called == method {
			change()
		}
		return next()
	})
}

// live returns the live tokens of all users.
func (x *race) live(t *testing.T) []tokenauth.Token {
	live, err := x.owner.List(t.Context(), tokenauth.Query{AllUsers: true})
	require.NoError(t, err)
	return live
}

// update changes the presented token.
func (x *race) update(t *testing.T, p tokenauth.Patch) {
	_, err := x.owner.Update(t.Context(), "ada", x.token.ID, p)
	require.NoError(t, err)
}

// lost are ways to lose the right to create a token, with the status of the response.
var lost = map[string]struct {
	by     string // "key" or "session"
	status int
	change func(t *testing.T, x *race)
}{
	"revocation": {"key", 401, func(t *testing.T, x *race) {
		require.NoError(t, x.owner.Revoke(t.Context(), "ada", x.token.ID))
	}},
	"rotation": {"key", 401, func(t *testing.T, x *race) {
		_, _, err := x.owner.Rotate(t.Context(), "ada", x.token.ID, 0)
		require.NoError(t, err)
	}},
	"rotation with a grace": {"key", 403, func(t *testing.T, x *race) {
		_, _, err := x.owner.Rotate(t.Context(), "ada", x.token.ID, time.Hour)
		require.NoError(t, err)
	}},
	"no right to manage": {"key", 403, func(t *testing.T, x *race) { x.update(t, tokenauth.Patch{Scopes: &[]string{"orders"}}) }},
	"fewer scopes":       {"key", 403, func(t *testing.T, x *race) { x.update(t, tokenauth.Patch{Scopes: &[]string{manageScope}}) }},
	"restriction to resources": {"key", 403, func(t *testing.T, x *race) {
		x.update(t, tokenauth.Patch{Resources: &[]string{"p1"}})
	}},
	"earlier expiry": {"key", 403, func(t *testing.T, x *race) {
		x.update(t, tokenauth.Patch{ExpiresAt: new(time.Now().Add(time.Hour))})
	}},
	"disabled user":     {"key", 401, func(_ *testing.T, x *race) { x.disabled = true }},
	"sign-out":          {"session", 401, func(_ *testing.T, x *race) { x.session = "" }},
	"another user":      {"session", 401, func(_ *testing.T, x *race) { x.session = "eve" }},
	"failing session":   {"session", 503, func(_ *testing.T, x *race) { x.sessionErr = errInternal }},
	"malformed session": {"session", 503, func(_ *testing.T, x *race) { x.session = "a\nb" }},
	"failing store": {"key", 503, func(_ *testing.T, x *race) {
		x.store.Intercept(func(_ context.Context, method string, next func() error) error {
			if method == "List" {
				return errInternal
			}
			return next()
		})
	}},
}

// A client may lose its rights after it was identified, and before its new token is stored. A
// concurrent RevokeAll misses that token. The token must not live on, and nobody may get its key.
// Case A5.
func TestTokenOfClientThatLostItsRightsIsRevoked(t *testing.T) {
	t.Parallel()
	for name, c := range lost {
		for _, disconnects := range []bool{false, true} {
			x := newRace(t)
			end := time.Now().Add(12 * time.Hour).UTC().Format(time.RFC3339)
			r := apitest.NewRequest("POST", "/api/tokens", `{"name":"evil","scopes":["orders"],"expires_at":"`+end+`"}`)
			if c.by == "key" {
				r.Header.Set("Authorization", "Bearer "+x.key)
			}
			ctx, cancel := context.WithCancel(t.Context())
			x.after("Create", 1, func() {
				c.change(t, x)
				if disconnects {
					cancel()
				}
			})
			w := apitest.Do(t, x.api, r.WithContext(ctx))
			cancel()
			require.Equal(t, c.status, w.Code, "%s: %s", name, w.Body)
			require.Empty(t, keyIn(w), name)
			require.Equal(t, 1, x.store.Count("Create"), name)
			for _, live := range x.live(t) {
				require.Equal(t, x.token.ID, live.ID, "%s: the new token is live", name)
			}
		}
	}
}

// If the service's function panics in the second look, nobody gets the key of the new token, so the
// token must not stay live.
// Case A5.
func TestTokenIsRevokedIfServicePanics(t *testing.T) {
	t.Parallel()
	x := newRace(t)
	x.after("Create", 1, func() { x.panics = true })
	r := apitest.NewRequest("POST", "/api/tokens", `{"name":"new"}`)
	require.Panics(t, func() { x.api.ServeHTTP(httptest.NewRecorder(), r) })
	require.Equal(t, 1, x.store.Count("Create"))
	require.Len(t, x.live(t), 1, "only the token of the test may be live")
}

// If the new token would expire after its maker, it gets an earlier expiry by a second call. If
// that call fails, the token must not outlive its maker.
// Case A5.
func TestTokenThatCannotBeShortenedIsRevoked(t *testing.T) {
	t.Parallel()
	for status, fail := range map[int]func(x *race) error{
		503: func(*race) error { return errInternal },
		409: func(x *race) error { // the owner revokes the new token first
			_, err := x.owner.RevokeAll(context.Background(), "ada")
			return errors.Join(err, tokenauth.ErrNotFound)
		},
	} {
		x := newRace(t)
		x.store.Intercept(func(_ context.Context, method string, next func() error) error {
			if method == "Update" {
				return fail(x)
			}
			return next()
		})
		w := send(t, x.api, "POST", "/api/tokens", `{"name":"evil"}`, with(x.key))
		require.Equal(t, status, w.Code, w.Body)
		require.Equal(t, 1, x.store.Count("Update"))
		for _, live := range x.live(t) {
			require.Equal(t, x.token.ID, live.ID, "the new token is live")
		}
	}
}

// If the service cannot revoke the new token, nobody has its key, and an event names the token.
func TestTokenThatCannotBeRevokedIsReported(t *testing.T) {
	t.Parallel()
	x := newRace(t)
	x.after("Create", 1, func() {
		require.NoError(t, x.owner.Revoke(t.Context(), "ada", x.token.ID))
		x.store.Intercept(func(_ context.Context, method string, next func() error) error {
			if method == "Revoke" {
				return errInternal
			}
			return next()
		})
	})
	w := send(t, x.api, "POST", "/api/tokens", `{"name":"evil"}`, with(x.key))
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Empty(t, w.Header().Get("Retry-After"))
	require.Contains(t, w.Body.String(), "may have been made")
	live := x.live(t)
	require.Len(t, live, 1)
	events := x.events.Take()
	last := events[len(events)-1]
	require.Equal(t, tokenauth.EventRevoked, last.Kind)
	require.ErrorIs(t, last.Err, errInternal)
	require.Equal(t, live[0].ID, last.Token.ID)
}

// A client with an old key gives the next generation, and the owner rotates the token in that
// moment. The client must not replace the owner's new key by one of its own.
// Case A5.
func TestGuessOfNextGenerationTakesNothingOver(t *testing.T) {
	t.Parallel()
	for _, grace := range []time.Duration{0, time.Hour} {
		for call := 1; call <= 2; call++ { // List confirms the key, then List reads the token to rotate
			x := newRace(t)
			var key tokenauth.Key
			x.after("List", call, func() {
				var err error
				key, _, err = x.owner.Rotate(context.Background(), "ada", x.token.ID, grace)
				require.NoError(t, err)
			})
			for _, generation := range []string{"2", "3"} {
				w := send(t, x.api, "POST", "/api/tokens/"+x.token.ID+"/rotate", `{"generation":`+generation+`}`, with(x.key))
				require.Contains(t, []int{401, 409}, w.Code, w.Body)
			}
			if key.Reveal() == "" { // the client was refused before the call
				continue
			}
			_, err := x.owner.Authenticate(t.Context(), key.Reveal())
			require.NoError(t, err)
		}
	}
}

// Between the look at a token and its update, the owner takes rights from that token. An update by
// a token must not give them back.
// Case A5.
func TestPatchDoesNotUndoNarrowing(t *testing.T) {
	t.Parallel()
	for name, narrowed := range map[string]tokenauth.Patch{
		"scopes":    {Scopes: &[]string{manageScope}},
		"resources": {Resources: &[]string{"p1"}},
		"expiry":    {ExpiresAt: new(time.Now().Add(time.Minute).UTC().Truncate(time.Second))},
	} {
		for _, body := range []string{
			`{"name":"y","scopes":["tokens:manage","orders"]}`,
			`{"resources":["p1","p2"]}`,
			`{"name":"z","resources":null}`,
			`{"name":"x"}`,
			`{"expires_at":"` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + `"}`,
		} {
			for _, own := range []bool{true, false} {
				x := newRace(t)
				target := x.token
				if !own {
					var err error
					spec := tokenauth.Spec{UserID: "ada", Name: "other", Scopes: target.Scopes, ExpiresAt: target.ExpiresAt}
					_, target, err = x.owner.Issue(t.Context(), spec)
					require.NoError(t, err)
				}
				var want tokenauth.Token
				x.before("Update", func() {
					var err error
					want, err = x.owner.Update(context.Background(), "ada", target.ID, narrowed)
					require.NoError(t, err)
				})
				w := send(t, x.api, "PATCH", "/api/tokens/"+target.ID, body, with(x.key))
				require.Equal(t, http.StatusConflict, w.Code, "%s: %s: %s", name, body, w.Body)
				now, err := x.owner.Get(t.Context(), "ada", target.ID)
				require.NoError(t, err)
				require.Equal(t, want, now)
			}
		}
	}
}

// A request may pass its context on to another request with a key of its own. That key must count,
// not the key of the first request.
func TestSubRequestIsJudgedByItsOwnKey(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{ManageScope: manageScope})
	adas, _ := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "laptop", Scopes: []string{manageScope}})
	eves, evesToken := s.issue(t, tokenauth.Spec{UserID: "eve", Name: "laptop", Scopes: []string{manageScope}})
	list := func(sub string) *httptest.ResponseRecorder {
		var w *httptest.ResponseRecorder
		batch := s.auth.Require(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			request := apitest.NewRequest("GET", "/api/tokens", "")
			if sub != "" {
				request = apitest.NewRequest("GET", "/api/tokens", "", with(sub))
			}
			w = apitest.Do(t, s.mux, request.WithContext(r.Context()))
		}))
		fixture.Get(batch, "Bearer "+adas)
		return w
	}
	w := list(eves)
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "eve", decode[struct{ Tokens []token }](t, w).Tokens[0].UserID)
	require.NoError(t, s.Manager.Revoke(t.Context(), "eve", evesToken.ID))
	require.Equal(t, http.StatusUnauthorized, list(eves).Code)
	require.Equal(t, http.StatusUnauthorized, list("").Code, "a sub-request without a key has no key")
}
