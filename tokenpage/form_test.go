package tokenpage_test

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
	"github.com/go-tokenauth/tokenauth/tokenpage"
)

func TestCreateWithScopesAndExpiry(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		form   url.Values
		expiry time.Time
		scopes tokenauth.Scopes
	}{
		"preset":         {url.Values{"expires": {"7"}}, noon.Add(7 * day), nil},
		"another preset": {url.Values{"expires": {"90"}, "date": {"2026-04-01"}}, noon.Add(90 * day), nil},
		"today":          {url.Values{"expires": {"date"}, "date": {"2026-03-01"}}, time.Date(2026, 3, 1, 23, 59, 59, 0, time.UTC), nil},
		"a date":         {url.Values{"expires": {"date"}, "date": {"2027-12-31"}}, time.Date(2027, 12, 31, 23, 59, 59, 0, time.UTC), nil},
		"never":          {url.Values{"expires": {"never"}}, time.Time{}, nil},
		"scopes":         {url.Values{"expires": {"never"}, "scope": {"b", "a"}}, time.Time{}, tokenauth.Scopes{"a", "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, &tokenauth.Options{Scopes: []string{"a", "b", "c"}, DefaultTTL: day}, nil)
			test.form.Set("name", " laptop ")
			require.Equal(t, http.StatusOK, s.create(test.form).Code)
			token := s.tokens("anna")[0]
			require.Equal(t, "laptop", token.Name)
			require.Equal(t, test.expiry, token.ExpiresAt)
			require.Equal(t, test.scopes, token.Scopes)
		})
	}
}

// "As late as allowed" is what the limit says, not what the Manager gives to those who don't choose.
func TestCreateAsLateAsAllowed(t *testing.T) {
	t.Parallel()
	s := newSite(t, &tokenauth.Options{MaxTTL: 2 * day, DefaultTTL: time.Hour}, nil)
	require.Equal(t, http.StatusOK, s.create(url.Values{"name": {"laptop"}, "expires": {"longest"}}).Code)
	require.Equal(t, s.Clock.Now().Add(2*day), s.tokens("anna")[0].ExpiresAt)
}

// Who chooses a last day sees that day.
func TestLastDayIsShownAsChosen(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	p := s.create(url.Values{"name": {"laptop"}, "expires": {"date"}, "date": {"2026-12-31"}})
	require.Contains(t, p.text(), "31 Dec 2026")
	require.Contains(t, s.get("").text(), "31 Dec 2026")
}

// A browser would refuse to send a form with a wrong day, and show no word of it where
// the field is hidden.
func TestBrowserLeavesDaysToThePage(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	require.Contains(t, s.get("new").element(t, "<form", `action="new"`), " novalidate")
	require.Equal(t, http.StatusOK, s.create(url.Values{"name": {"phone"}, "expires": {"7"}, "date": {"1999-01-01"}}).Code)
}

// Each mistake is told above the form and at its field, and all else is kept.
func TestCreateWithMistakes(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		form   url.Values
		status int
		field  string // that the error points to
		says   string
	}{
		"no name":          {url.Values{"name": {""}}, http.StatusUnprocessableEntity, "tp-name", "Enter a name"},
		"name taken":       {url.Values{"name": {"laptop"}}, http.StatusConflict, "tp-name", "already have a token"},
		"unknown scope":    {url.Values{"scope": {"a", "admin"}}, http.StatusUnprocessableEntity, "tp-scope-0", "Choose only"},
		"no expiry":        {url.Values{"expires": {""}}, http.StatusUnprocessableEntity, "tp-expires-0", "Choose when"},
		"own expiry":       {url.Values{"expires": {"8"}}, http.StatusUnprocessableEntity, "tp-expires-0", "Choose when"},
		"huge expiry":      {url.Values{"expires": {"9999999999999"}}, http.StatusUnprocessableEntity, "tp-expires-0", "Choose when"},
		"not offered":      {url.Values{"expires": {"longest"}}, http.StatusUnprocessableEntity, "tp-expires-0", "Choose when"},
		"no date":          {url.Values{"expires": {"date"}}, http.StatusUnprocessableEntity, "tp-date", "Enter a day"},
		"not a date":       {url.Values{"expires": {"date"}, "date": {"31.3.2026"}}, http.StatusUnprocessableEntity, "tp-date", "Enter a day"},
		"yesterday":        {url.Values{"expires": {"date"}, "date": {"2026-02-28"}}, http.StatusUnprocessableEntity, "tp-date", "Enter a day"},
		"too late":         {url.Values{"expires": {"date"}, "date": {"9999-12-31"}}, http.StatusUnprocessableEntity, "tp-date", "Enter a day"},
		"against a policy": {url.Values{"expires": {"never"}}, http.StatusUnprocessableEntity, "tp-expires-0", "Choose when"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// The page does not know of the policy: the Manager decides.
			s := newSite(t, &tokenauth.Options{Scopes: []string{"a", "b"}, MaxTTL: 365 * day}, nil)
			s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop"})
			form := url.Values{"name": {"phone"}, "scope": {"b"}, "expires": {"30"}}
			for field, values := range test.form {
				form[field] = values
			}
			p := s.create(form)
			require.Equal(t, test.status, p.Code)
			require.Len(t, s.tokens("anna"), 1)
			require.Equal(t, "Error: New token – API tokens", p.title)
			require.Contains(t, p.element(t, `role="alert"`), "autofocus")
			p.element(t, "<a ", `href="#`+test.field+`"`)
			require.Equal(t, 2, strings.Count(p.text(), test.says), "above the form and at the field")
			p.element(t, "-error", "aria-describedby")
			if test.field != "tp-scope-0" {
				p.element(t, `aria-invalid="true"`)
			}
			require.Equal(t, form.Get("name"), p.fields().Get("name"))
			require.Equal(t, form.Get("date"), p.fields().Get("date"))
			require.Contains(t, p.fields()["scope"], form["scope"][0])
		})
	}
}

