package tokenauthtest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// newHandler returns the handler of the service that Example tests. The handler accepts an
// order if the request has a valid key with the scope "orders:write".
func newHandler(tokens *tokenauth.Manager) http.Handler {
	byID := func(_ context.Context, id string) (string, error) { return "user " + id, nil }
	auth, err := tokenauth.NewAuthenticator(tokens, byID, nil)
	if err != nil {
		panic(err) // NewAuthenticator returns an error only if an option is invalid
	}
	order := func(w http.ResponseWriter, r *http.Request) {
		user, _ := auth.User(r.Context())
		_, _ = fmt.Fprintln(w, "ordered by", user)
	}
	mux := http.NewServeMux()
	mux.Handle("POST /orders", auth.RequireScopes("orders:write")(http.HandlerFunc(order)))
	return mux
}

// Test the handler of a service with four requests. The first has a valid key, and the second has a
// key without the required scope. The third is sent while the store is down, and the fourth has an
// expired key.
func Example() {
	t := &testing.T{} // a real test uses its parameter t instead

	kit := tokenauthtest.New(t, &tokenauth.Options{DefaultTTL: time.Hour})
	handler := newHandler(kit.Manager)
	post := func(key tokenauth.Key) int {
		r := httptest.NewRequest(http.MethodPost, "/orders", nil)
		tokenauthtest.SetKey(r, key)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w.Code
	}

	key := kit.Issue("42", "orders:write")
	fmt.Println("with the key:", post(key))
	fmt.Println("without the scope:", post(kit.Issue("42", "orders:read")))

	kit.Store.Fail(errors.New("connection refused"))
	fmt.Println("while the store is down:", post(key))
	kit.Store.Fail(nil)

	kit.Clock.Advance(time.Hour)
	fmt.Println("an hour later:", post(key))

	// Output:
	// with the key: 200
	// without the scope: 403
	// while the store is down: 503
	// an hour later: 401
}

// Test how a service behaves if the store makes a change but the connection to the store breaks
// before the response arrives.
func ExampleStore_Intercept() {
	t := &testing.T{} // a real test uses its parameter t instead

	kit := tokenauthtest.New(t, nil)
	key := kit.Issue("42")
	kit.Store.ResetCalls()
	kit.Store.Intercept(func(_ context.Context, method string, next func() error) error {
		err := next()
		if method == "RevokeAll" {
			return errors.New("connection reset by peer")
		}
		return err
	})

	_, err := kit.Manager.RevokeAll(context.Background(), "42")
	fmt.Println("revoke all:", err)
	_, err = kit.Manager.Authenticate(context.Background(), key.Reveal())
	fmt.Println("the key is revoked:", errors.Is(err, tokenauth.ErrRevoked))
	fmt.Println("calls:", kit.Store.Calls())

	// Output:
	// revoke all: connection reset by peer
	// the key is revoked: true
	// calls: [RevokeAll Find]
}
