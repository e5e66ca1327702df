package tokenauth_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// account is the type that this example service uses for its users.
type account struct{ Name string }

var accounts = map[string]*account{"42": {"Anna"}, "43": {"Ben"}}

func findAccount(_ context.Context, id string) (*account, error) {
	if a, ok := accounts[id]; ok {
		return a, nil
	}
	return nil, tokenauth.ErrNoUser
}

// newManager returns a Manager in memory. The example of NewSQLStore uses a database.
func newManager(opts *tokenauth.Options) *tokenauth.Manager {
	tokens, err := tokenauth.New(tokenauth.NewMemoryStore(), "acme", opts)
	if err != nil {
		panic(err)
	}
	return tokens
}

func newAuthenticator(tokens *tokenauth.Manager) *tokenauth.Authenticator[*account] {
	auth, err := tokenauth.NewAuthenticator(tokens, findAccount, nil)
	if err != nil {
		panic(err)
	}
	return auth
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
	} else {
		fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"))
	}
}

func Example() {
	tokens := newManager(nil)
	auth := newAuthenticator(tokens)

	mux := http.NewServeMux()
	// Many routers accept auth.Require as middleware: r.Use(auth.Require).
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

func ExampleAuthenticator_RequireScopes() {
	tokens := newManager(&tokenauth.Options{Scopes: []string{"orders:read", "orders:write"}})
	auth := newAuthenticator(tokens)
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
	tokens := newManager(nil)
	auth := newAuthenticator(tokens)
	h := auth.Optional(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := "stranger"
		if user, ok := auth.User(r.Context()); ok {
			name = user.Name
		}
		fmt.Fprint(w, "hello, ", name)
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

// Clients send the key in X-API-Key, and the service writes the bodies of error responses.
func ExampleAuthenticatorOptions() {
	tokens := newManager(nil)
	auth, _ := tokenauth.NewAuthenticator(tokens, findAccount, &tokenauth.AuthenticatorOptions{
		KeyHeader: "X-API-Key",
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			w.WriteHeader(tokenauth.StatusCode(err)) // the headers are set already
			fmt.Fprint(w, "no access")               // err is for the log only
		},
	})
	h := auth.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "done") }))

	key, _, _ := tokens.Issue(context.Background(), tokenauth.Spec{UserID: "42", Name: "laptop"})
	for _, presented := range []string{key.Reveal(), "acme_wrong"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("X-API-Key", presented)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Body)
	}
	// Output:
	// 200 done
	// 401 no access
}

func ExampleManager_Issue() {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	tokens := newManager(&tokenauth.Options{
		Scopes: []string{"orders:read", "orders:write"}, // all scopes of the service
		MaxTTL: 90 * 24 * time.Hour,
		Now:    func() time.Time { return now }, // only so that the output is always the same
	})
	spec := tokenauth.Spec{UserID: "42", Name: "ci", Scopes: []string{"orders:read"}, ExpiresAt: now.AddDate(0, 0, 30)}
	_, token, err := tokens.Issue(context.Background(), spec)
	fmt.Println(token.Name, token.Scopes, token.ExpiresAt, err)

	spec.Name, spec.ExpiresAt = "forever", now.AddDate(1, 0, 0)
	_, _, err = tokens.Issue(context.Background(), spec)
	fmt.Println(err)
	// Output:
	// ci [orders:read] 2026-03-31 12:00:00 +0000 UTC <nil>
	// tokenauth: expires_at must not be more than 2160h0m0s ahead
}

// List returns a page of at most Limit tokens. The Cursor of the last token selects the next page.
func ExampleManager_List() {
	ctx, now := context.Background(), time.Now()
	tokens := newManager(&tokenauth.Options{Now: func() time.Time { now = now.Add(time.Second); return now }})
	for _, name := range []string{"laptop", "phone", "ci"} {
		_, _, _ = tokens.Issue(ctx, tokenauth.Spec{UserID: "42", Name: name})
	}

	query := tokenauth.Query{UserID: "42", Limit: 2}
	for {
		page, err := tokens.List(ctx, query)
		if err != nil {
			panic(err)
		}
		for _, token := range page {
			fmt.Println(token.Name)
		}
		if len(page) < query.Limit {
			break
		}
		fmt.Println("-- next page")
		query.After = page[len(page)-1].Cursor()
	}
	// Output:
	// laptop
	// phone
	// -- next page
	// ci
}

// The user has changed the password, and the change is committed.
func ExampleManager_RevokeAll() {
	ctx, tokens := context.Background(), newManager(nil)
	key, _, _ := tokens.Issue(ctx, tokenauth.Spec{UserID: "42", Name: "laptop"})

	n, err := tokens.RevokeAll(ctx, "42")
	fmt.Println(n, err)
	_, err = tokens.Authenticate(ctx, key.Reveal())
	fmt.Println(errors.Is(err, tokenauth.ErrRevoked))
	// Output:
	// 1 <nil>
	// true
}