// The Manager refuses what this page offers if it is too much. The page says at which field.
func TestCreateWithTooManyScopes(t *testing.T) {
	t.Parallel()
	var scopes []string
	for i := range 101 {
		scopes = append(scopes, "s"+strconv.Itoa(i))
	}
	s := newSite(t, &tokenauth.Options{Scopes: scopes}, nil)
	p := s.create(url.Values{"name": {"laptop"}, "scope": scopes})
	require.Equal(t, http.StatusUnprocessableEntity, p.Code)
	p.element(t, "<a ", `href="#tp-scope-0"`)
	require.Empty(t, s.tokens("anna"))
}

func TestCreateBeyondTheLimit(t *testing.T) {
	t.Parallel()
	s := newSite(t, &tokenauth.Options{MaxPerUser: 1}, nil)
	s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop"})
	p := s.create(url.Values{"name": {"phone"}})
	require.Equal(t, http.StatusConflict, p.Code)
	require.Contains(t, p.text(), "Revoke one that you no longer need")
	require.Equal(t, "phone", p.fields().Get("name"))
}

// Where others take the last places meanwhile, the form says so.
func TestCreateWhileOthersDo(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	s.Store.Fail(tokenauth.ErrConflict)
	p := s.create(url.Values{"name": {"phone"}})
	require.Equal(t, http.StatusConflict, p.Code)
	require.Contains(t, p.text(), "Nothing was created. Try again.")
}

// No expiry is offered that the policy does not allow, and what is preselected works.
func TestExpiriesOnOffer(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		maxTTL      time.Duration
		offered     []string
		preselected string
		maxDate     string
	}{
		"no limit": {0, []string{"7", "30", "90", "date", "never"}, "90", ""},
		"a year":   {365 * day, []string{"7", "30", "90", "date"}, "90", "2027-02-28"},
		"90 days":  {90 * day, []string{"7", "30", "90", "date"}, "90", "2026-05-29"},
		"31 days":  {31 * day, []string{"7", "30", "date"}, "30", "2026-03-31"},
		"a week":   {7 * day, []string{"7", "date"}, "7", "2026-03-07"},
		"two days": {2 * day, []string{"longest", "date"}, "longest", "2026-03-02"},
		"an hour":  {time.Hour, []string{"longest"}, "longest", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, &tokenauth.Options{MaxTTL: test.maxTTL}, nil)
			p := s.get("new")
			for _, value := range []string{"longest", "7", "30", "90", "date", "never"} {
				radio := `name="expires" value="` + value + `"`
				if !contains(test.offered, value) {
					require.NotContains(t, p.body, radio)
					continue
				}
				require.Contains(t, p.body, radio)
				form := url.Values{"name": {"phone " + value}, "expires": {value}, "date": {test.maxDate}}
				if value == "date" && test.maxDate == "" {
					form.Set("date", "2026-03-01")
				}
				require.Equal(t, http.StatusOK, s.create(form).Code, value)
			}
			require.Equal(t, test.preselected, p.fields().Get("expires"))
			if test.maxDate != "" {
				require.Equal(t, test.maxDate, attribute(p.element(t, `type="date"`), "max"))
			}
			form := p.fields()
			form.Set("name", "as it is")
			require.Equal(t, http.StatusOK, s.create(form).Code)
		})
	}
}

