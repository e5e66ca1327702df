// Server is a notes service that keeps its data in a SQLite file. People sign in with a password
// and manage their API tokens in a browser. Programs present a key.
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program immediately
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}

// A config holds the values of the flags.
type config struct {
	addr, path      string
	maxStale, touch time.Duration
	prune           time.Duration
	proxy, seed     bool
}

func parseFlags(args []string, stderr io.Writer) (c config, err error) {
	flags := flag.NewFlagSet("server", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&c.addr, "addr", "127.0.0.1:8080", "`address` to listen on")
	flags.StringVar(&c.path, "db", "tokens.db", "`file` of the database; it is created if it is missing")
	flags.DurationVar(&c.maxStale, "cache", 0,
		"cache tokens for this `time`; the program may accept a key that long after another process "+
			"has revoked the token; 0: no cache")
	flags.DurationVar(&c.touch, "touch", time.Minute,
		"`time` by which the last-used time of a token may lag behind; 0: a minute; negative: not recorded")
	flags.DurationVar(&c.prune, "prune", 0,
		"delete tokens that expired or were revoked longer ago than this `time`, at the start and every hour; 0: never")
	flags.BoolVar(&c.proxy, "proxy", false,
		"take the client's address from the end of X-Forwarded-For; use this flag only if a reverse "+
			"proxy appends the address and no other client can connect to this program")
	flags.BoolVar(&c.seed, "seed-demo", false,
		"create the user "+demoName+", who is staff, or set a new password for her, and print the password")
	if err := flags.Parse(args); err != nil {
		return c, err
	}
	if flags.NArg() > 0 {
		return c, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return c, nil
}

// run runs the program until ctx is done.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	c, err := parseFlags(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return err
	}
	db, err := openDatabase(ctx, c.path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	tokenStore, sessionStore, err := openStores(ctx, db)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tokenStore.Close(), sessionStore.Close()) }()
	ln, err := net.Listen("tcp", c.addr)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(stderr, nil))
	s, handler, err := build(db, tokenStore, sessionStore, c, logger)
	if err == nil {
		err = s.announce(ctx, stdout, ln.Addr(), c.seed)
	}
	if err != nil {
		return errors.Join(err, ln.Close())
	}

	untilStop, stop := context.WithCancel(ctx)
	var pruning sync.WaitGroup
	if c.prune > 0 {
		pruning.Go(func() { pruneEachHour(untilStop, s.tokens, c.prune, logger) })
	}
	pruning.Go(func() { pruneEachHour(untilStop, s.sessions.manager, 0, logger) })
	defer pruning.Wait() // before the database is closed
	defer stop()
	err = serve(ctx, ln, newServer(handler, logger), logger)
	return errors.Join(err, closeManager(ctx, s.tokens))
}

// build returns the service and its routes.
func build(db *sql.DB, tokenStore, sessionStore tokenauth.Store, c config, logger *slog.Logger) (service, http.Handler, error) {
	store, err := cached(tokenStore, c.maxStale)
	if err != nil {
		return service{}, nil, err
	}
	tokens, err := newManager(store, c.touch, logger)
	if err != nil {
		return service{}, nil, err
	}
	s, err := newService(db, tokens, sessionStore, c, logger)
	if err != nil {
		return service{}, nil, err
	}
	handler, err := s.newHandler()
	return s, handler, err
}

// announce prints the address of the page. With seed, it also creates the demo user and prints her
// password, which cannot be read again later.
func (s service) announce(ctx context.Context, stdout io.Writer, addr net.Addr, seed bool) error {
	if !seed {
		_, _ = fmt.Fprintf(stdout, "Open http://%s/\n", addr)
		return nil
	}
	password, err := s.seedDemo(ctx)
	if err != nil {
		return fmt.Errorf("seed: %w", err)
	}
	_, _ = fmt.Fprintf(stdout, "Open http://%s/ and sign in as %s with the password %s\n", addr, demoName, password)
	return nil
}

const shutdownTimeout = 10 * time.Second

// newServer returns a server that limits the time and the memory that a client can use.
func newServer(handler http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
}

// serve handles requests until ctx is done. Then it waits for the running requests to end.
func serve(ctx context.Context, ln net.Listener, server *http.Server, logger *slog.Logger) error {
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(ln) }()
	select {
	case err := <-failed:
		return errors.Join(err, server.Close())
	case <-ctx.Done():
	}
	logger.Info("shutting down")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("shut down: %w", err), server.Close())
	}
	return nil
}
