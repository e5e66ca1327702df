package tokenlogin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/tokenlogin"
)

// A person is a row of the service's table of users.
type person struct {
	ID, Password    string // a real service stores a hash of the password
	PasswordChanges string // a counter
}

var ada = person{"42", "lovelace", "1"}

// checkPassword returns the ID of the user and the stamp of the password. If the username or the
// password is wrong, it returns ErrNoUser.
func checkPassword(_ context.Context, username, password string) (userID, stamp string, err error) {
	if username != "ada" || password != ada.Password {
		return "", "", tokenauth.ErrNoUser
	}
	return ada.ID, ada.PasswordChanges, nil
}

// passwordStamp returns the current stamp of the password.
func passwordStamp(context.Context, string) (string, error) { return ada.PasswordChanges, nil }

// A phone signs in once with a password, and then uses its own key.
func ExampleNew() {
	tokens, err := tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil)
	if err != nil {
		panic(err)
	}
	findUser := func(context.Context, string) (*person, error) { return &ada, nil }
	auth, err := tokenauth.NewAuthenticator(tokens, findUser, nil)
	if err != nil {
		panic(err)
	}
	login, err := tokenlogin.New(auth, checkPassword, &tokenlogin.Options{
		Stamp:  passwordStamp,
		TTL:    90 * 24 * time.Hour,
		Scopes: []string{"orders:read"}, // unless the request asks for other scopes
	})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/api/login", login)

	body := `{"username": "ada", "password": "lovelace", "name": "phone"}`
	r := httptest.NewRequest("POST", "/api/login", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	var response struct {
		tokenauth.Token
		Key string
	}
	if err := json.Unmarshal(w.Body.Bytes(), &response); err != nil {
		panic(err)
	}
	fmt.Println(w.Code, response.Name, response.Scopes)
	token, err := tokens.Authenticate(context.Background(), response.Key)
	fmt.Println(token.UserID, err)
	// Output:
	// 200 phone [orders:read]
	// 42 <nil>
}
