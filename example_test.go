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
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// account is the type that this example service uses for its users.
type account struct{ Name string }

var accounts = map[string]*account{"42": {"Anna"}, "43": {"Ben"}}

func findAccount(_ context.Context, id string) (*account, error) {
	a, ok := accounts[id]
	if !ok {
		return nil, tokenauth.ErrNoUser
	}
	return a, nil
}

// call sends a request to h and prints the response. If key is not empty, the request carries it in
// the Authorization header.
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
	tokens := must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil))
	auth := must.Get(tokenauth.NewAuthenticator(tokens, findAccount, nil))

	mux := http.NewServeMux()
	mux.Handle("GET /me", auth.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, _ := auth.User(r.Context())
		token, _ := auth.Token(r.Context())
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
	tokens := must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil))
	auth := must.Get(tokenauth.NewAuthenticator(tokens, findAccount, nil))
	greet := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, ok := auth.User(r.Context()); ok {
			fmt.Fprint(w, "hello, ", user.Name)
		}
	})
	// Require is a func(http.Handler) http.Handler, so many routers accept it as middleware:
	// r.Use(auth.Require).
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
	tokens := must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "acme", &tokenauth.Options{Scopes: []string{"orders:read", "orders:write"}}))
	auth := must.Get(tokenauth.NewAuthenticator(tokens, findAccount, nil))
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
	tokens := must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil))
	auth := must.Get(tokenauth.NewAuthenticator(tokens, findAccount, nil))
	h := auth.Optional(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, ok := auth.User(r.Context()); ok {
			fmt.Fprint(w, "hello, ", user.Name)
			return
		}
		fmt.Fprint(w, "hello, stranger")
	}))

	key, _, _ := tokens.Issue(context.Background(), tokenauth.Spec{UserID: "42", Name: "laptop"})
	call(h, "GET", "/", "")
	call(h, "GET", "/", key.Reveal())
	call(h, "GET", "/", "acme_wrong") // Optional rejects a request with an invalid key
	// Output:
	// 200 hello, stranger
	// 200 hello, Anna
	// 401 Bearer realm="api", error="invalid_token"
}

func ExampleManager_Rotate() {
	ctx := context.Background()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	tokens := must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "acme", &tokenauth.Options{Now: func() time.Time { return now }}))
	old, token, _ := tokens.Issue(ctx, tokenauth.Spec{UserID: "42", Name: "ci"})

	// Rotate gives the client 24 hours to switch from the old key to the new key.
	fresh, _, err := tokens.Rotate(ctx, "42", token.ID, 24*time.Hour)
	if err != nil {
		panic(err)
	}
	try := func(which string, key tokenauth.Key) {
		_, err := tokens.Authenticate(ctx, key.Reveal())
		fmt.Println(which, "is accepted:", err == nil)
	}
	try("old", old)
	try("new", fresh)
	now = now.Add(24 * time.Hour)
	try("old", old)
	try("new", fresh)
	// Output:
	// old is accepted: true
	// new is accepted: true
	// old is accepted: false
	// new is accepted: true
}

func ExampleNewSQLStore() {
	ctx := context.Background()
	// docs/databases/sqlite.md lists the DSN settings for production.
	db, err := sql.Open("sqlite", "file:example?mode=memory&cache=shared")
	if err != nil {
		panic(err)
	}
	defer db.Close()
	store, err := tokenauth.NewSQLStore(db, tokenauth.SQLite, nil)
	if err != nil {
		panic(err)
	}
	defer store.Close()
	// Instead of this call, you can run the files that store.Migrations() returns.
	if err := store.CreateSchema(ctx); err != nil {
		panic(err)
	}
	tokens := must.Get(tokenauth.New(store, "acme", nil))
	_, _, err = tokens.Issue(ctx, tokenauth.Spec{UserID: "42", Name: "laptop"})
	fmt.Println(err)
	_, _, err = tokens.Issue(ctx, tokenauth.Spec{UserID: "42", Name: "laptop"})
	fmt.Println(errors.Is(err, tokenauth.ErrNameTaken))
	// Output:
	// <nil>
	// true
}

