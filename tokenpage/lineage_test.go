package tokenpage_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
)

// This file tests that the pages name themselves as actors, and show who created and revoked a
// token.

// as returns a context of calls of the Manager by an actor.
func as(t *testing.T, by string) context.Context {
	return tokenauth.ContextWithActor(t.Context(), by)
}

// issueAs issues a token as an actor.
func (s *site) issueAs(by string, spec tokenauth.Spec) tokenauth.Token {
	_, token, err := s.Manager.Issue(as(s.t, by), spec)
	require.NoError(s.t, err)
	return token
}

// Each change must be stored and logged with its actor: the signed-in user, or staff. Otherwise
// nobody could find out later which tokens an intruder made.
func TestChangesNameActor(t *testing.T) {
	t.Parallel()
	var by []string
	s := newSite(t, &tokenauth.Options{OnEvent: func(_ context.Context, e tokenauth.Event) { by = append(by, string(e.Kind)+" "+e.By) }}, nil)
	require.Equal(t, http.StatusOK, s.create(url.Values{"name": {"laptop"}}).Code)
	token := s.tokens("anna")[0]
	require.Equal(t, "user:anna", token.CreatedBy)
	s.post(token.ID+"/rename", url.Values{"name": {"desk"}})
	s.post(token.ID+"/rotate", url.Values{"generation": {"1"}, "grace": {"0"}})
	s.post(token.ID+"/revoke", nil)
	require.Equal(t, "user:anna", s.tokens("anna")[0].RevokedBy)
	_, token = s.issue(tokenauth.Spec{UserID: "ben", Name: "phone"})
	s.user = "root"
	s.post("/staff/"+token.ID+"/revoke", nil)
	require.Equal(t, "staff", s.tokens("ben")[0].RevokedBy)
	require.Equal(t, []string{"issued user:anna", "updated user:anna", "rotated user:anna", "revoked user:anna", "issued ", "revoked staff"}, by)
}

// A service may name the actor itself, for example the member of an organization, or of staff.
func TestServiceNamesActor(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	inner := s.Handler
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner.ServeHTTP(w, r.WithContext(tokenauth.ContextWithActor(r.Context(), "member:7")))
	})
	s.create(url.Values{"name": {"laptop"}})
	token := s.tokens("anna")[0]
	require.Equal(t, "member:7", token.CreatedBy)
	s.user = "root"
	s.post("/staff/"+token.ID+"/revoke", nil)
	require.Equal(t, "member:7", s.tokens("anna")[0].RevokedBy)
}

// A token that is revoked because the session ended must have the user as the actor too.
func TestRevocationAfterSecondLookNamesActor(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	s.afterCreate(func(*http.Request) (string, error) { return "", nil })
	s.create(url.Values{"name": {"laptop"}})
	require.Equal(t, "user:anna", s.tokens("anna")[0].RevokedBy)
}

// The pages must say who created and revoked a token in words, and must not say that users created
// their own tokens. Only staff may see which member of staff it was.
func TestHistoryShowsActors(t *testing.T) {
	t.Parallel()
	for by, test := range map[string]struct{ user, staff string }{
		"user:anna":                        {"by you", "by the user"},
		"user:ben":                         {"by the user ben", "by the user ben"},
		"user:":                            {"by user:", "by user:"},
		"user":                             {"by user", "by user"},
		"staff":                            {"by staff", "by staff"},
		"staff:7":                          {"by staff", "by staff 7"},
		"staffing:7":                       {"by staffing:7", "by staffing:7"},
		"cli":                              {"by an administrator", "by an administrator"},
		"cli:7":                            {"by cli:7", "by cli:7"},
		"login":                            {"by a login with the password", "by a login with the password"},
		"login:7":                          {"by login:7", "by login:7"},
		"token:":                           {"by token:", "by token:"},
		"token:GONE":                       {"by the token GONE", "by the token GONE"},
		"token:a b":                        {"by the token a b", "by the token a b"},
		"member:<script>alert(1)</script>": {"by member:<script>alert(1)</script>", "by member:<script>alert(1)</script>"},
		`token:"><b>{{.}}`:                 {`by the token "><b>{{.}}`, `by the token "><b>{{.}}`},
	} {
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, nil, nil)
			token := s.issueAs(by, tokenauth.Spec{UserID: "anna", Name: "laptop"})
			created := func(says string) string {
				if by == "user:anna" {
					return "Created just now 1 Mar 2026 "
				}
				return "Created just now 1 Mar 2026 " + says + " "
			}
			for _, path := range []string{"", "history", token.ID + "/rename", token.ID + "/rotate", token.ID + "/revoke"} {
				require.Contains(t, s.get(path).text(), created(test.user)+"Expires", path)
			}
			require.NoError(t, s.Manager.Revoke(as(t, by), "anna", token.ID))
			require.Contains(t, s.get("history").text(), created(test.user)+"Revoked just now 1 Mar 2026 "+test.user+" Last used")
			s.user = "root"
			require.Contains(t, s.get("/staff/history").text(), created(test.staff)+"Revoked just now 1 Mar 2026 "+test.staff+" Last used")
		})
	}
}

// Without an actor, for example in an old row, the page must not leave an empty "by".
func TestHistoryWithoutActor(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	_, token := s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop"})
	require.NoError(t, s.Manager.Revoke(t.Context(), "anna", token.ID))
	require.Contains(t, s.get("history").text(), "Created just now 1 Mar 2026 Revoked just now 1 Mar 2026 Last used")
}