func contains(list []string, s string) bool {
	return strings.Contains(" "+strings.Join(list, " ")+" ", " "+s+" ")
}

func TestScopesOnOffer(t *testing.T) {
	t.Parallel()
	described := map[string]string{"b": "Bees"}
	s := newSite(t, &tokenauth.Options{Scopes: []string{"a", "b"}}, &tokenpage.Options{Scopes: described})
	require.Contains(t, s.get("new").text(), "needs. a b Bees")
	s = newSite(t, nil, &tokenpage.Options{Scopes: described})
	described["b"], described["c"] = "Wasps", "Changed later"
	require.Contains(t, s.get("new").text(), "needs. b Bees Expires")
	require.Equal(t, http.StatusUnprocessableEntity, s.create(url.Values{"name": {"x"}, "scope": {"c"}}).Code)
	s = newSite(t, nil, nil)
	require.NotContains(t, s.get("new").body, "checkbox")
}

func TestRename(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	key, token := s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop"})
	_, short := s.issue(tokenauth.Spec{UserID: "anna", Name: "phone", ExpiresAt: s.Clock.Now().Add(day)})
	p := s.post(token.ID+"/rename", url.Values{"name": {"phone"}})
	require.Equal(t, http.StatusConflict, p.Code)
	require.Equal(t, "phone", p.fields().Get("name"))
	require.Contains(t, p.text(), "You already have a token with this name.")
	require.Equal(t, http.StatusSeeOther, s.post(token.ID+"/rename", url.Values{"name": {" tablet "}}).Code)
	require.Contains(t, s.get("").text(), "tablet No scopes")
	require.True(t, s.works(key))
	s.Clock.Advance(day)
	p = s.post(short.ID+"/rename", url.Values{"name": {"old phone"}})
	require.Equal(t, http.StatusConflict, p.Code)
	require.Contains(t, p.text(), "The token has expired. Nothing was changed.")
}

func TestRotateWithGrace(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		grace string
		lasts time.Duration
		says  string
	}{
		"now":           {"0", 0, "The key before it no longer works."},
		"an hour":       {"3600", time.Hour, "The key before it stops working in 1 hour (1 Mar 2026)"},
		"a day":         {"86400", day, "The key before it stops working in 24 hours (2 Mar 2026)"},
		"a week":        {"604800", 3 * day, "The key before it stops working in 3 days (4 Mar 2026)"}, // not beyond the token's expiry
		"never offered": {"60", -1, "Choose when"},
		"negative":      {"-3600", -1, "Choose when"},
		"overflow":      {"9223372036854775807", -1, "Choose when"},
		"none":          {"", -1, "Choose when"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, nil, nil)
			key, token := s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop", ExpiresAt: s.Clock.Now().Add(3 * day)})
			p := s.post(token.ID+"/rotate", url.Values{"generation": {"1"}, "grace": {test.grace}})
			require.Contains(t, p.text(), test.says)
			if test.lasts < 0 {
				require.Equal(t, http.StatusUnprocessableEntity, p.Code)
				require.True(t, s.works(key))
				return
			}
			require.True(t, s.works(p.key))
			if test.lasts > 0 {
				s.Clock.Advance(test.lasts - time.Second)
				require.True(t, s.works(key))
				s.Clock.Advance(time.Second)
			}
			require.False(t, s.works(key))
		})
	}
}

func TestRotateExpired(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	_, token := s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop", ExpiresAt: s.Clock.Now().Add(day)})
	form := s.get(token.ID + "/rotate").fields()
	s.Clock.Advance(day)
	p := s.post(token.ID+"/rotate", form)
	require.Equal(t, http.StatusConflict, p.Code)
	require.Contains(t, p.text(), "No new key was made")
}

func TestRevokeTwice(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	_, token := s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop"})
	for range 2 {
		p := s.post(token.ID+"/revoke", nil)
		require.Equal(t, http.StatusSeeOther, p.Code)
		require.Equal(t, "../?done=revoke", p.Header().Get("Location"))
	}
	for _, action := range []string{"rename", "rotate", "revoke"} {
		require.Equal(t, http.StatusNotFound, s.get(token.ID+"/"+action).Code)
	}
	require.Equal(t, http.StatusNotFound, s.post(token.ID+"/rotate", url.Values{"generation": {"1"}, "grace": {"0"}}).Code)
}

