// Server keeps the notes of its users in a SQLite file, and lets in whoever
// presents one of their API keys. At start it prints a command to try it with.
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
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/storecache"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}

// run is the program: it serves until ctx is done.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	flags := flag.NewFlagSet("server", flag.ContinueOnError)
	flags.SetOutput(stderr)
	addr := flags.String("addr", "127.0.0.1:8080", "`address` to listen on")
	path := flags.String("db", "tokens.db", "`file` of the database; it is created if it is missing")
	maxStale := flags.Duration("cache", 0, "`time` for which what was found of a key is kept: how long a revocation by another process may stay unseen; 0: not at all")
	prune := flags.Duration("prune", 0, "delete tokens that ended longer ago than this `time`, now and each hour; 0: never")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return err
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}

	db, err := openDatabase(ctx, *path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	store, err := openStore(ctx, db)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	ln, err := net.Listen("tcp", *addr)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(stderr, nil))
	tokens := newManager(cached(store, *maxStale), logger)
	key, err := issueKey(ctx, tokens)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	// The only time that the key is seen.
	_, _ = fmt.Fprintf(stdout, "curl -H 'Authorization: Bearer %s' http://%s/me\n", key.Reveal(), ln.Addr())

	untilStop, stop := context.WithCancel(ctx)
	var pruning sync.WaitGroup
	pruning.Go(func() { pruneEachHour(untilStop, tokens, *prune, logger) })
	defer pruning.Wait() // before the database is closed
	defer stop()
	err = serve(ctx, ln, newServer(newHandler(db, tokens, logger), logger), logger)
	return errors.Join(err, flush(ctx, tokens))
}

// cached puts a cache in front of a store if what it keeps may be stale at all.
func cached(store tokenauth.Store, maxStale time.Duration) tokenauth.Store {
	if maxStale <= 0 {
		return store
	}
	return storecache.New(store, &storecache.Options{MaxStale: maxStale})
}

// pruneEachHour deletes tokens that ended longer ago than age, until ctx is done.
func pruneEachHour(ctx context.Context, tokens *tokenauth.Manager, age time.Duration, logger *slog.Logger) {
	if age <= 0 {
		return
	}
	hourly := time.NewTicker(time.Hour)
	defer hourly.Stop()
	for {
		if _, err := tokens.Prune(ctx, time.Now().Add(-age)); err != nil && ctx.Err() == nil {
			logger.Error("prune", "error", err) // and again in an hour
		}
		select {
		case <-hourly.C:
		case <-ctx.Done():
			return
		}
	}
}

// flush writes the last uses that are still to be written.
func flush(ctx context.Context, tokens *tokenauth.Manager) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	return tokens.Flush(ctx)
}

const (
	scopeRead  = "notes:read"
	scopeWrite = "notes:write"
)

func newManager(store tokenauth.Store, logger *slog.Logger) *tokenauth.Manager {
	return tokenauth.New(store, "notes", &tokenauth.Options{
		OnEvent:    tokenauth.LogEvents(logger),
		Scopes:     []string{scopeRead, scopeWrite},
		MaxPerUser: 1000, // each start takes one of the demonstration user's for a day
	})
}

// issueKey leaves the keys of earlier starts as they are. Those that are expired
// lose their place when it is needed.
func issueKey(ctx context.Context, tokens *tokenauth.Manager) (tokenauth.Key, error) {
	now := time.Now()
	key, _, err := tokens.Issue(ctx, tokenauth.Spec{
		UserID:    strconv.FormatInt(demoUser, 10),
		Name:      now.Format("curl 2006-01-02 15:04:05.000"),
		Scopes:    []string{scopeRead, scopeWrite},
		ExpiresAt: now.Add(24 * time.Hour),
	})
	if err != nil {
		return key, fmt.Errorf("issue the first key: %w", err)
	}
	return key, nil
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