// In this service, the path of a request names a store, such as "north". The token of the request
// needs the scope of that store, such as "store:north".
func ExampleAuthenticator_RequireFunc() {
	tokens := must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "acme", &tokenauth.Options{Scopes: []string{"store:north", "store:south"}}))
	auth := must.Get(tokenauth.NewAuthenticator(tokens, findAccount, nil))
	guard := auth.RequireFunc(func(r *http.Request) (tokenauth.Need, error) {
		switch store := r.PathValue("store"); store {
		case "north", "south":
			return tokenauth.Need{Scopes: []string{"store:" + store}}, nil
		}
		return tokenauth.Need{}, tokenauth.ErrNotFound
	})
	mux := http.NewServeMux()
	mux.Handle("GET /stores/{store}/orders", guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "orders of ", r.PathValue("store"))
	})))

	key, _, _ := tokens.Issue(context.Background(), tokenauth.Spec{UserID: "42", Name: "till", Scopes: []string{"store:north"}})
	call(mux, "GET", "/stores/north/orders", key.Reveal())
	call(mux, "GET", "/stores/south/orders", key.Reveal())
	call(mux, "GET", "/stores/moon/orders", key.Reveal())
	// Output:
	// 200 orders of north
	// 403 Bearer realm="api", error="insufficient_scope", scope="store:south"
	// 404
}

// If a handler runs for a long time, it can call Confirm directly before it changes data. Confirm
// returns an error if the token is no longer valid. In this example, the token is revoked during
// the second request.
func ExampleAuthenticator_Confirm() {
	tokens := must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil))
	auth := must.Get(tokenauth.NewAuthenticator(tokens, findAccount, nil))
	upload := func() {} // stands for code that reads the request body, which may take minutes
	h := auth.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		upload()
		user, _, err := auth.Confirm(r.Context(), tokenauth.Need{Scopes: []string{"files:write"}})
		if err != nil {
			auth.WriteError(w, r, err)
			return
		}
		fmt.Fprint(w, "saved for ", user.Name)
	}))

	key, token, _ := tokens.Issue(context.Background(), tokenauth.Spec{UserID: "42", Name: "laptop", Scopes: []string{"files:write"}})
	call(h, "POST", "/", key.Reveal())
	upload = func() { _ = tokens.Revoke(context.Background(), "42", token.ID) }
	call(h, "POST", "/", key.Reveal())
	// Output:
	// 200 saved for Anna
	// 401 Bearer realm="api", error="invalid_token"
}

// NewContext returns a context with a user and a token. Use it to test a handler without the
// middleware.
func ExampleAuthenticator_NewContext() {
	tokens := must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil))
	auth := must.Get(tokenauth.NewAuthenticator(tokens, findAccount, nil))
	greet := func(w http.ResponseWriter, r *http.Request) {
		user, _ := auth.User(r.Context())
		token, _ := auth.Token(r.Context())
		fmt.Fprintf(w, "%s, by the token %q", user.Name, token.Name)
	}

	ctx := auth.NewContext(context.Background(), &account{"Test"}, tokenauth.Token{Name: "none"})
	w := httptest.NewRecorder()
	greet(w, httptest.NewRequestWithContext(ctx, "GET", "/", nil))
	fmt.Println(w.Body)
	// Output: Test, by the token "none"
}

func ExampleSpecError() {
	tokens := must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil))
	_, _, err := tokens.Issue(context.Background(), tokenauth.Spec{UserID: "42"})
	fmt.Println(errors.Is(err, tokenauth.ErrInvalidSpec))
	var spec *tokenauth.SpecError
	if errors.As(err, &spec) {
		fmt.Println(spec.Field, spec.Problem) // the service may show this text to the user
	}
	// Output:
	// true
	// name must not be empty
}

func ExampleKey() {
	tokens := must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil))
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
