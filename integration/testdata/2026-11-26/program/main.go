// Command program is a service that uses the library of 2026-11-26, which the folder library
// contains. It creates the databases of the upgrade test, and serves requests while the test
// upgrades them.
//
// With -fill, the program creates and fills the tables. Without -fill, it serves HTTP on a free
// port and prints the address. It exits when its standard input ends.
package main

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/go-tokenauth/tokenauth"
)

var (
	driver = flag.String("driver", "sqlite", "name of the database driver: sqlite, pgx or mysql")
	dsn    = flag.String("dsn", "", "data source name of the database")
	table  = flag.String("table", "tokenauth_tokens", "name of the table of tokens")
	fill   = flag.Bool("fill", false, "create the table, and issue tokens of each kind")
	own    = flag.Bool("own", false, "with -fill: first create the service's own tables")
	create = flag.Bool("create", false, "call CreateSchema at the start, as many services do")

	timeout = flag.Duration("timeout", 0, "timeout of a database call; zero selects the library's default")
)

var dialects = map[string]tokenauth.Dialect{
	"sqlite": tokenauth.SQLite, "pgx": tokenauth.PostgreSQL, "mysql": tokenauth.MySQL,
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("program: ")
	flag.Parse()
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	db, err := sql.Open(*driver, *dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(16)
	if *fill && *own {
		if err := createOwnTables(ctx, db); err != nil {
			return err
		}
	}
	store, err := tokenauth.NewSQLStore(db, dialects[*driver], &tokenauth.SQLOptions{Table: *table, Timeout: *timeout})
	if err != nil {
		return err
	}
	defer store.Close()
	if *fill {
		return fillTable(ctx, db, store)
	}
	if *create {
		if err := store.CreateSchema(ctx); err != nil {
			return err
		}
	}
	if err := store.CheckSchema(ctx); err != nil {
		return err
	}
	return serve(store)
}

// serve serves HTTP until standard input ends.
func serve(store tokenauth.Store) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: newHandler(store)}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = server.Close()
	}()
	fmt.Println(l.Addr())
	if err := server.Serve(l); err != http.ErrServerClosed {
		return err
	}
	return nil
}