// Somebody found a key in a public repository, and reported it.
func ExampleManager_RevokeKey() {
	ctx, tokens := context.Background(), newManager(nil)
	key, _, _ := tokens.Issue(ctx, tokenauth.Spec{UserID: "42", Name: "laptop"})

	token, err := tokens.RevokeKey(ctx, key.Reveal())
	fmt.Println(token.UserID, token.Name, err) // the service can now inform the user
	// Output: 42 laptop <nil>
}

func ExampleManager_Rotate() {
	ctx, now := context.Background(), time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	tokens := newManager(&tokenauth.Options{Now: func() time.Time { return now }})
	previous, token, _ := tokens.Issue(ctx, tokenauth.Spec{UserID: "42", Name: "ci"})

	// The client has 24 hours to switch to the new key.
	key, _, _ := tokens.Rotate(ctx, "42", token.ID, 24*time.Hour)
	for range 2 {
		_, err := tokens.Authenticate(ctx, previous.Reveal())
		fmt.Println("previous key:", err)
		_, err = tokens.Authenticate(ctx, key.Reveal())
		fmt.Println("current key:", err)
		now = now.Add(24 * time.Hour)
	}
	// Output:
	// previous key: <nil>
	// current key: <nil>
	// previous key: tokenauth: invalid key: replaced by a rotation
	// current key: <nil>
}

func ExampleNewSQLStore() {
	ctx := context.Background()
	// Import a driver. The page docs/databases.md has the settings for production.
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		panic(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // each connection to :memory: has its own database
	store, err := tokenauth.NewSQLStore(db, tokenauth.SQLite, nil)
	if err != nil {
		panic(err)
	}
	defer store.Close()
	// A migration tool can run the files of store.Migrations() instead.
	if err := store.CreateSchema(ctx); err != nil {
		panic(err)
	}
	fmt.Println(store.CheckSchema(ctx))
	// Output: <nil>
}

// A token and a row of the service's own are committed together.
func ExampleManager_WithStore() {
	ctx := context.Background()
	db, _ := sql.Open("sqlite", ":memory:")
	defer db.Close()
	db.SetMaxOpenConns(1) // each connection to :memory: has its own database
	_, _ = db.Exec("CREATE TABLE devices (token_id TEXT, model TEXT)")
	store, _ := tokenauth.NewSQLStore(db, tokenauth.SQLite, nil)
	_ = store.CreateSchema(ctx)
	tokens, _ := tokenauth.New(store, "acme", nil)

	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		panic(err)
	}
	var events []tokenauth.Event
	collect := func(_ context.Context, e tokenauth.Event) { events = append(events, e) }
	_, token, err := tokens.WithStore(store.With(tx), collect).Issue(ctx, tokenauth.Spec{UserID: "42", Name: "phone"})
	if err == nil {
		_, err = tx.ExecContext(ctx, "INSERT INTO devices (token_id, model) VALUES (?, 'X1')", token.ID)
	}
	if err != nil {
		_ = tx.Rollback()
		panic(err)
	}
	fmt.Println(tx.Commit())
	fmt.Println(events[0].Kind, events[0].Token.Name) // handle events only after the commit
	// Output:
	// <nil>
	// issued phone
}

// LogEvents returns a function for Options.OnEvent.
func ExampleLogEvents() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == "token" {
				return slog.Attr{} // these values are different in each run
			}
			return a
		},
	}))
	ctx, tokens := context.Background(), newManager(&tokenauth.Options{OnEvent: tokenauth.LogEvents(logger)})
	key, token, _ := tokens.Issue(ctx, tokenauth.Spec{UserID: "42", Name: "laptop"})
	_ = tokens.Revoke(ctx, "42", token.ID)
	_, _ = tokens.Authenticate(ctx, key.Reveal())
	// Output:
	// level=INFO msg="token issued" user=42 name=laptop
	// level=INFO msg="token revoked" user=42 count=1
	// level=WARN msg="token rejected" reason=revoked user=42 name=laptop
}

// In this service, the path of a request names a store, such as "north". The token of the request
// needs the scope of that store, such as "store:north".
func ExampleAuthenticator_RequireFunc() {
	tokens := newManager(&tokenauth.Options{Scopes: []string{"store:north", "store:south"}})
	auth := newAuthenticator(tokens)
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
	tokens := newManager(nil)
	auth := newAuthenticator(tokens)
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
	auth := newAuthenticator(newManager(nil))
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
	_, _, err := newManager(nil).Issue(context.Background(), tokenauth.Spec{UserID: "42"})
	if spec, ok := errors.AsType[*tokenauth.SpecError](err); ok {
		fmt.Println(spec.Field, spec.Problem) // the service may show this text to the user
	}
	// Output: name must not be empty
}

func ExampleCheckKey() {
	key, _, _ := newManager(nil).Issue(context.Background(), tokenauth.Spec{UserID: "42", Name: "laptop"})
	fmt.Println(tokenauth.CheckKey(key.Reveal()))
	// Output: acme <nil>
}