func TestListMarksWhatExpires(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	now := s.Clock.Now()
	s.Clock.Advance(-30 * day)
	s.issue(tokenauth.Spec{UserID: "anna", Name: "near", ExpiresAt: now.Add(8 * day)})
	s.issue(tokenauth.Spec{UserID: "anna", Name: "far", ExpiresAt: now.Add(9*day + time.Hour)})
	s.Clock.Advance(30 * day)
	s.issue(tokenauth.Spec{UserID: "anna", Name: "past", ExpiresAt: now.Add(time.Hour)})
	s.issue(tokenauth.Spec{UserID: "anna", Name: "for a week", ExpiresAt: now.Add(7 * day)})
	s.issue(tokenauth.Spec{UserID: "anna", Name: "endless", NoExpiry: true})
	s.Clock.Advance(day + time.Hour)
	text := s.get("").text()
	require.Contains(t, text, "past Expired No scopes")
	require.Contains(t, text, "Expired 24 hours ago 1 Mar 2026")
	require.Contains(t, text, "near Expires soon No scopes")
	require.Contains(t, text, "Expires in 7 days 9 Mar 2026")
	require.Contains(t, text, "far No scopes")
	require.Contains(t, text, "for a week No scopes", "it was made yesterday")
	require.Contains(t, text, "Expires Never Last used Never")
	require.NotContains(t, text, "Rotate past", "it would be refused")
	require.Contains(t, text, "Revoke past")
}

// A form costs the database no more than the Manager's own call does.
func TestStoreCalls(t *testing.T) {
	t.Parallel()
	store := tokenauthtest.NewStore(tokenauth.NewMemoryStore())
	m := must.Get(tokenauth.New(store, "acme", nil))
	_, token, err := m.Issue(context.Background(), tokenauth.Spec{UserID: "anna", Name: "laptop"})
	require.NoError(t, err)
	_, other, err := m.Issue(context.Background(), tokenauth.Spec{UserID: "anna", Name: "phone"})
	require.NoError(t, err)
	s := newSite(t, nil, nil)
	s.mount(m, nil)
	const staff = "/staff/"
	for _, c := range []struct {
		path   string
		form   url.Values // nil: none is sent
		status int
		calls  []string
	}{
		{"", nil, 200, []string{"List"}},
		{"history", nil, 200, []string{"List"}},
		{"new", nil, 200, nil},
		{token.ID + "/rename", nil, 200, []string{"List"}},
		{token.ID + "/rotate", nil, 200, []string{"List"}},
		{token.ID + "/revoke", nil, 200, []string{"List"}},
		{"new", url.Values{"user": {"anna"}, "name": {"desk"}, "expires": {"7"}}, 200, []string{"List", "Create"}},
		{"new", url.Values{"user": {"anna"}, "name": {""}, "expires": {"7"}}, 422, nil},
		{token.ID + "/rename", url.Values{"name": {"old laptop"}}, 303, []string{"Update", "List"}},
		{token.ID + "/rename", url.Values{"name": {""}}, 422, []string{"List"}},
		{token.ID + "/rename", url.Values{"name": {"phone"}}, 409, []string{"Update", "List"}},
		{token.ID + "/rotate", url.Values{"generation": {"1"}, "grace": {"0"}}, 200, []string{"List", "Rotate"}},
		{token.ID + "/rotate", url.Values{"generation": {"1"}, "grace": {"0"}}, 409, []string{"List", "List"}},
		{token.ID + "/rotate", url.Values{"generation": {"2"}, "grace": {"1"}}, 422, []string{"List"}},
		{token.ID + "/revoke", url.Values{}, 303, []string{"Revoke"}},
		{staff, nil, 200, []string{"List"}},
		{staff + "history", nil, 200, []string{"List"}},
		{staff + other.ID + "/revoke", nil, 200, []string{"List"}},
		{staff + other.ID + "/revoke", url.Values{}, 303, []string{"List", "Revoke"}}, // whose it is stands in no form
	} {
		if s.user = "anna"; strings.HasPrefix(c.path, staff) {
			s.user = "root"
		}
		store.ResetCalls()
		var p page
		if c.form == nil {
			p = s.get(c.path)
		} else {
			p = s.post(c.path, c.form)
		}
		require.Equal(t, c.status, p.Code, "%s %v", c.path, c.form)
		require.Equal(t, c.calls, store.Calls(), "%s %v", c.path, c.form)
	}
}
