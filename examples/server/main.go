// Server keeps the notes of its users in a SQLite file. People sign in with a
// password and manage their API tokens in a browser; programs present a key.
package main

import (
	"context"
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
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}

// A config is what the flags say.
type config struct {
	addr, path      string
	maxStale, touch time.Duration
	prune           time.Duration
	seed            bool
}

func parseFlags(args []string, stderr io.Writer) (c config, err error) {
	flags := flag.NewFlagSet("server", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&c.addr, "addr", "127.0.0.1:8080", "`address` to listen on")
	flags.StringVar(&c.path, "db", "tokens.db", "`file` of the database; it is created if it is missing")
	flags.DurationVar(&c.maxStale, "cache", 0, "`time` for which what was found of a key is kept: how long a revocation by another process may stay unseen; 0: not at all")
	flags.DurationVar(&c.touch, "touch", time.Minute, "`time` by which the last use of a token may be shown too late; 0: a minute; negative: it is not shown at all")
	flags.DurationVar(&c.prune, "prune", 0, "delete tokens that ended longer ago than this `time`, now and each hour; 0: never")
	flags.BoolVar(&c.seed, "seed-demo", false, "make the user "+demoName+", who is staff, or give her a new password, and print it")
	if err := flags.Parse(args); err != nil {
		return c, err
	}
	if flags.NArg() > 0 {
		return c, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return c, nil
}

// run is the program: it serves until ctx is done.
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
	s := newService(db, newManager(cached(tokenStore, c.maxStale), c.touch, logger), sessionStore, logger)
	if err := s.announce(ctx, stdout, ln.Addr(), c.seed); err != nil {
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
	err = serve(ctx, ln, newServer(s.newHandler(), logger), logger)
	return errors.Join(err, flush(ctx, s.tokens))
}

// announce says which page to open, and with seed how to sign in: it is the only
// time that the password is seen.
func (s service) announce(ctx context.Context, stdout io.Writer, addr net.Addr, seed bool) error {
	if !seed {
		_, _ = fmt.Fprintf(stdout, "Open http://%s/\n", addr)
		return nil
	}
	password, err := seedDemo(ctx, s.users, s.sessions)
	if err != nil {
		return fmt.Errorf("seed: %w", err)
	}
	_, _ = fmt.Fprintf(stdout, "Open http://%s/ and sign in as %s with the password %s\n", addr, demoName, password)
	return nil
}

const shutdownTimeout = 10 * time.Second

// newServer bounds what a client can take of time and memory.
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

// serve answers requests until ctx is done, and then those that are under way.
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
