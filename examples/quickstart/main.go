// Quickstart is a service with API tokens. README.md shows its main parts.
package main

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"

	_ "modernc.org/sqlite" // or a driver for PostgreSQL, MariaDB or MySQL

	"github.com/go-tokenauth/tokenauth"
)

type user struct{ Name string }

// docs: user
// userByID finds a user of the service. It returns ErrNoUser for a user who may not sign in.
func userByID(_ context.Context, id string) (*user, error) {
	if id != "42" {
		return nil, tokenauth.ErrNoUser
	}
	return &user{"Ada"}, nil
}

// docs: end

func main() {
	addr := flag.String("addr", "127.0.0.1:8081", "`address` to listen on")
	flag.Parse()
	ctx := context.Background()
	db := must(sql.Open("sqlite", ":memory:"))
	db.SetMaxOpenConns(1) // each connection would have its own :memory: database

	// docs: main
	store := must(tokenauth.NewSQLStore(db, tokenauth.SQLite, nil))
	check(store.CreateSchema(ctx))                    // creates the table if it is missing
	tokens := must(tokenauth.New(store, "acme", nil)) // keys begin with acme_
	auth := must(tokenauth.NewAuthenticator(tokens, userByID, nil))

	hello := func(w http.ResponseWriter, r *http.Request) {
		u, _ := auth.User(r.Context()) // a *user, because userByID returns one
		fmt.Fprintf(w, "Hello, %s!\n", u.Name)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /me", auth.Require(http.HandlerFunc(hello)))
	mux.Handle("POST /orders", auth.RequireScopes("orders:write")(http.HandlerFunc(hello)))

	key, _, err := tokens.Issue(ctx, tokenauth.Spec{UserID: "42", Name: "laptop"})
	check(err)
	fmt.Printf("KEY=%s\n", key.Reveal()) // the key cannot be read again later
	// docs: end
	listener := must(net.Listen("tcp", *addr))
	fmt.Printf("Listening on http://%s\n", listener.Addr())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	check(server.Serve(listener))
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
