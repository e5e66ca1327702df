package systemtest_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/storecache"
)

// projects returns Options whose users all have the given projects.
func projects(ids ...string) *tokenauth.Options {
	return &tokenauth.Options{Resources: func(context.Context, string) (all []tokenauth.Resource, err error) {
		for _, id := range ids {
			all = append(all, tokenauth.Resource{ID: id, Label: "Project " + id})
		}
		return all, nil
	}}
}

func needing(n tokenauth.Need) func(*http.Request) (tokenauth.Need, error) {
	return func(*http.Request) (tokenauth.Need, error) { return n, nil }
}

// A token that is restricted to projects must not act on anything else. A handler that does not
// know about resources must not serve such a token. Case P11.
func TestRestrictedTokenNeedsItsResource(t *testing.T) {
	t.Parallel()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), projects("1", "2", "3"))
	auth := fixture.NewAuthenticator(m, nil)
	keys := map[string]string{}
	for name, resources := range map[string][]string{"all": nil, "one": {"1"}, "two": {"2", "1", "2"}} {
		keys[name], _ = fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: name, Scopes: []string{"a"}, Resources: resources})
	}
	need := func(n tokenauth.Need) http.Handler { return auth.RequireFunc(needing(n))(fixture.Whoami) }
	anyResource := auth.RequireFunc(needing(tokenauth.Need{AnyResource: true}))
	for name, c := range map[string]struct {
		handler       http.Handler
		all, one, two int
	}{
		"Require":                 {auth.Require(fixture.Whoami), 200, 403, 403},
		"Optional":                {auth.Optional(fixture.Whoami), 200, 403, 403},
		"RequireScopes":           {auth.RequireScopes("a")(fixture.Whoami), 200, 403, 403},
		"a Need without any":      {need(tokenauth.Need{}), 200, 403, 403},
		"a Need with a scope":     {need(tokenauth.Need{Scopes: []string{"a"}}), 200, 403, 403},
		"an empty list":           {need(tokenauth.Need{Resources: []string{}}), 200, 403, 403},
		"one":                     {need(tokenauth.Need{Resources: []string{"1"}}), 200, 200, 200},
		"two":                     {need(tokenauth.Need{Resources: []string{"1", "2"}}), 200, 403, 200},
		"one of another token":    {need(tokenauth.Need{Resources: []string{"3"}}), 200, 403, 403},
		"one that does not exist": {need(tokenauth.Need{Resources: []string{"1 2"}}), 200, 403, 403},
		"the start of one":        {need(tokenauth.Need{Resources: []string{"11"}}), 200, 403, 403},
		"another case":            {need(tokenauth.Need{Resources: []string{"1", "A"}}), 200, 403, 403},
		"a missing scope":         {need(tokenauth.Need{Scopes: []string{"b"}, Resources: []string{"1"}}), 403, 403, 403},
		"any":                     {need(tokenauth.Need{AnyResource: true}), 200, 200, 200},
		"nested":                  {anyResource(auth.Require(fixture.Whoami)), 200, 403, 403},
		"nested, optional":        {anyResource(auth.Optional(fixture.Whoami)), 200, 403, 403},
		"an empty resource":       {need(tokenauth.Need{Resources: []string{"1", ""}}), 500, 500, 500},
		"one and any":             {need(tokenauth.Need{Resources: []string{"1"}, AnyResource: true}), 500, 500, 500},
	} {
		for key, want := range map[string]int{"all": c.all, "one": c.one, "two": c.two} {
			require.Equal(t, want, fixture.Get(c.handler, "Bearer "+keys[key]).Code, name+", "+key)
		}
	}
	require.Equal(t, "nobody", fixture.Get(auth.Optional(fixture.Whoami)).Body.String())
}

// A handler that reads the resource from the path must not serve a request whose route has no such
// value, because an empty resource would otherwise name nothing. Case P12.
func TestEmptyPathValueIs500(t *testing.T) {
	t.Parallel()
	var events fixture.Recorder
	options := projects("1")
	options.OnEvent = events.Record
	m := fixture.NewManager(tokenauth.NewMemoryStore(), options)
	auth := fixture.NewAuthenticator(m, nil)
	protect := auth.RequireFunc(func(r *http.Request) (tokenauth.Need, error) {
		return tokenauth.Need{Resources: []string{r.PathValue("project")}}, nil
	})
	mux := http.NewServeMux()
	mux.Handle("/projects/{project}", protect(fixture.Whoami))
	mux.Handle("/typo/{projekt}", protect(fixture.Whoami))
	restricted, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "one", Resources: []string{"1"}})
	free, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "all"})
	for path, want := range map[string][2]int{"/projects/1": {200, 200}, "/projects/2": {403, 200}, "/typo/1": {500, 500}} {
		for i, key := range []string{restricted, free} {
			r := httptest.NewRequest("GET", path, nil)
			r.Header.Set("Authorization", "Bearer "+key)
			events.Take()
			w := fixture.Serve(mux, r)
			require.Equal(t, want[i], w.Code, path)
			if w.Code == 500 {
				require.Equal(t, tokenauth.ReasonNeedFailed, events.Take()[0].Reason)
			}
		}
	}
}

