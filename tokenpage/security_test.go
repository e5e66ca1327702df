package tokenpage_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenpage"
)

var nasty = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `javascript:alert(1)`, `{{.}}`, `' onfocus='alert(1)`,
	`&lt;b&gt;`, `</textarea></title>`, strings.Repeat("W", 64), "عربي", "👩🏽‍💻",
}

// Whoever is sent a link must not read there that a token is revoked, which is good still.
func TestLinkOfOthersClaimsNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	for site, claims := range map[string]bool{"": true, "same-origin": true, "none": false, "same-site": false, "cross-site": false} {
		r := s.request(http.MethodGet, "?done=revoke", nil)
		r.Header.Set("Sec-Fetch-Site", site)
		p := s.send(r)
		require.Equal(t, http.StatusOK, p.Code)
		require.Equal(t, claims, strings.Contains(p.body, "The token is revoked."), site)
	}
}

func TestW1WhatPeopleTypeIsShownAsText(t *testing.T) {
	t.Parallel()
	for _, name := range nasty {
		s := newSite(t, nil, nil)
		s.user = "user " + name
		answer := s.create(url.Values{"name": {name}})
		require.Equal(t, http.StatusOK, answer.Code)
		require.NotEmpty(t, answer.key)
		id := s.tokens(s.user)[0].ID
		for _, path := range []string{"", "history", id + "/rename", id + "/rotate", id + "/revoke"} {
			p := s.get(path)
			require.Equal(t, http.StatusOK, p.Code)
			require.Contains(t, p.text(), name)
			require.NotContains(t, p.title, name)
		}
		require.Equal(t, name, s.get(id+"/rename").fields().Get("name"))
		staffed := "/staff/?user=" + url.QueryEscape(s.user)
		s.user = "root"
		require.Contains(t, s.get(staffed).text(), "user "+name)
	}
}

// What is refused as a name is shown again in the field where it was typed.
func TestW1RefusedNamesAreShownAsText(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	_, token := s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop"})
	for name, again := range map[string]string{
		"":                       "",
		"\u202etxt.exe":          "\u202etxt.exe",
		"a\x00b\x01c\x7f":        "abc",
		"not \xff UTF-8":         "not  UTF-8",
		strings.Repeat("x", 65):  strings.Repeat("x", 65),
		`"><script>` + "\u200b":  `"><script>` + "\u200b",
		strings.Repeat("<", 9e3): strings.Repeat("<", 9e3),
	} {
		for _, p := range []page{s.create(url.Values{"name": {name}}), s.post(token.ID+"/rename", url.Values{"name": {name}})} {
			require.Equal(t, http.StatusUnprocessableEntity, p.Code)
			require.Equal(t, again, p.fields().Get("name"))
		}
	}
	require.Len(t, s.tokens("anna"), 1)
}

func TestW1OversizedForm(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	r := s.request(http.MethodPost, "new", nil)
	r.Body = http.NoBody
	long := httptest.NewRequest(http.MethodPost, r.URL.Path, oversized())
	long.Header = r.Header
	require.Equal(t, http.StatusRequestEntityTooLarge, s.send(long).Code)
	broken := httptest.NewRequest(http.MethodPost, r.URL.Path, strings.NewReader("name=%zz"))
	broken.Header = r.Header
	require.Equal(t, http.StatusBadRequest, s.send(broken).Code)
	require.Empty(t, s.tokens("anna"))
}

// send checks the headers of all that the other tests ask for.
func TestW2HeadersOfAssets(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, &tokenpage.Options{CSS: "\n:root { --tp-brand: #b00020; }\n"})
	s.user = ""
	css := s.get("tokens.css")
	require.Equal(t, "text/css; charset=utf-8", css.Header().Get("Content-Type"))
	require.True(t, strings.HasSuffix(css.body, "--tp-brand: #b00020; }\n"))
	js := s.get("copy.js")
	require.Equal(t, "text/javascript; charset=utf-8", js.Header().Get("Content-Type"))
	for _, asset := range []page{css, js} {
		require.Equal(t, http.StatusOK, asset.Code)
		require.Equal(t, "public, max-age=86400", asset.Header().Get("Cache-Control"))
		require.Empty(t, asset.Header().Get("Vary"))
	}
	behind := newSite(t, nil, nil)
	page := behind.Handler
	behind.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Accept-Encoding")
		page.ServeHTTP(w, r)
	})
	require.Equal(t, []string{"Accept-Encoding"}, behind.get("tokens.css").Header().Values("Vary"), "another's is kept")
	require.Equal(t, []string{"Accept-Encoding", "Cookie"}, behind.get("").Header().Values("Vary"))
	s.user = "anna"
	plain := newSite(t, nil, nil)
	require.NotEqual(t, attribute(plain.get("").element(t, "<link"), "href"), attribute(s.get("").element(t, "<link"), "href"),
		"a changed stylesheet has a URL of its own")
}

func TestW3FormsOfOtherSitesAreRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		headers map[string]string
		signIn  string
		status  int
	}{
		"same origin":                {map[string]string{"Sec-Fetch-Site": "same-origin"}, "anna", http.StatusOK},
		"typed in":                   {map[string]string{"Sec-Fetch-Site": "none"}, "anna", http.StatusOK},
		"cross-site":                 {map[string]string{"Sec-Fetch-Site": "cross-site"}, "anna", http.StatusForbidden},
		"same-site":                  {map[string]string{"Sec-Fetch-Site": "same-site"}, "anna", http.StatusForbidden},
		"null origin":                {map[string]string{"Origin": "null"}, "anna", http.StatusForbidden},
		"other origin":               {map[string]string{"Origin": "https://evil.example"}, "anna", http.StatusForbidden},
		"origin of another port":     {map[string]string{"Origin": "http://example.com:81"}, "anna", http.StatusForbidden},
		"old browser":                {map[string]string{"Origin": "https://example.com"}, "anna", http.StatusOK},
		"no browser":                 {nil, "anna", http.StatusOK},
		"no browser and no session":  {nil, "", http.StatusUnauthorized},
		"cross-site, not signed in":  {map[string]string{"Sec-Fetch-Site": "cross-site"}, "", http.StatusForbidden},
		"same origin, not signed in": {map[string]string{"Sec-Fetch-Site": "same-origin"}, "", http.StatusUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, nil, nil)
			s.user = test.signIn
			_, token := s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop"})
			for path, form := range map[string]url.Values{
				"new":                {"user": {"anna"}, "name": {"phone"}, "expires": {"7"}},
				token.ID + "/rename": {"name": {"tablet"}},
				token.ID + "/rotate": {"generation": {"1"}, "grace": {"0"}},
				token.ID + "/revoke": {},
			} {
				r := s.request(http.MethodPost, path, form)
				r.Header.Del("Sec-Fetch-Site")
				for name, value := range test.headers {
					r.Header.Set(name, value)
				}
				status := s.send(r).Code
				if status == http.StatusSeeOther || status == http.StatusNotFound { // revoked before, as the order may be
					status = http.StatusOK
				}
				require.Equal(t, test.status, status, path)
			}
			tokens := s.tokens("anna")
			if test.status != http.StatusOK {
				require.Equal(t, []tokenauth.Token{token}, tokens, "nothing changed")
			} else {
				require.Len(t, tokens, 2)
			}
		})
	}
}

func TestW4LookingChangesNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	_, token := s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop"})
	query := "?" + url.Values{"user": {"anna"}, "name": {"phone"}, "expires": {"7"}, "generation": {"1"}, "grace": {"0"}, "done": {"revoke"}}.Encode()
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions} {
		for _, path := range []string{"", "history", "new", token.ID + "/rename", token.ID + "/rotate", token.ID + "/revoke"} {
			p := s.send(s.request(method, path+query, nil))
			if method == http.MethodGet || method == http.MethodHead {
				require.Equal(t, http.StatusOK, p.Code)
				continue
			}
			require.Equal(t, http.StatusMethodNotAllowed, p.Code)
			want := "GET, HEAD, POST"
			if path == "" || path == "history" {
				want = "GET, HEAD"
			}
			require.Equal(t, want, p.Header().Get("Allow"))
		}
	}
	require.Equal(t, []tokenauth.Token{token}, s.tokens("anna"))
	require.Equal(t, http.StatusMethodNotAllowed, s.post("", nil).Code)
	require.Equal(t, "GET, HEAD", s.post("tokens.css", nil).Header().Get("Allow"))
}

func TestW5KeyIsShownOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	form := url.Values{"name": {"laptop"}}
	created := s.create(form)
	require.True(t, s.works(created.key))
	require.Equal(t, 1, strings.Count(created.body, created.key), "in one place")
	require.Contains(t, created.text(), "You will not see it again")
	require.Contains(t, created.element(t, "<textarea"), "readonly")

	again := s.create(form) // as by reloading the page
	require.Equal(t, http.StatusConflict, again.Code)
	require.Empty(t, again.key)
	require.Contains(t, again.text(), "its key cannot be shown again")
	require.Len(t, s.tokens("anna"), 1)
	require.True(t, s.works(created.key))

	id := s.tokens("anna")[0].ID
	rotation := s.get(id + "/rotate").fields()
	rotated := s.post(id+"/rotate", rotation)
	require.Equal(t, http.StatusOK, rotated.Code)
	require.NotEqual(t, created.key, rotated.key)
	require.True(t, s.works(rotated.key))
	require.Equal(t, 1, strings.Count(rotated.body, rotated.key))

	again = s.post(id+"/rotate", rotation)
	require.Equal(t, http.StatusConflict, again.Code)
	require.Empty(t, again.key)
	require.True(t, s.works(rotated.key))
	require.Equal(t, 2, s.tokens("anna")[0].Generation)

	third := s.post(id+"/rotate", again.fields()) // the form shown again may be meant
	require.Equal(t, http.StatusOK, third.Code)
	require.True(t, s.works(third.key))
}

