package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
)

// If the program receives a signal while it reads a body, the program must finish the request and
// accept no new connection.
func TestShutdownFinishesRequests(t *testing.T) {
	t.Parallel()
	path := sqlite.File(t)
	p := start(t, path)
	body, bodyEnd := io.Pipe()
	reading := make(chan struct{})
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got100Continue: func() { close(reading) }})
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL+"/notes", body)
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+p.Key)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Expect", "100-continue") // the server sends 100 when a handler reads the body
	status := make(chan int, 1)
	go func() {
		client := &http.Client{Transport: &http.Transport{ExpectContinueTimeout: patience}}
		response, err := client.Do(r)
		if err != nil {
			t.Error(err)
			status <- 0
			return
		}
		_ = response.Body.Close()
		status <- response.StatusCode
	}()

	<-reading
	p.Stop()
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.URL, "http://"))
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	}, patience, time.Millisecond, "a program that shuts down must accept no new connection")
	_, err = io.WriteString(bodyEnd, `{"text":"finished"}`)
	require.NoError(t, err)
	require.NoError(t, bodyEnd.Close())
	require.Equal(t, http.StatusCreated, <-status)
	require.NoError(t, p.wait(t))

	again := start(t, path)
	require.Equal(t, `{"notes":[{"id":1,"text":"finished"}]}`+"\n", again.do(t, "GET", "/notes", p.Key, "").Text,
		"after a restart, the note must exist and the key must work")
}

// When the program stops, it must write the last-used times that are still in memory. With -prune,
// it must delete tokens that expired long ago.
func TestLastUsedTimesAreWrittenAndOldTokensPruned(t *testing.T) {
	t.Parallel()
	path := sqlite.File(t)
	db, err := openDatabase(t.Context(), path)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	p := start(t, path, "-cache", "1m")
	for range 3 {
		require.Equal(t, http.StatusOK, p.do(t, "GET", "/me", p.Key, "").StatusCode)
	}
	p.Stop()
	require.NoError(t, p.wait(t))
	count := func(where string) (n int) {
		require.NoError(t, db.QueryRow("SELECT count(*) FROM tokenauth_tokens WHERE "+where).Scan(&n))
		return n
	}
	require.Equal(t, 1, count("last_used_at >= created_at"))

	_, err = db.Exec("UPDATE tokenauth_tokens SET expires_at = 1")
	require.NoError(t, err)
	start(t, path, "-prune", "24h")
	require.Eventually(t, func() bool { return count("expires_at = 1") == 0 }, patience, time.Millisecond)
	require.Equal(t, 1, count("1 = 1"), "only the new key must be left")
}

// A power cut must not undo a revocation that the program has confirmed. SQLite guarantees this
// only if it waits for the disk at each commit.
// Case F11.
func TestDatabaseIsOpenedWithFullSync(t *testing.T) {
	t.Parallel()
	db, err := openDatabase(t.Context(), sqlite.File(t))
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	var synchronous int
	require.NoError(t, db.QueryRow("PRAGMA synchronous").Scan(&synchronous))
	require.Equal(t, 2, synchronous, "the setting must be FULL")
}

// The program must create and open a database file whose name contains characters that have a
// meaning in a URI.
func TestDatabaseFileMayHaveAnyName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a b.db", "what?.db", "100%25.db", "a#b&c=d.db", ":memory:", "file:x.db", "größe.db"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), name)
			p := start(t, path)
			require.Equal(t, http.StatusOK, p.do(t, "GET", "/me", p.Key, "").StatusCode)
			require.FileExists(t, path)
			p.Stop()
			require.NoError(t, p.wait(t))
			entries, err := os.ReadDir(filepath.Dir(path))
			require.NoError(t, err)
			require.Len(t, entries, 1, "the program must leave no other file")
		})
	}
}

// A relative name must be a file in the working directory, even if it looks like a special name of
// SQLite.
func TestDatabaseFileMayBeRelative(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"tokens.db", ":memory:"} {
		p := start(t, name)
		require.Equal(t, http.StatusOK, p.do(t, "GET", "/me", p.Key, "").StatusCode)
		require.FileExists(t, name)
	}
}

// If the program cannot start, the error must name the cause, and the program must not print an
// address.
func TestStartReportsErrors(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()
	notDatabase := filepath.Join(t.TempDir(), "text")
	require.NoError(t, os.WriteFile(notDatabase, []byte(strings.Repeat("no database ", 100)), 0o600))
	missing := filepath.Join(t.TempDir(), "missing", "tokens.db")

	tests := []struct {
		name string
		args []string
		want []string
	}{
		{"address in use", []string{"-addr", taken.Addr().String(), "-db", sqlite.File(t)}, []string{taken.Addr().String(), "address already in use"}},
		{"missing folder", []string{"-db", missing}, []string{"create database: open " + missing, "no such file"}},
		{"file that is no database", []string{"-db", notDatabase}, []string{"open database " + notDatabase, "not a database"}},
		{"unknown flag", []string{"-port", "80"}, []string{"-port"}},
		{"argument", []string{"tokens.db"}, []string{"unexpected argument", "tokens.db"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var stdout buffer
			err := run(t.Context(), tt.args, &stdout, io.Discard)
			for _, want := range tt.want {
				require.ErrorContains(t, err, want)
			}
			require.Empty(t, stdout.String(), "the program must print no address")
		})
	}
}

// The flag -h must print the flags and their defaults, and must not start the program.
func TestHelpShowsDefaults(t *testing.T) {
	t.Parallel()
	var stderr buffer
	require.NoError(t, run(t.Context(), []string{"-h"}, io.Discard, &stderr))
	require.Contains(t, stderr.String(), `(default "tokens.db")`)
}