// The client must learn that another scope would not help, and the log must say which resource was
// required. Case P11.
func TestResourceErrorNamesNoScope(t *testing.T) {
	t.Parallel()
	var events fixture.Recorder
	options := projects("1")
	options.OnEvent = events.Record
	m := fixture.NewManager(tokenauth.NewMemoryStore(), options)
	auth := fixture.NewAuthenticator(m, nil)
	key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "one", Scopes: []string{"a"}, Resources: []string{"1"}})
	for name, c := range map[string]struct {
		need func(*http.Request) (tokenauth.Need, error)
		text string
	}{
		"another resource": {needing(tokenauth.Need{Scopes: []string{"a"}, Resources: []string{"2\n"}}), `"2\n"`},
		"none":             {needing(tokenauth.Need{}), "names none"},
		"the service's own": {func(*http.Request) (tokenauth.Need, error) {
			return tokenauth.Need{}, &tokenauth.ResourceError{Resources: []string{"9"}}
		}, `"9"`},
	} {
		events.Take()
		w := fixture.Get(auth.RequireFunc(c.need)(fixture.Forbidden(t)), "Bearer "+key)
		require.Equal(t, 403, w.Code, name)
		require.Equal(t, `Bearer realm="api", error="insufficient_scope"`, w.Header().Values("WWW-Authenticate")[0], name)
		require.Equal(t, "The token is restricted to resources, and may not be used for this.", fixture.ProblemOf(t, w).Detail, name)
		event := events.Take()[0]
		require.Equal(t, tokenauth.ReasonResourceMissing, event.Reason, name)
		require.Equal(t, token.ID, event.Token.ID, name)
		require.ErrorContains(t, event.Err, c.text, name)
		var resourceError *tokenauth.ResourceError
		require.ErrorAs(t, event.Err, &resourceError, name)
		require.ErrorIs(t, event.Err, tokenauth.ErrInsufficientScope, name)
	}
}

// Code outside net/http middleware, and code that confirms a token before a change, must refuse a
// restricted token in the same way. Case P11.
func TestAuthenticateAndConfirmCheckResources(t *testing.T) {
	t.Parallel()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), projects("1", "2"))
	auth := fixture.NewAuthenticator(m, nil)
	key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "one", Resources: []string{"1"}})
	needs := map[int]tokenauth.Need{200: {Resources: []string{"1"}}, 403: {}, 500: {Resources: []string{""}}}
	for want, need := range needs {
		_, got, err := auth.Authenticate(ctx, http.Header{"Authorization": {"Bearer " + key}}, need)
		require.Equal(t, want, tokenauth.StatusCode(fixture.Noted(err)))
		if want == 200 {
			require.True(t, got.Allows("1") && !got.Allows("2"))
		}
	}
	anyResource := auth.RequireFunc(needing(tokenauth.Need{AnyResource: true}))
	fixture.Get(anyResource(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		for want, need := range needs {
			_, _, err := auth.Confirm(r.Context(), need)
			require.Equal(t, want, tokenauth.StatusCode(fixture.Noted(err)))
		}
		_, err := m.Update(ctx, "u", token.ID, tokenauth.Patch{Resources: &[]string{"2"}})
		require.NoError(t, err)
		_, _, err = auth.Confirm(r.Context(), needs[200])
		require.Equal(t, 403, tokenauth.StatusCode(fixture.Noted(err)))
	})), "Bearer "+key)
}

