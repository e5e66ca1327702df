package body_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/internal/body"
	"github.com/go-tokenauth/tokenauth/internal/challenge"
	"github.com/go-tokenauth/tokenauth/internal/testing/pipe"
)

const deadline = 10 * time.Second

// reads responds with the body that it read, or with the error. If the body was read, the handler
// works for an hour before it responds.
var reads = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	text, err := body.Read(w, r)
	var p *challenge.Problem
	switch {
	case errors.As(err, &p):
		p.SetHeader(w.Header(), nil, "")
		p.Write(w, r)
		return
	case err != nil:
		panic(err)
	}
	select {
	case <-time.After(time.Hour):
		_, _ = w.Write(text)
	case <-r.Context().Done():
		w.WriteHeader(http.StatusGone)
	}
})

// refuses responds without reading the body.
var refuses = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	body.Limit(w, r)
	w.WriteHeader(http.StatusUnauthorized)
})

// held are the beginnings of HTTP/1.1 requests whose bodies do not end.
var held = map[string]string{
	"Content-Length":         "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n{\"name\":",
	"chunked":                "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{\"name\":\r\n",
	"chunked without an end": "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
	"no byte":                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n",
}

// bubble runs f for each value of all in a synctest bubble of its own.
func bubble[T any](t *testing.T, all map[string]T, f func(*testing.T, T)) {
	for name, v := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { f(t, v) })
		})
	}
}

// A client that never ends its body must not hold a connection and its memory for ever, if the
// service has not set a timeout itself. Nor may it go on after the response.
// Case A6.
func TestReadEndsBodyHeldOpen(t *testing.T) {
	t.Parallel()
	bubble(t, held, func(t *testing.T, request string) {
		c := pipe.Serve(t, reads).Dial(t)
		begin := time.Now()
		c.Send(request)
		w, _ := c.Receive(t)
		require.Equal(t, http.StatusRequestTimeout, w.StatusCode)
		require.True(t, w.Close, "the response must have Connection: close")
		require.Equal(t, deadline, time.Since(begin))
		c.RequireClosed(t)
		require.Less(t, time.Since(begin), deadline+time.Second)
	})
}

// A client that waits for 100 Continue must get it, and has the same time for its body.
func TestReadEndsBodyAfterContinue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := pipe.Serve(t, reads).Dial(t)
		c.Send("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 20\r\n\r\n")
		w, _ := c.Receive(t)
		require.Equal(t, http.StatusContinue, w.StatusCode)
		w, _ = c.Receive(t)
		require.Equal(t, http.StatusRequestTimeout, w.StatusCode)
		c.RequireClosed(t)
	})
}

// A body that sends a byte from time to time must end too.
// Case A6.
func TestReadEndsBodyInPieces(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := pipe.Serve(t, reads).Dial(t)
		c.Send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 60\r\n\r\n")
		var sender sync.WaitGroup
		defer sender.Wait()
		sender.Go(func() {
			for err := error(nil); err == nil; _, err = io.WriteString(c, "x") {
				time.Sleep(time.Second)
			}
		})
		begin := time.Now()
		w, _ := c.Receive(t)
		require.Equal(t, http.StatusRequestTimeout, w.StatusCode)
		require.Equal(t, deadline, time.Since(begin))
		c.RequireClosed(t)
	})
}

// net/http reads the rest of a body that is too large. A client that holds the rest open must not
// hold the connection.
// Case A6.
func TestReadEndsLargeBodyHeldOpen(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 64<<10+1)
	bubble(t, map[string]string{
		"Content-Length": "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + large,
		"chunked":        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n10001\r\n" + large,
	}, func(t *testing.T, request string) {
		c := pipe.Serve(t, reads).Dial(t)
		begin := time.Now()
		c.Send(request)
		w, _ := c.Receive(t)
		require.Equal(t, http.StatusRequestEntityTooLarge, w.StatusCode)
		require.Zero(t, time.Since(begin), "the response must not wait for the rest")
		c.RequireClosed(t)
		require.Less(t, time.Since(begin), deadline+time.Second)
	})
}

// net/http reads the rest of a body before it writes the response. A client whose request is
// refused for its headers must not hold the connection.
// Case A6.
func TestLimitEndsBodyThatIsNotRead(t *testing.T) {
	t.Parallel()
	requests := map[string]string{"Expect": "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 20\r\n\r\n"}
	for name, request := range held {
		requests[name] = request
	}
	bubble(t, requests, func(t *testing.T, request string) {
		c := pipe.Serve(t, refuses).Dial(t)
		begin := time.Now()
		c.Send(request)
		w, _ := c.Receive(t)
		require.Equal(t, http.StatusUnauthorized, w.StatusCode)
		c.RequireClosed(t)
		require.Less(t, time.Since(begin), deadline+time.Second)
	})
}

