package tokenapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/tokenapi"
	"github.com/go-tokenauth/tokenauth/tokenlogin"
)

// A service issues a token to each device that logs in with a password. Users manage their tokens
// in a browser, where a session of the service identifies them.
func Example() {
	tokens, err := tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil)
	if err != nil {
		panic(err)
	}
	find := func(_ context.Context, userID string) (string, error) { return "user " + userID, nil }
	auth, err := tokenauth.NewAuthenticator(tokens, find, nil)
	if err != nil {
		panic(err)
	}

	sessionUserID := func(r *http.Request) (string, error) {
		cookie, err := r.Cookie("session")
		if err != nil || cookie.Value != "ada's session" {
			return "", nil // nobody is signed in
		}
		return "42", nil
	}
	checkPassword := func(_ context.Context, username, password string) (userID, stamp string, err error) {
		if username == "ada" && password == "lovelace" { // a real service compares password hashes
			return "42", "", nil
		}
		return "", "", nil
	}

	api, err := tokenapi.New(auth, sessionUserID, nil)
	if err != nil {
		panic(err)
	}
	login, err := tokenlogin.New(auth, checkPassword, nil)
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/api/", http.StripPrefix("/api", api))
	mux.Handle("/api/login", login)

	serve := func(method, target, body, name, value string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, target, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("User-Agent", "acme-app/1.0")
		r.Header.Set(name, value)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		return w
	}

	w := serve("POST", "/api/login", `{"username":"ada","password":"lovelace"}`, "Accept", "*/*")
	var device struct{ Name, Key string }
	_ = json.Unmarshal(w.Body.Bytes(), &device)
	fmt.Println("login:", w.Code, device.Name)

	w = serve("POST", "/api/tokens", `{"name":"build server"}`, "Cookie", "session=ada's session")
	fmt.Println("create:", w.Code)

	w = serve("GET", "/api/tokens", "", "Cookie", "session=ada's session")
	var list struct{ Tokens []struct{ Name string } }
	_ = json.Unmarshal(w.Body.Bytes(), &list)
	fmt.Println("list:", w.Code, list.Tokens)

	w = serve("GET", "/api/tokens", "", "Authorization", "Bearer "+device.Key)
	fmt.Println("list with a token:", w.Code)

	w = serve("POST", "/api/logout", "", "Authorization", "Bearer "+device.Key)
	fmt.Println("logout:", w.Code)

	// Output:
	// login: 200 acme-app/1.0
	// create: 201
	// list: 200 [{acme-app/1.0} {build server}]
	// list with a token: 403
	// logout: 204
}