// A handler that modifies the Resources of its token must not change what the token may do.
func TestTokensShareNoResources(t *testing.T) {
	t.Parallel()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), projects("1", "2"))
	auth := fixture.NewAuthenticator(m, nil)
	key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "one", Resources: []string{"1"}})
	need := tokenauth.Need{Resources: []string{"1"}}
	h := auth.RequireFunc(needing(need))(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		held, _ := auth.Token(r.Context())
		inner, _ := tokenauth.TokenFrom(r.Context())
		_, confirmed, err := auth.Confirm(r.Context(), need)
		require.NoError(t, err)
		for _, t := range []tokenauth.Token{token, held, inner, confirmed, must.Get(m.Authenticate(ctx, key)), must.Get(m.Get(ctx, "u", token.ID))} {
			t.Resources[0] = "2"
		}
	}))
	for range 2 {
		require.Equal(t, 200, fixture.Get(h, "Bearer "+key).Code)
	}
}

// Allows must return false where it cannot know better. Case P13.
func TestAllowsFailsClosed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		has      []string
		resource string
		want     bool
	}{
		{nil, "1", true}, {nil, "", false}, {[]string{}, "1", false}, {[]string{"1"}, "1", true}, {[]string{"1"}, "", false}, {[]string{""}, "", false},
		{[]string{"1"}, "2", false}, {[]string{"1"}, "1 ", false}, {[]string{"a"}, "A", false}, {[]string{"*"}, "1", false},
	} {
		token := tokenauth.Token{Resources: c.has}
		require.Equal(t, c.want, token.Allows(c.resource), c)
	}
}

// The restriction must survive everything that happens to a token. Case P13.
func TestRestrictionSurvives(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		options := projects("1", "2")
		options.Legacy = []tokenauth.LegacyFormat{fixture.DRF}
		m := fixture.NewManager(store, options)
		_, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n", Resources: []string{"2", "1"}})
		require.Equal(t, []string{"1", "2"}, token.Resources)
		rotated, after, err := m.Rotate(ctx, "u", token.ID, time.Hour)
		require.NoError(t, err)
		leak.Default.Secret(rotated.Reveal())
		require.Equal(t, token.Resources, after.Resources)
		require.Equal(t, token.Resources, must.Get(m.Authenticate(ctx, rotated.Reveal())).Resources)
		renamed, err := m.Update(ctx, "u", token.ID, tokenauth.Patch{Name: new("renamed"), Scopes: &[]string{"a"}})
		require.NoError(t, err)
		require.Equal(t, token.Resources, renamed.Resources)
		all, err := m.Update(ctx, "u", token.ID, tokenauth.Patch{Resources: new([]string)})
		require.NoError(t, err)
		require.Nil(t, all.Resources)

		key := fixture.HexKey("imported")
		spec := tokenauth.ImportSpec{UserID: "u", Name: "old", Origin: "drf", Digest: tokenauth.DigestOf(key)}
		imported := must.Get(m.Import(ctx, spec))[0]
		require.Nil(t, imported.Resources)
		_, err = m.Update(ctx, "u", imported.ID, tokenauth.Patch{Resources: &[]string{"1"}})
		require.NoError(t, err)
		again := must.Get(m.Import(ctx, spec))[0]
		require.Equal(t, []string{"1"}, again.Resources, "a second import must not remove the restriction")
		require.Equal(t, []string{"1"}, must.Get(m.Authenticate(ctx, key)).Resources)
	})
}

// A cached token must not keep the rights that it had before it was restricted. Case P13.
func TestCacheEnforcesNewRestriction(t *testing.T) {
	t.Parallel()
	m := fixture.NewManager(must.Get(storecache.New(tokenauth.NewMemoryStore(), nil)), projects("1", "2"))
	h := fixture.NewAuthenticator(m, nil).RequireFunc(needing(tokenauth.Need{Resources: []string{"2"}}))(fixture.Whoami)
	key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	for _, c := range []struct {
		resources []string
		want      int
	}{{nil, 200}, {[]string{"1"}, 403}, {[]string{"1", "2"}, 200}, {[]string{"1"}, 403}, {nil, 200}} {
		_, err := m.Update(ctx, "u", token.ID, tokenauth.Patch{Resources: &c.resources})
		require.NoError(t, err)
		for range 2 { // the second request is served from the cache
			require.Equal(t, c.want, fixture.Get(h, "Bearer "+key).Code)
		}
	}
}

