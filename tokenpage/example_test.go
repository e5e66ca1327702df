package tokenpage_test

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/tokenpage"
)

// signedInUser returns the ID of the user of the session.
func signedInUser(r *http.Request) (string, error) {
	cookie, err := r.Cookie("session")
	if err != nil {
		return "", nil // nobody
	}
	return strings.TrimPrefix(cookie.Value, "session of user "), nil
}

func Example() {
	tokens, err := tokenauth.New(tokenauth.NewMemoryStore(), "acme", &tokenauth.Options{Scopes: []string{"orders:read", "orders:write"}})
	if err != nil {
		panic(err)
	}
	page, err := tokenpage.New(tokens, signedInUser, &tokenpage.Options{
		Scopes: map[string]string{
			"orders:read":  "See your orders",
			"orders:write": "Place and cancel orders",
		},
		SignInURL: "/sign-in",
		CSS:       ":root { --tp-brand: #00695c; }",
	})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/account/tokens/", http.StripPrefix("/account/tokens", page))

	r := httptest.NewRequest("GET", "/account/tokens/", nil)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	fmt.Println("nobody:", w.Code, w.Header().Get("Location"))

	form := url.Values{"user": {"42"}, "id": {rand.Text()}, "name": {"laptop"}, "scope": {"orders:read"}, "expires": {"90"}}
	r = httptest.NewRequest("POST", "/account/tokens/new", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.AddCookie(&http.Cookie{Name: "session", Value: "session of user 42"})
	w = httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	fmt.Println("user 42:", w.Code, "key shown:", strings.Contains(w.Body.String(), ">acme_"))
	// Output:
	// nobody: 303 /sign-in
	// user 42: 200 key shown: true
}
