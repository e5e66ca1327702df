package tokenauth_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// account is the service's own type of users.
type account struct{ Name string }

var accounts = map[string]*account{"42": {"Anna"}, "43": {"Ben"}}

func findAccount(_ context.Context, id string) (*account, error) {
	a, ok := accounts[id]
	if !ok {
		return nil, tokenauth.ErrNoUser
	}
	return a, nil
}

// call sends a request with a key, if there is one, and prints the answer.
func call(h http.Handler, method, path, key string) {
	r := httptest.NewRequest(method, path, nil)
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code == http.StatusOK {
		fmt.Println(w.Code, w.Body)
		return
	}
	fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"))
}

func Example() {
	tokens := tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil)
	auth := tokenauth.NewAuthenticator(tokens, findAccount, nil)

	mux := http.NewServeMux()
	mux.Handle("GET /me", auth.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, _ := tokenauth.UserFrom[*account](r.Context())
		token, _ := tokenauth.TokenFrom(r.Context())
		fmt.Fprintf(w, "%s, by the token %q", user.Name, token.Name)
	})))

	key, _, err := tokens.Issue(context.Background(), tokenauth.Spec{UserID: "42", Name: "laptop"})
	if err != nil {
		panic(err)
	}
	call(mux, "GET", "/me", key.Reveal())
	call(mux, "GET", "/me", "")
	call(mux, "GET", "/me", "acme_wrong")
	// Output:
	// 200 Anna, by the token "laptop"
	// 401 Bearer realm="api"
	// 401 Bearer realm="api", error="invalid_token"
}

func ExampleAuthenticator_Require() {
	tokens := tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil)
	auth := tokenauth.NewAuthenticator(tokens, findAccount, nil)
	greet := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, ok := tokenauth.UserFrom[*account](r.Context()); ok {
			fmt.Fprint(w, "hello, ", user.Name)
		}
	})
	// Require is middleware of the usual shape: r.Use(auth.Require) works too.
	h := auth.Require(greet)

	key, token, _ := tokens.Issue(context.Background(), tokenauth.Spec{UserID: "43", Name: "phone"})
	call(h, "GET", "/", key.Reveal())
	_ = tokens.Revoke(context.Background(), "43", token.ID)
	call(h, "GET", "/", key.Reveal())
	// Output:
	// 200 hello, Ben
	// 401 Bearer realm="api", error="invalid_token"
}

func ExampleAuthenticator_RequireScopes() {
	tokens := tokenauth.New(tokenauth.NewMemoryStore(), "acme", &tokenauth.Options{Scopes: []string{"orders:read", "orders:write"}})
	auth := tokenauth.NewAuthenticator(tokens, findAccount, nil)
	ok := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "done") })

	mux := http.NewServeMux()
	mux.Handle("GET /orders", auth.RequireScopes("orders:read")(ok))
	mux.Handle("POST /orders", auth.RequireScopes("orders:write")(ok))

	key, _, _ := tokens.Issue(context.Background(), tokenauth.Spec{UserID: "42", Name: "reports", Scopes: []string{"orders:read"}})
	call(mux, "GET", "/orders", key.Reveal())
	call(mux, "POST", "/orders", key.Reveal())
	// Output:
	// 200 done
	// 403 Bearer realm="api", error="insufficient_scope", scope="orders:write"
}

func ExampleAuthenticator_Optional() {
	tokens := tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil)
	auth := tokenauth.NewAuthenticator(tokens, findAccount, nil)
	h := auth.Optional(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, ok := tokenauth.UserFrom[*account](r.Context()); ok {
			fmt.Fprint(w, "hello, ", user.Name)
			return
		}
		fmt.Fprint(w, "hello, stranger")
	}))

	key, _, _ := tokens.Issue(context.Background(), tokenauth.Spec{UserID: "42", Name: "laptop"})
	call(h, "GET", "/", "")
	call(h, "GET", "/", key.Reveal())
	call(h, "GET", "/", "acme_wrong") // not a stranger: somebody whose key does not work
	// Output:
	// 200 hello, stranger
	// 200 hello, Anna
	// 401 Bearer realm="api", error="invalid_token"
}

func ExampleManager_Rotate() {
	ctx := context.Background()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	tokens := tokenauth.New(tokenauth.NewMemoryStore(), "acme", &tokenauth.Options{Now: func() time.Time { return now }})
	old, token, _ := tokens.Issue(ctx, tokenauth.Spec{UserID: "42", Name: "ci"})

	// The client has a day to change over.
	fresh, _, err := tokens.Rotate(ctx, "42", token.ID, 24*time.Hour)
	if err != nil {
		panic(err)
	}
	try := func(which string, key tokenauth.Key) {
		_, err := tokens.Authenticate(ctx, key.Reveal())
		fmt.Println(which, "is good:", err == nil)
	}
	try("old", old)
	try("new", fresh)
	now = now.Add(24 * time.Hour)
	try("old", old)
	try("new", fresh)
	// Output:
	// old is good: true
	// new is good: true
	// old is good: false
	// new is good: true
}

func ExampleNewSQLStore() {
	ctx := context.Background()
	db, err := sql.Open("sqlite", "file:example?mode=memory&cache=shared") // for a real DSN see docs/databases.md
	if err != nil {
		panic(err)
	}
	defer db.Close()
	store, err := tokenauth.NewSQLStore(db, tokenauth.SQLite, nil)
	if err != nil {
		panic(err)
	}
	defer store.Close()
	if err := store.CreateSchema(ctx); err != nil { // or put store.Schema() into your migrations
		panic(err)
	}
	tokens := tokenauth.New(store, "acme", nil)
	_, _, err = tokens.Issue(ctx, tokenauth.Spec{UserID: "42", Name: "laptop"})
	fmt.Println(err)
	_, _, err = tokens.Issue(ctx, tokenauth.Spec{UserID: "42", Name: "laptop"})
	fmt.Println(errors.Is(err, tokenauth.ErrNameTaken))
	// Output:
	// <nil>
	// true
}

// What not to do: UserFrom asks for the very type that the Authenticator has. For
// another one it finds nobody, and a user that is used all the same is empty.
func ExampleUserFrom_incorrect() {
	tokens := tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil)
	auth := tokenauth.NewAuthenticator(tokens, findAccount, nil) // finds *account
	h := auth.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		wrong, ok := tokenauth.UserFrom[account](r.Context()) // account, not *account
		fmt.Fprintf(w, "wrong: %q %v; ", wrong.Name, ok)
		right, ok := tokenauth.UserFrom[*account](r.Context())
		fmt.Fprintf(w, "right: %q %v", right.Name, ok)
	}))
	key, _, _ := tokens.Issue(context.Background(), tokenauth.Spec{UserID: "42", Name: "laptop"})
	call(h, "GET", "/", key.Reveal())
	// Output: 200 wrong: "" false; right: "Anna" true
}

func ExampleKey() {
	tokens := tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil)
	key, token, _ := tokens.Issue(context.Background(), tokenauth.Spec{UserID: "42", Name: "laptop"})
	shown := fmt.Sprintf("%v %+v %#v", key, struct{ Key tokenauth.Key }{key}, []tokenauth.Key{key})
	want := fmt.Sprintf("acme_…%[1]s {Key:acme_…%[1]s} []tokenauth.Key{acme_…%[1]s}", token.Hint)
	fmt.Println(shown == want)
	prefix, err := tokenauth.CheckKey(key.Reveal())
	fmt.Println(prefix, err)
	// Output:
	// true
	// acme <nil>
}