// Nobody may give a token a resource that its user does not have. Cases P13, P14.
func TestOnlyOfferedResourcesAreGiven(t *testing.T) {
	t.Parallel()
	var hundred []string
	for i := range 101 {
		hundred = append(hundred, strings.Repeat("x", 250)+string(rune('A'+i/10))+string(rune('a'+i%10)))
	}
	down := errors.New("the directory is down")
	options := &tokenauth.Options{Resources: func(_ context.Context, userID string) ([]tokenauth.Resource, error) {
		switch userID {
		case "down":
			return nil, down
		case "none":
			return nil, nil
		case "confused":
			return nil, tokenauth.ErrNotFound
		}
		var all []tokenauth.Resource
		for _, id := range append(slices.Clone(hundred), "1", "two words", "", "ümlaut", strings.Repeat("y", 256)) {
			all = append(all, tokenauth.Resource{ID: id})
		}
		return all, nil
	}}
	store := tokenauth.NewMemoryStore()
	m, without := fixture.NewManager(store, options), fixture.NewManager(store, nil)
	for name, c := range map[string]struct {
		m         *tokenauth.Manager
		user      string
		resources []string
		want      int // status
	}{
		"all":                 {m, "u", nil, 200},
		"one":                 {m, "u", []string{"1"}, 200},
		"a hundred":           {m, "u", hundred[:100], 200},
		"too many":            {m, "u", hundred, 400},
		"no more than stands": {m, "u", append(hundred[:100:100], hundred[:50]...), 200},
		"an empty list":       {m, "u", []string{}, 400},
		"an empty one":        {m, "u", []string{""}, 400},
		"a space":             {m, "u", []string{"two words"}, 400},
		"beyond ASCII":        {m, "u", []string{"ümlaut"}, 400},
		"too long":            {m, "u", []string{strings.Repeat("y", 256)}, 400},
		"another user's":      {m, "none", []string{"1"}, 400},
		"unknown":             {m, "u", []string{"1", "9"}, 400},
		"the service is down": {m, "down", []string{"1"}, 503},
		"a misleading error":  {m, "confused", []string{"1"}, 503},
		"down, but for all":   {m, "down", nil, 200},
		"nothing is offered":  {without, "u", []string{"1"}, 400},
		"all, without offer":  {without, "u", nil, 200},
		"empty, no offer":     {without, "u", []string{}, 400},
	} {
		_, _, err := c.m.Issue(ctx, tokenauth.Spec{UserID: c.user, Name: name, Resources: c.resources})
		require.Equal(t, c.want, tokenauth.StatusCode(fixture.Noted(err)), name)
		_, token := fixture.Issue(t, c.m, tokenauth.Spec{UserID: c.user, Name: "patched: " + name})
		patched, updateErr := c.m.Update(ctx, c.user, token.ID, tokenauth.Patch{Resources: &c.resources})
		require.Equal(t, c.want, tokenauth.StatusCode(fixture.Noted(updateErr)), name)
		for _, err := range []error{err, updateErr} {
			var spec *tokenauth.SpecError
			require.Equal(t, c.want == 400, errors.As(err, &spec), name)
			if spec != nil {
				require.Equal(t, "resources", spec.Field, name)
			}
			if c.user == "down" && c.want == 503 {
				require.ErrorIs(t, err, down)
			}
		}
		if c.want != 200 {
			patched = must.Get(c.m.Get(ctx, c.user, token.ID))
			require.Nil(t, patched.Resources, name)
		}
	}
}

// A service that no longer offers resources must go on enforcing the stored ones. Case P11.
func TestStoredRestrictionIsEnforcedWithoutOffer(t *testing.T) {
	t.Parallel()
	store := tokenauth.NewMemoryStore()
	key, _ := fixture.Issue(t, fixture.NewManager(store, projects("1")), tokenauth.Spec{UserID: "u", Name: "n", Resources: []string{"1"}})
	auth := fixture.NewAuthenticator(fixture.NewManager(store, nil), nil)
	require.Equal(t, 403, fixture.Get(auth.Require(fixture.Whoami), "Bearer "+key).Code)
}

// A caller that judged the token before must not undo a restriction that was added meanwhile.
func TestReplacesComparesResources(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		m := fixture.NewManager(store, projects("1", "2"))
		_, judged := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
		for _, meanwhile := range [][]string{{"1"}, {"1", "2"}, nil} {
			narrowed, err := m.Update(ctx, "u", judged.ID, tokenauth.Patch{Resources: &meanwhile})
			require.NoError(t, err)
			_, err = m.Update(ctx, "u", judged.ID, tokenauth.Patch{Resources: &[]string{"2"}, Replaces: &judged})
			if slices.Equal(meanwhile, judged.Resources) {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, tokenauth.ErrConflict)
			}
			judged = narrowed
		}
	})
}