// A handler may work for longer than the body may take. The deadline of the body must not cancel
// the context of the request, nor end the connection.
func TestReadKeepsConnection(t *testing.T) {
	t.Parallel()
	bubble(t, map[string]string{
		"no body":        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"empty body":     "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
		"empty chunked":  "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"Content-Length": "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
		"chunked":        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"64 KiB":         "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 65536\r\n\r\n" + strings.Repeat("x", 64<<10),
	}, func(t *testing.T, request string) {
		_, want, _ := strings.Cut(request, "\r\n\r\n")
		if strings.Contains(request, "chunked") {
			_, want, _ = strings.Cut(strings.TrimSuffix(want, "0\r\n\r\n"), "\r\n")
			want = strings.TrimSuffix(want, "\r\n")
		}
		c := pipe.Serve(t, reads).Dial(t)
		for range 2 {
			c.Send(request)
			w, text := c.Receive(t)
			require.Equal(t, http.StatusOK, w.StatusCode)
			require.Equal(t, want, text)
			time.Sleep(time.Hour)
		}
	})
}

// Middleware may read the body and put a copy in its place. net/http then reads the connection in
// the background already, and a deadline that stays would cancel the context of the request.
func TestReadKeepsContextAfterCopiedBody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		copies := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			text, err := io.ReadAll(r.Body)
			require.NoError(t, err)
			r.Body = io.NopCloser(bytes.NewReader(text))
			reads.ServeHTTP(w, r)
		})
		c := pipe.Serve(t, copies).Dial(t)
		c.Send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
		w, text := c.Receive(t)
		require.Equal(t, http.StatusOK, w.StatusCode)
		require.Equal(t, "{}", text)
	})
}

// Middleware such as http.MaxBytesHandler replaces the body of a request without a body. The
// deadline must not be set then, because nobody would clear it, and it would end the context of a
// handler that takes longer.
func TestLimitIgnoresReplacedEmptyBody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body.Limit(w, r)
			time.Sleep(3 * deadline)
			require.NoError(t, r.Context().Err())
		})
		c := pipe.Serve(t, http.MaxBytesHandler(slow, 100)).Dial(t)
		c.Send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		w, _ := c.Receive(t)
		require.Equal(t, http.StatusOK, w.StatusCode)
	})
}

// A service that allows less time than the library must keep its own limit.
func TestShorterReadTimeoutOfServerHolds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for readTimeout, want := range map[time.Duration]time.Duration{2 * time.Second: 2 * time.Second, time.Minute: deadline} {
			short := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				ctx := context.WithValue(r.Context(), http.ServerContextKey, &http.Server{ReadTimeout: readTimeout})
				reads.ServeHTTP(w, r.WithContext(ctx))
			})
			c := pipe.Serve(t, short).Dial(t)
			begin := time.Now()
			c.Send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{")
			w, _ := c.Receive(t)
			require.Equal(t, http.StatusRequestTimeout, w.StatusCode)
			require.Equal(t, want, time.Since(begin))
		}
	})
}

// On HTTP/2, one slow body must end without harm to the other requests of its connection.
// Case A6.
func TestReadOnHTTP2(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := pipe.Serve(t, reads).HTTP2(t)
		send := func(r io.Reader) *http.Response {
			request, err := http.NewRequestWithContext(t.Context(), "POST", "http://x/", r)
			require.NoError(t, err)
			w, err := client.Do(request)
			require.NoError(t, err)
			require.Equal(t, 2, w.ProtoMajor)
			return w
		}
		other := make(chan *http.Response)
		go func() { other <- send(strings.NewReader("{}")) }()
		body, end := io.Pipe()
		defer func() { _ = end.Close() }()
		begin := time.Now()
		w := send(body)
		_ = w.Body.Close()
		require.Equal(t, http.StatusRequestTimeout, w.StatusCode)
		require.Equal(t, deadline, time.Since(begin))
		require.Equal(t, http.StatusOK, send(nil).StatusCode, "the connection must stay open")

		w = <-other
		require.Equal(t, http.StatusOK, w.StatusCode)
		text, err := io.ReadAll(w.Body)
		require.NoError(t, err)
		require.Equal(t, "{}", string(text))
	})
}

// Read must also work where a ResponseWriter has no deadlines: in tests with a recorder, and behind
// http.TimeoutHandler.
func TestReadWithoutDeadlines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, h := range []http.Handler{reads, http.TimeoutHandler(reads, 2*time.Hour, "")} {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequestWithContext(context.Background(), "POST", "/", strings.NewReader("{}")))
			require.Equal(t, http.StatusOK, w.Code)
			require.Equal(t, "{}", w.Body.String())
		}
		r := httptest.NewRequest("POST", "/", nil)
		r.Body = nil
		text, err := body.Read(httptest.NewRecorder(), r)
		require.NoError(t, err)
		require.Nil(t, text)
	})
}