func TestW7SessionChangesBetweenViewAndForm(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, &tokenpage.Options{SignInURL: signInURL})
	_, token := s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop"})
	forms := map[string]url.Values{"new": nil, token.ID + "/rename": nil, token.ID + "/rotate": nil, token.ID + "/revoke": nil}
	for path := range forms {
		forms[path] = s.get(path).fields()
		forms[path].Set("name", "phone")
	}
	for user, status := range map[string]int{"": http.StatusUnauthorized, "ben": http.StatusNotFound} {
		s.user = user
		for path, form := range forms {
			want := status
			if path == "new" && user == "ben" {
				want = http.StatusConflict
			}
			p := s.post(path, form)
			require.Equal(t, want, p.Code, path)
			require.Empty(t, p.key)
			require.NotContains(t, p.body, "laptop")
			if user == "" {
				require.Contains(t, p.text(), "Nothing was changed. Sign in")
			}
		}
		require.Equal(t, []tokenauth.Token{token}, s.tokens("anna"))
		require.Empty(t, s.tokens("ben"))
	}
	s.user = ""
	for path := range forms {
		p := s.get(path)
		require.Equal(t, http.StatusSeeOther, p.Code)
		require.Equal(t, signInURL, p.Header().Get("Location"))
		require.Empty(t, p.body)
	}
}

func TestW7NotSignedInWithoutSignIn(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	s.user = ""
	p := s.get("")
	require.Equal(t, http.StatusUnauthorized, p.Code)
	require.Equal(t, "You are not signed in – API tokens", p.title)
}

// Where the service takes a key for a sign-in, whoever has one gets no other by it.
func TestW7KeyIsNoSignIn(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	key, token := s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop", Scopes: []string{"read"}})
	auth := newAuth(s.Manager)
	userID := func(r *http.Request) (string, error) {
		user, _ := auth.User(r.Context())
		return user, nil
	}
	isStaff := func(r *http.Request) (bool, error) {
		user, err := userID(r)
		return user == "anna", err
	}
	mux := http.NewServeMux()
	mux.Handle(prefix, auth.Optional(http.StripPrefix("/account/tokens", must.Get(tokenpage.New(s.Manager, userID, nil)))))
	mux.Handle("/staff/", auth.Optional(http.StripPrefix("/staff", must.Get(tokenpage.NewStaff(s.Manager, isStaff, nil)))))
	s.Handler = mux
	for _, path := range []string{"", "history", "new", token.ID + "/rename", token.ID + "/rotate", token.ID + "/revoke", "/staff/", "/staff/" + token.ID + "/revoke"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if method == http.MethodPost && (path == "" || path == "history" || path == "/staff/") {
				continue
			}
			r := s.request(method, path, url.Values{"user": {"anna"}, "name": {"phone"}, "scope": {"admin"}, "expires": {"never"}, "generation": {"1"}, "grace": {"0"}})
			r.Header.Set("Authorization", "Bearer "+key)
			p := s.send(r)
			require.Equal(t, http.StatusForbidden, p.Code, path)
			require.Contains(t, p.text(), "not for programs that present the key")
			require.NotContains(t, p.body, "laptop")
		}
	}
	tokens := s.tokens("anna")
	require.Len(t, tokens, 1)
	require.Equal(t, 1, tokens[0].Generation)
	require.Zero(t, tokens[0].RevokedAt)
}

// A path that names no token changes none, also where no mux cleans paths.
func TestW7PathWithoutToken(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	_, token := s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop"})
	s.Handler = http.StripPrefix("/account/tokens", must.Get(tokenpage.New(s.Manager, func(*http.Request) (string, error) { return "anna", nil }, nil)))
	for action, form := range map[string]url.Values{"rename": {"name": {"phone"}}, "rotate": {"generation": {"1"}, "grace": {"0"}}, "revoke": nil} {
		require.Equal(t, http.StatusNotFound, s.get("/account/tokens//"+action).Code, action)
		require.Equal(t, http.StatusNotFound, s.post("/account/tokens//"+action, form).Code, action)
	}
	s.Handler = http.StripPrefix("/staff", must.Get(tokenpage.NewStaff(s.Manager, func(*http.Request) (bool, error) { return true, nil }, nil)))
	require.Equal(t, http.StatusNotFound, s.post("/staff//revoke", nil).Code)
	require.Equal(t, []tokenauth.Token{token}, s.tokens("anna"))
}

// Another user's token and one that there is not look the same.
func TestW7TokensOfOthers(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	key, token := s.issue(tokenauth.Spec{UserID: "ben", Name: "laptop"})
	for _, action := range []string{"rename", "rotate", "revoke"} {
		for _, form := range []url.Values{nil, {"name": {"mine"}, "generation": {"1"}, "grace": {"0"}}} {
			ask := func(id string) page {
				if form == nil {
					return s.get(id + "/" + action)
				}
				return s.post(id+"/"+action, form)
			}
			other, none := ask(token.ID), ask("NOSUCHTOKEN")
			require.Equal(t, http.StatusNotFound, other.Code)
			require.Equal(t, none.body, other.body)
		}
	}
	require.True(t, s.works(key))
	require.NotContains(t, s.get("?user=ben").body, "laptop", "only staff searches")
	forged := cursorAt(t, token.CreatedAt.Add(-time.Microsecond), token.ID)
	require.NotContains(t, s.get("?after="+forged).body, "laptop")
}
