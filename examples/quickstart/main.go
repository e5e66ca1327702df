// Quickstart is a whole service with API tokens, which it keeps in memory.
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

type user struct{ Name string }

// query stands for a SELECT … WHERE id = ? AND active.
func query(_ context.Context, id string) (*user, error) {
	if id == "42" {
		return &user{"Ada"}, nil
	}
	return nil, sql.ErrNoRows
}

// byID must tell a user who is not there (401) from a database that is not (503).
func byID(ctx context.Context, id string) (*user, error) {
	u, err := query(ctx, id)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, tokenauth.ErrNoUser
	}
	return u, err
}

func hello(w http.ResponseWriter, r *http.Request) {
	u, _ := tokenauth.UserFrom[*user](r.Context())
	_, _ = fmt.Fprintf(w, "%s %s for %s\n", r.Method, r.URL.Path, u.Name)
}

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "`address` to listen on")
	flag.Parse()
	tokens := tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil)
	auth := tokenauth.NewAuthenticator(tokens, byID, nil)

	mux := http.NewServeMux()
	mux.Handle("GET /me", auth.Require(http.HandlerFunc(hello)))
	mux.Handle("POST /orders", auth.RequireScopes("orders:write")(http.HandlerFunc(hello)))

	key, _, err := tokens.Issue(context.Background(), tokenauth.Spec{UserID: "42", Name: "laptop"})
	ln, listenErr := net.Listen("tcp", *addr)
	if err := errors.Join(err, listenErr); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("curl -H 'Authorization: Bearer %s' http://%s/me\n", key.Reveal(), ln.Addr()) // the only time the key is seen
	log.Fatal((&http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}).Serve(ln))
}