// The page must name the tokens that created or revoked others, also revoked ones and tokens on
// other pages. One query must find all of them. A user must not learn the name of a token of
// another user.
func TestHistoryNamesTokens(t *testing.T) {
	t.Parallel()
	s := newSite(t, &tokenauth.Options{MaxPerUser: -1}, nil)
	_, ci := s.issue(tokenauth.Spec{UserID: "anna", Name: "CI"})
	_, foreign := s.issue(tokenauth.Spec{UserID: "ben", Name: "secret name"})
	s.Clock.Advance(time.Second)
	job := s.issueAs("token:"+ci.ID, tokenauth.Spec{UserID: "anna", Name: "job"})
	calls := func(path, says string, lists int) page {
		t.Helper()
		s.Store.ResetCalls()
		p := s.get(path)
		require.Contains(t, p.text(), says)
		require.Len(t, s.Store.Calls(), lists)
		return p
	}
	calls("", "by the token CI", 1) // CI is on the page
	later := "?after=" + cursorAt(t, ci.CreatedAt, ci.ID)
	calls(later, "by the token CI", 2)
	calls(job.ID+"/revoke", "by the token CI", 2)
	require.NoError(t, s.Manager.Revoke(t.Context(), "anna", ci.ID))
	calls("", "by the token CI", 2)

	spy := s.issueAs("token:"+foreign.ID, tokenauth.Spec{UserID: "anna", Name: "spy"})
	require.NoError(t, s.Manager.Revoke(as(t, "token:"+foreign.ID), "anna", job.ID))
	p := calls("history"+later, "by the token "+foreign.ID, 2)
	require.NotContains(t, p.body, "secret name")
	require.NotContains(t, s.get(spy.ID+"/revoke").body, "secret name")
	s.user = "root"
	calls("/staff/?user=anna", "by the token secret name", 2)
	calls("/staff/history", "by the token secret name", 1)
	s.Store.ResetCalls()
	p = s.get("/staff/history" + later)
	require.Contains(t, p.text(), "by the token secret name")
	require.Contains(t, p.text(), "by the token CI")
}

// If the query for the names fails, the page must show the IDs, because a new key on the page would
// be lost otherwise.
func TestPagesShowIDsIfNamesFail(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	_, ci := s.issue(tokenauth.Spec{UserID: "anna", Name: "CI"})
	job := s.issueAs("token:"+ci.ID, tokenauth.Spec{UserID: "anna", Name: "job"})
	require.NoError(t, s.Manager.Revoke(t.Context(), "anna", ci.ID))
	for i, c := range []struct {
		path  string
		form  url.Values // nil for a GET request
		calls int        // number of calls of the store before the query
	}{
		{"", nil, 1},
		{job.ID + "/rotate", url.Values{"generation": {"1"}, "grace": {"0"}}, 3},
	} {
		calls := 0
		s.Store.Intercept(func(_ context.Context, _ string, next func() error) error {
			if calls++; calls > c.calls {
				return errDown
			}
			return next()
		})
		p := s.visit(c.path, c.form)
		require.Equal(t, http.StatusOK, p.Code)
		require.Contains(t, p.text(), "by the token "+ci.ID)
		require.Equal(t, c.form != nil, p.key != "")
		require.Len(t, s.logged, i+1)
		require.Contains(t, s.logged[i], errDown.Error(), "OnError must receive the cause")
	}
}

// After a rotation, the page must show how long the previous key works, so that a user knows when
// the programs must have the new key.
func TestPagesShowPreviousKey(t *testing.T) {
	t.Parallel()
	s := newSite(t, &tokenauth.Options{IdleTimeout: 5 * day}, nil)
	key, token := s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop", ExpiresAt: s.Clock.Now().Add(30 * day)})
	_, near := s.issue(tokenauth.Spec{UserID: "anna", Name: "near", ExpiresAt: s.Clock.Now().Add(day)})
	for _, id := range []string{token.ID, near.ID} {
		p := s.post(id+"/rotate", url.Values{"generation": {"1"}, "grace": {"604800"}})
		require.Equal(t, 1, strings.Count(strings.ToLower(p.text()), "previous key"), "the page must say it once")
	}
	const week, shown = "Last used Never Previous key works until in 7 days 8 Mar 2026", "Previous key works until"
	for _, path := range []string{"", "history", token.ID + "/rename", token.ID + "/rotate", token.ID + "/revoke"} {
		require.Contains(t, s.get(path).text(), week, path)
	}
	require.Contains(t, s.get("").text(), "Previous key works until in 24 hours 2 Mar 2026", "it works as long as its token")
	s.user = "root"
	require.Contains(t, s.get("/staff/").text(), week)
	s.user = "anna"
	require.NoError(t, s.Manager.Revoke(t.Context(), "anna", near.ID))
	s.Clock.Advance(5*day - time.Second)
	require.True(t, s.works(key))
	s.Clock.Advance(5 * day)
	require.False(t, s.works(key))
	require.Contains(t, s.get("").text(), "Unused for too long")
	require.NotContains(t, s.get("history").text(), shown)

	key, token = s.issue(tokenauth.Spec{UserID: "anna", Name: "phone"})
	s.post(token.ID+"/rotate", url.Values{"generation": {"1"}, "grace": {"3600"}})
	s.Clock.Advance(time.Hour - time.Second)
	require.True(t, s.works(key))
	require.Contains(t, s.get("").text(), "Previous key works until in a moment")
	s.Clock.Advance(time.Second)
	require.False(t, s.works(key))
	require.NotContains(t, s.get("").text(), shown)
}
