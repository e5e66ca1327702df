// Quickstart is a whole service with API tokens. README.md prints this file.
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

	_ "modernc.org/sqlite" // any driver of SQLite, PostgreSQL, MariaDB or MySQL

	"github.com/go-tokenauth/tokenauth"
)

type user struct{ Name string }

// userByID finds a user of your own. If the user does not exist or may not sign in, it returns
// ErrNoUser.
func userByID(_ context.Context, id string) (*user, error) {
	if id != "42" {
		return nil, tokenauth.ErrNoUser
	}
	return &user{"Ada"}, nil
}

func main() {
	addr := flag.String("addr", "127.0.0.1:8081", "`address` to listen on")
	flag.Parse()
	log.Fatal(run(context.Background(), *addr))
}

func run(ctx context.Context, addr string) error {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return err
	}
	// With :memory:, each connection has its own database. For a file or a server, docs/databases.md
	// has the settings of the pool.
	db.SetMaxOpenConns(1)

	store, err := tokenauth.NewSQLStore(db, tokenauth.SQLite, nil)
	if err != nil {
		return err
	}
	if err := store.CreateSchema(ctx); err != nil { // creates the table, if it is missing
		return err
	}
	tokens, err := tokenauth.New(store, "acme", nil) // keys begin with acme_
	if err != nil {
		return err
	}
	auth, err := tokenauth.NewAuthenticator(tokens, userByID, nil)
	if err != nil {
		return err
	}

	hello := func(w http.ResponseWriter, r *http.Request) {
		u, _ := auth.User(r.Context()) // a *user, because userByID returns one
		fmt.Fprintf(w, "%s %s for %s\n", r.Method, r.URL.Path, u.Name)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /me", auth.Require(http.HandlerFunc(hello)))
	mux.Handle("POST /orders", auth.RequireScopes("orders:write")(http.HandlerFunc(hello)))

	key, _, err := tokens.Issue(ctx, tokenauth.Spec{UserID: "42", Name: "laptop"})
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	// The key cannot be read again later.
	fmt.Printf("KEY=%s\ncurl -H \"Authorization: Bearer $KEY\" http://%s/me\n", key.Reveal(), ln.Addr())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	return server.Serve(ln)
}
