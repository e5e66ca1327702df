package browser

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
)

const (
	nobody = "nobody" // name of the visitor who does not sign in
	day    = 24 * time.Hour

	ofUser = " – API tokens"
	ofAll  = " – API tokens of all users"
)

// at returns a function that opens the page at a path.
func at(path string) func(*tab) { return func(b *tab) { b.visit(path) } }

// sending returns a function that opens the form at a path, runs the steps and sends the form.
func sending(path string, steps ...action) func(*tab) {
	return func(b *tab) {
		b.visit(path)
		b.do(steps...)
		b.load(mouse{}.press(submit))
	}
}

// wrong is like sending, for a form that the server refuses. The error must have the focus, so that
// a screen reader reads it immediately.
func wrong(path string, steps ...action) func(*tab) {
	return func(b *tab) {
		sending(path, steps...)(b)
		require.Equal(b.t, "alert", b.focused(), "the error must have the focus")
	}
}

// forged returns an action that gives an element a value that the page does not offer.
func forged(selector string) action {
	return chromedp.SetAttributeValue(chromedp.CSS(selector), "value", "forged")
}

func visitorViews() []view {
	return []view{
		{"sign-in", at("/sign-in"), 200, "Sign in"},
		{"wrong password", sending("/sign-in", mouse{}.write("#username", "eve"), mouse{}.write("#password", "guess")), 400, "Error: Sign in"},
	}
}

func emptyViews() []view {
	named := mouse{}.write("#tp-name", "phone")
	return []view{
		{"home", at("/"), 200, "Your notes"},
		{"list", at(list), 200, "API tokens"},
		{"history", at(list + "history"), 200, "API tokens"},
		{"form", at(list + "new"), 200, "New token" + ofUser},
		{"form with a date", func(b *tab) {
			b.visit(list + "new")
			b.do(mouse{}.choose("[name=expires][value=date]"))
		}, 200, "New token" + ofUser},
		{"not found", at(list + "nowhere"), 404, "Not found" + ofUser},
		{"not for you", at("/staff/tokens/"), 403, "Not for you" + ofAll},
		{"key", sending(list+"new", named), 200, "Your new key" + ofUser},
		{"signed out", sending(list+"new", named, set(network.ClearBrowserCookies, cdp.Empty{})), 401, "You are not signed in" + ofUser},
	}
}

// issueMany issues n tokens that look different on the page: with long and short names, with and
// without scopes, and used and unused.
func issueMany(t *testing.T, u user, n int) {
	t.Helper()
	for i := range n {
		spec := tokenauth.Spec{Name: fmt.Sprintf("program %d of %d", i+1, n)}
		switch i % 5 {
		case 1:
			spec.Name = strings.Repeat("W", 60) + fmt.Sprint(i)
			spec.Scopes = []string{"notes:read", "notes:write", "tokens:manage"}
		case 2:
			spec.Name = fmt.Sprint("نسخة احتياطية ", i)
			spec.ExpiresAt = time.Now().Add(time.Duration(i) * day / 2)
		case 3:
			spec.ExpiresAt = time.Now().Add(time.Duration(i) * time.Hour)
			spec.Scopes = []string{"notes:read"}
		}
		token := u.issue(t, 50*day, spec)
		if i%2 == 0 {
			require.NoError(t, u.store.Touch(t.Context(), tokenauth.Use{ID: token.ID, At: time.Now().Add(-time.Duration(i) * time.Hour)}))
		}
	}
}

func manyViews() []view {
	full := func(b *tab) {
		b.visit(list)
		require.Equal(b.t, 100, b.count(".tp-token"))
	}
	return []view{
		{"100 tokens", full, 200, "API tokens"},
		{"too many", wrong(list+"new", mouse{}.write("#tp-name", "one more")), 409, "Error: New token" + ofUser},
	}
}

func fewViews(t *testing.T, u user) []view {
	token := u.issue(t, 30*day, tokenauth.Spec{Name: "laptop", Scopes: []string{"notes:read"}, ExpiresAt: time.Now().Add(3 * day)})
	u.issue(t, 30*day, tokenauth.Spec{Name: "phone", ExpiresAt: time.Now().Add(-day)})
	ended := u.issue(t, 30*day, tokenauth.Spec{Name: "old phone"})
	require.NoError(t, u.manager(0).Revoke(t.Context(), u.id, ended.ID))
	at := func(what string) func(*tab) { return at(list + token.ID + "/" + what) }
	return []view{
		{"history", func(b *tab) {
			b.visit(list + "history")
			require.Equal(b.t, []string{"Expires soon", "Expired", "Revoked"},
				eval[[]string](b, "Array.from(document.querySelectorAll('.tp-badge'), e => e.innerText)"))
		}, 200, "API tokens"},
		{"renamed", sending(list+token.ID+"/rename", mouse{}.write("#tp-name", "tablet")), 200, "The token was renamed." + ofUser},
		{"rename", at("rename"), 200, "Rename the token" + ofUser},
		{"rotate", at("rotate"), 200, "Rotate the key" + ofUser},
		{"revoke", at("revoke"), 200, "Revoke this token?" + ofUser},
		{"key, previous key works", sending(list + token.ID + "/rotate"), 200, "Your new key" + ofUser},
		{"key, previous key refused", sending(list+token.ID+"/rotate", mouse{}.choose("[name=grace][value='0']")),
			200, "Your new key" + ofUser},
		{"revoked", sending(list + token.ID + "/revoke"), 200, "The token is revoked. Its key no longer works." + ofUser},
	}
}

