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
	"github.com/go-tokenauth/tokenauth/tokenpage"
)

// The new token must have the scopes and the expiry that the user chose. An expiry that is a day
// must last until the end of that day.
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

// The choice "as late as allowed" must mean MaxTTL. It must not mean DefaultTTL, which the Manager
// uses for a token without an expiry.
func TestLongestExpiryIsMaxTTL(t *testing.T) {
	t.Parallel()
	s := newSite(t, &tokenauth.Options{MaxTTL: 2 * day, DefaultTTL: time.Hour}, nil)
	require.Equal(t, http.StatusOK, s.create(url.Values{"name": {"laptop"}, "expires": {"longest"}}).Code)
	require.Equal(t, s.Clock.Now().Add(2*day), s.tokens("anna")[0].ExpiresAt)
}

// If the user chooses a last day, the page must show the same day.
func TestLastDayIsShownAsChosen(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	p := s.create(url.Values{"name": {"laptop"}, "expires": {"date"}, "date": {"2026-12-31"}})
	require.Contains(t, p.text(), "31 Dec 2026")
	require.Contains(t, s.get("").text(), "31 Dec 2026")
}

// The field for the day is hidden until the user chooses to enter a day. If the browser checked the
// hidden field, it would refuse to send the form without an explanation.
func TestBrowserDoesNotValidateForm(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	require.Contains(t, s.get("new").element(t, "<form", `action="new"`), " novalidate")
	require.Equal(t, http.StatusOK, s.create(url.Values{"name": {"phone"}, "expires": {"7"}, "date": {"1999-01-01"}}).Code)
}

// The page must explain each mistake twice: above the form, where a screen reader starts, and at
// the field. The form must keep all other input.
func TestCreateExplainsMistakes(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		form   url.Values
		status int
		field  string // ID of the field to which the error links
		says   string // text of the error
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
			// The page does not know MaxTTL, so the Manager refuses the expiry.
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
			require.Equal(t, 2, strings.Count(p.text(), test.says), "the error must be above the form and at the field")
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

// The Manager refuses more than 100 scopes, even if the page offers each of them. The page must say
// which field is wrong.
func TestCreateRefusesTooManyScopes(t *testing.T) {
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

// A user who has MaxPerUser tokens must read how to make room for another one. The form must keep
// the name.
func TestCreateRefusesTokenBeyondLimit(t *testing.T) {
	t.Parallel()
	s := newSite(t, &tokenauth.Options{MaxPerUser: 1}, nil)
	s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop"})
	p := s.create(url.Values{"name": {"phone"}})
	require.Equal(t, http.StatusConflict, p.Code)
	require.Contains(t, p.text(), "Revoke one that you no longer need")
	require.Equal(t, "phone", p.fields().Get("name"))
}

// If concurrent requests take all free slots of the user, the page must say that nothing was
// created.
func TestCreateReportsConflict(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	s.failCreate(tokenauth.ErrConflict)
	p := s.create(url.Values{"name": {"phone"}})
	require.Equal(t, http.StatusConflict, p.Code)
	require.Contains(t, p.text(), "Nothing was created. Try again.")
}

// failCreate makes all later calls of Create fail.
func (s *site) failCreate(err error) {
	s.Store.Intercept(func(_ context.Context, method string, next func() error) error {
		if method == "Create" {
			return err
		}
		return next()
	})
}

// The form must offer only expiries that MaxTTL allows. The expiry that is selected at first must
// be one of them.
func TestOfferedExpiriesAreAllowed(t *testing.T) {
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

// The form must offer the scopes of the Manager. If the Manager allows any scope, the form must
// offer the scopes in Options.Scopes, even if the service changes this map later.
func TestFormOffersScopes(t *testing.T) {
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
