package integration

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/integration/servers"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
)

func throughPgBouncer(t *testing.T) (*servers.PostgresServer, *servers.PgBouncerServer) {
	t.Helper()
	pg := closing(t, startPostgres)
	return pg, closing(t, func() (*servers.PgBouncerServer, error) { return servers.PgBouncer(pg) })
}

// While a pooler restarts, requests must get 503 and no other error, as with a database that
// restarts.
// Case F2.
func TestPgBouncerStoppedReturns503(t *testing.T) {
	leak.NothingLeft(t)
	_, bouncer := throughPgBouncer(t)
	for _, driver := range nativeOrNot {
		t.Run(driver, func(t *testing.T) {
			outage{"PgBouncer stopped", driver, bouncer.DSN("postgres", "default_query_exec_mode=exec"),
				bouncer.Stop, bouncer.Start, 2 * time.Second}.test(t)
		})
	}
}

// While its server is down, a pooler accepts queries and lets them wait. The timeout of the store
// must end these queries. Otherwise every request hangs.
// Case F2.
func TestPgBouncerWithoutServerReturns503(t *testing.T) {
	leak.NothingLeft(t)
	pg, bouncer := throughPgBouncer(t)
	outage{"PostgreSQL stopped behind PgBouncer", "pgx", bouncer.DSN("postgres", "default_query_exec_mode=exec"),
		pg.Stop, pg.Start, 3 * time.Second}.test(t)
}

// A tally counts results by their name.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
}

func (c *tally) add(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[what]++
}

// The docs name the mode that pgx needs behind PgBouncer. Without this mode, a service may get
// errors but never a wrong result.
// Case S27.
func TestPgBouncerDefaultModeReturnsNoWrongResult(t *testing.T) {
	_, bouncer := throughPgBouncer(t)
	opts := newTable()
	good := newStore(t, open(t, "pgx", bouncer.DSN("postgres", "default_query_exec_mode=exec")), tokenauth.PostgreSQL, opts)
	bad, err := tokenauth.NewSQLStore(open(t, "pgx", bouncer.DSN("postgres")), tokenauth.PostgreSQL, opts)
	require.NoError(t, err)
	states, wrong := &tally{counts: map[string]int{}}, &tally{counts: map[string]int{}}
	// succeeded counts the result of a call, and reports whether the call succeeded.
	succeeded := func(what string, err error) bool {
		switch {
		case err == nil:
			states.add("none")
		case tokenauth.StatusCode(err) == http.StatusServiceUnavailable:
			states.add(sqlState(err))
		default:
			wrong.add(fmt.Sprint(what, ": ", err))
		}
		return err == nil
	}
	var clients sync.WaitGroup
	for client := range 16 {
		clients.Go(func() {
			for round := range 20 {
				r := newRecord("anna", fmt.Sprint("client ", client, ", ", round))
				if err := good.Create(t.Context(), r); err != nil {
					wrong.add(err.Error())
				}
				if got, err := bad.Find(t.Context(), r.Digest); succeeded("find", err) && got.Token.ID != r.Token.ID {
					wrong.add("find: another token")
				}
				_, err := bad.Find(t.Context(), tokenauth.DigestOf("unknown"))
				if !errors.Is(err, tokenauth.ErrNotFound) && succeeded("find", err) {
					wrong.add("find: an unknown key")
				}
				if succeeded("revoke", bad.Revoke(t.Context(), "anna", r.Token.ID, time.Now(), "")) {
					if got, err := good.Find(t.Context(), r.Digest); err != nil || got.Token.RevokedAt.IsZero() {
						wrong.add(fmt.Sprint("revoke: not done, ", err))
					}
				}
				r = newRecord("bea", r.Token.Name)
				if succeeded("create", bad.Create(t.Context(), r)) {
					if _, err := good.Find(t.Context(), r.Digest); err != nil {
						wrong.add(fmt.Sprint("create: not done, ", err))
					}
				}
			}
		})
	}
	clients.Wait()
	t.Log("PgBouncer, pgx in its default mode, SQLSTATEs:", states.counts)
	require.Empty(t, wrong.counts)
	require.Positive(t, states.counts["42P05"]+states.counts["26000"],
		"some calls must fail because a prepared statement belongs to another connection")
}