func wrongViews(t *testing.T, u user) []view {
	u.issue(t, day, tokenauth.Spec{Name: "taken"})
	token := u.issue(t, day, tokenauth.Spec{Name: "laptop"})
	expired := u.issue(t, 30*day, tokenauth.Spec{Name: "phone", ExpiresAt: time.Now().Add(-day)})
	invisible, taken := mouse{}.write("#tp-name", " "), mouse{}.write("#tp-name", "taken")
	scope := chromedp.Steps(forged("[name=scope]"), mouse{}.choose("[name=scope]"))
	const (
		new    = "Error: New token" + ofUser
		rename = "Error: Rename the token" + ofUser
		rotate = "Error: Rotate the key" + ofUser
	)
	return []view{
		{"no name, scope, expiry", wrong(list+"new", invisible, scope, forged("[name=expires]:checked")), 422, new},
		{"no date", wrong(list+"new", invisible, mouse{}.choose("[name=expires][value=date]")), 422, new},
		{"name taken", wrong(list+"new", taken), 409, new},
		{"used form", func(b *tab) { useTwice(b, u) }, 409, new},
		{"rename, no name", wrong(list+token.ID+"/rename", invisible), 422, rename},
		{"rename, name taken", wrong(list+token.ID+"/rename", taken), 409, rename},
		{"rename, expired", wrong(list + expired.ID + "/rename"), 409, rename},
		{"rotate, no grace", wrong(list+token.ID+"/rotate", forged("[name=grace]:checked")), 422, rotate},
		{"rotate, already rotated", wrong(list+token.ID+"/rotate", forged("[name=generation]")), 409, rotate},
		{"rotate, expired", sending(list + expired.ID + "/rotate"), 409, "No new key was made" + ofUser},
	}
}

// useTwice creates a token, revokes it and sends the form again, as the browser does if the user
// reloads the page.
func useTwice(b *tab, u user) {
	sending(list+"new", mouse{}.write("#tp-name", "used"))(b)
	m := u.manager(0)
	tokens, err := m.List(b.t.Context(), tokenauth.Query{UserID: u.id})
	require.NoError(b.t, err)
	for _, token := range tokens {
		if token.Name == "used" {
			require.NoError(b.t, m.Revoke(b.t.Context(), u.id, token.ID))
		}
	}
	b.load(chromedp.Reload())
	require.Contains(b.t, b.text("[role=alert]"), "This form has already created a token")
	require.Equal(b.t, "alert", b.focused(), "the error must have the focus")
}

func staffViews(t *testing.T, of user) []view {
	token := of.issue(t, 40*day, tokenauth.Spec{Name: "server", Scopes: []string{"notes:write"}})
	const staff = "/staff/tokens/"
	found := func(b *tab) {
		b.visit(staff)
		b.do(mouse{}.write("#tp-user", of.name))
		b.load(mouse{}.press(".tp-search button"))
		require.Contains(b.t, b.text(".tp-tokens"), "server")
		require.Equal(b.t, http.StatusOK, b.status)
	}
	namesake := of.newUser(t, of.id, false) // the name of this user is the ID of the other user
	namesake.issue(t, 10*day, tokenauth.Spec{Name: "phone"})
	ambiguous := func(b *tab) {
		b.visit(staff)
		b.do(mouse{}.write("#tp-user", of.id))
		b.load(mouse{}.press(".tp-search button"))
		require.Contains(b.t, b.text(".tp-tokens"), "phone")
		require.Contains(b.t, b.text(".tp-alert"), "User ID "+of.id)
	}
	return []view{
		{"list", at(staff), 200, "API tokens of all users"},
		{"name and ID", ambiguous, 200, "API tokens of all users"},
		{"other user", func(b *tab) {
			ambiguous(b)
			b.load(mouse{}.press(".tp-alert a"))
			require.Contains(b.t, b.text(".tp-tokens"), "server")
		}, 200, "API tokens of all users"},
		{"history", at(staff + "history?user=" + of.id), 200, "API tokens of all users"},
		{"found", found, 200, "API tokens of all users"},
		{"nothing found", at(staff + "?user=unknown"), 200, "API tokens of all users"},
		{"revoke", at(staff + token.ID + "/revoke"), 200, "Revoke this token?" + ofAll},
		{"revoked", sending(staff + token.ID + "/revoke"), 200, "The token is revoked. Its key no longer works. – API tokens of all users"},
	}
}
