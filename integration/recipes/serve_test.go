package recipes

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/pipe"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// A served is a service that Serve runs. The channel began has a value for each request that the
// handler received.
type served struct {
	*tokenauthtest.Kit
	listener    *pipe.Listener
	began       chan struct{}
	stop        func()
	stopped     chan error
	storeClosed atomic.Bool
	onClose     func() // runs when Serve closes the store
	key, id     string
}

// serve starts a service in a synctest bubble. Each request needs a key.
func serve(t *testing.T, handler http.HandlerFunc) *served {
	t.Helper()
	kit, auth := newKit(t, nil)
	s := &served{Kit: kit, listener: pipe.NewListener(), began: make(chan struct{}, 1), stopped: make(chan error, 1), onClose: func() {}}
	s.key, s.id = issue(t, kit)
	ctx, stop := context.WithCancel(t.Context())
	s.stop = stop
	t.Cleanup(stop)
	server := &http.Server{Handler: auth.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.began <- struct{}{}
		handler(w, r)
	}))}
	go func() {
		s.stopped <- Serve(ctx, server, s.listener, kit.Manager, s, slog.New(slog.DiscardHandler))
	}()
	return s
}

// Close closes the store. All later calls of the store fail.
func (s *served) Close() error {
	s.onClose()
	s.storeClosed.Store(true)
	s.Store.Fail(errors.New("the store is closed"))
	return nil
}

// wait waits until Serve returns, and returns its error.
func (s *served) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-s.stopped:
		return err
	case <-time.After(time.Minute):
		require.Fail(t, "Serve has not returned")
		return nil
	}
}

// get sends a request and waits until the handler has received it. The channel has the body of the
// response, or the text of an error.
func (s *served) get(t *testing.T) <-chan string {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://pipe/", nil)
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+s.key)
	body := make(chan string, 1)
	go func() {
		dial := func(context.Context, string, string) (net.Conn, error) { return s.listener.Connect() }
		transport := &http.Transport{DialContext: dial, DisableKeepAlives: true}
		response, err := transport.RoundTrip(r)
		if err != nil {
			body <- err.Error()
			return
		}
		text, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		_, _ = leak.Default.Write(text)
		body <- string(text)
	}()
	<-s.began
	return body
}

// A shutdown must refuse new connections, must let requests that have begun finish, must end the
// job, must write the last-used times of these requests, and must close the store last.
func TestServeStopsInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		finish, done := context.WithCancel(t.Context())
		defer done()
		s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			<-finish.Done()
			_, _ = io.WriteString(w, "done")
		})
		body := s.get(t)
		synctest.Wait()
		require.Equal(t, 1, s.Store.Count("Prune"))
		s.stop()
		synctest.Wait()
		_, err := s.listener.Connect()
		require.ErrorIs(t, err, net.ErrClosed)
		require.False(t, s.storeClosed.Load(), "a request is still running")
		done()
		require.Equal(t, "done", <-body)
		require.NoError(t, s.wait(t))
		require.True(t, s.storeClosed.Load())
		s.Store.Fail(nil)
		token, err := s.Manager.Get(t.Context(), "42", s.id)
		require.NoError(t, err)
		require.Equal(t, s.Clock.Now(), token.LastUsedAt)
	})
}

// A running Prune must end before the store is closed.
func TestServeWaitsForPrune(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		finish, done := context.WithCancel(t.Context())
		defer done()
		s := serve(t, func(http.ResponseWriter, *http.Request) {})
		s.Store.Intercept(func(_ context.Context, method string, next func() error) error {
			if method == "Prune" {
				<-finish.Done()
			}
			return next()
		})
		time.Sleep(time.Hour) // of the bubble, until Prune runs
		s.stop()
		synctest.Wait()
		require.False(t, s.storeClosed.Load(), "Prune is still running")
		done()
		require.NoError(t, s.wait(t))
		require.True(t, s.storeClosed.Load())
	})
}

// A request that never finishes must not keep the service from stopping. Its connection must be
// closed before the store.
func TestServeClosesConnectionsAfterDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var ended, endedFirst atomic.Bool
		s := serve(t, func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
				ended.Store(true)
			case <-t.Context().Done(): // the test has failed
			}
		})
		s.onClose = func() {
			synctest.Wait()
			endedFirst.Store(ended.Load())
		}
		body, begin := s.get(t), time.Now()
		s.stop()
		require.NoError(t, s.wait(t))
		require.InDelta(t, 10, time.Since(begin).Seconds(), 1) // Shutdown polls
		require.True(t, endedFirst.Load(), "the connection was open when the store was closed")
		require.Contains(t, <-body, "EOF")
	})
}

// A database that hangs must not keep the service from stopping.
func TestServeStopsIfStoreHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, func(http.ResponseWriter, *http.Request) {})
		<-s.get(t)
		s.Store.Intercept(func(ctx context.Context, method string, next func() error) error {
			if method == "Touch" {
				<-ctx.Done()
				return ctx.Err()
			}
			return next()
		})
		begin := time.Now()
		s.stop()
		require.ErrorIs(t, s.wait(t), context.DeadlineExceeded)
		require.InDelta(t, 10, time.Since(begin).Seconds(), 1) // Shutdown polls
		require.True(t, s.storeClosed.Load())
	})
}

// If the listener fails, Serve must return the error, and must also end the job and close the
// store.
func TestServeReturnsErrorOfListener(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, func(http.ResponseWriter, *http.Request) {})
		require.NoError(t, s.listener.Close())
		require.ErrorIs(t, s.wait(t), net.ErrClosed)
		require.True(t, s.storeClosed.Load())
	})
}

// Process managers end a service with SIGTERM, and people end it with Ctrl-C. Both must be a
// shutdown and not the end of the process. A signal stops each Serve of the process. Therefore this
// test does not run in parallel.
func TestServeStopsAfterSignal(t *testing.T) {
	for _, sent := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		process, err := os.FindProcess(os.Getpid())
		require.NoError(t, err)
		s := serve(t, func(http.ResponseWriter, *http.Request) {})
		<-s.get(t)
		require.NoError(t, process.Signal(sent))
		require.NoError(t, s.wait(t))
		require.True(t, s.storeClosed.Load())
		s.stop()
	}
}
