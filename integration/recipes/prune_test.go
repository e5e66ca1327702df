package recipes

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// The job must delete old tokens, must go on after an error, and must stop with its context.
func TestPruneHourlyDeletesOldTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kit := tokenauthtest.New(t, nil)
		_, id := issue(t, kit)
		require.NoError(t, kit.Manager.Revoke(t.Context(), "42", id))
		left := func() int {
			tokens, err := kit.Manager.List(t.Context(), tokenauth.Query{AllUsers: true, IncludeRevoked: true})
			require.NoError(t, err)
			return len(tokens)
		}
		var lines bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		stopped := make(chan struct{})
		go func() {
			PruneHourly(ctx, kit.Manager, slog.New(slog.NewTextHandler(&lines, nil)))
			close(stopped)
		}()
		synctest.Wait()
		require.Equal(t, 1, left(), "the token was revoked just now")

		kit.Clock.Advance(31 * 24 * time.Hour)
		kit.Store.Fail(errors.New("connection refused"))
		time.Sleep(time.Hour) // of the bubble
		synctest.Wait()
		kit.Store.Fail(nil)
		require.Equal(t, 1, left())
		require.Contains(t, lines.String(), "connection refused")
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Zero(t, left())
		cancel()
		<-stopped
	})
}

// A shutdown must let requests that have begun finish, must end the job, and must write the
// last-used times of these requests.
func TestServeStopsInOrder(t *testing.T) {
	t.Parallel()
	kit, auth := newKit(t, nil)
	key, id := issue(t, kit)
	began, finish := make(chan struct{}), make(chan struct{})
	handler := auth.Require(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(began)
		<-finish
		_, _ = io.WriteString(w, "done")
	}))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	served, closed := make(chan error, 1), make(closer, 1)
	go func() {
		served <- Serve(ctx, &http.Server{Handler: handler}, listener, kit.Manager, closed, slog.New(slog.DiscardHandler))
	}()

	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+listener.Addr().String(), nil)
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+key)
	body := make(chan string, 1)
	go func() {
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			body <- err.Error()
			return
		}
		text, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		_, _ = leak.Default.Write(text)
		body <- string(text)
	}()
	<-began
	cancel()
	close(finish)
	require.Equal(t, "done", <-body)
	require.NoError(t, <-served)
	require.Len(t, closed, 1, "the store was not closed")
	token, err := kit.Manager.Get(t.Context(), "42", id)
	require.NoError(t, err)
	require.Equal(t, kit.Clock.Now(), token.LastUsedAt)
}

// A closer holds a value after Close.
type closer chan struct{}

func (c closer) Close() error {
	c <- struct{}{}
	return nil
}
