package body

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/go-tokenauth/tokenauth/internal/challenge"
)

const (
	maxBytes = 64 << 10
	timeout  = 10 * time.Second
)

// Limit ends the body of a request that takes longer than 10 seconds from now, or longer than the
// ReadTimeout of the server if that is shorter. A handler must call
// Limit before it can refuse the request without calling [Read]. When net/http writes a response,
// it reads the rest of the body first. Without a deadline, a client could hold the connection open
// for ever. Limit does nothing if the request has no body, or if w has no access to the connection.
func Limit(w http.ResponseWriter, r *http.Request) {
	// Middleware may have replaced http.NoBody. In a server, a length of zero means that there is no
	// body. A deadline would then never be cleared, and end the context of the request.
	if !Expected(r) || r.ContentLength == 0 {
		return
	}
	after := timeout
	if server, ok := r.Context().Value(http.ServerContextKey).(*http.Server); ok && server.ReadTimeout > 0 {
		after = min(after, server.ReadTimeout)
	}
	setDeadline(w, time.Now().Add(after))
}

// Expected reports whether a request may have a body. The body may turn out to be empty.
func Expected(r *http.Request) bool { return r.Body != nil && r.Body != http.NoBody }

// Read reads the body of a request to its end. The body may have at most 64 KiB, and Read waits for
// it at most 10 seconds. If the request has no body, Read returns nil. Every error is a
// [*challenge.Problem].
func Read(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if !Expected(r) {
		return nil, nil
	}
	Limit(w, r)
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBytes))
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
		// After the end of a body, net/http reads on to notice that the client disconnects. If the
		// deadline ended that read, net/http would cancel the context of the request.
		setDeadline(w, time.Time{})
		return text, nil
	// After an error, the deadline stays, because net/http still reads the rest of the body. That
	// read would not end if the client sent nothing more. For its next request, the connection gets
	// another deadline.
	case errors.As(err, &tooLarge):
		return nil, challenge.New(http.StatusRequestEntityTooLarge, "The body is larger than 64 KiB.")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, late(r)
	}
	return nil, bad("The body is incomplete.")
}

// late returns the error for a body that took too long. On HTTP/2, Connection: close would end the
// connection, which other requests share.
func late(r *http.Request) error {
	p := challenge.New(http.StatusRequestTimeout, "The body took too long to arrive.")
	if r.ProtoMajor > 1 {
		return p
	}
	return p.With("Connection", "close")
}

// setDeadline sets the deadline for reading the body. It ignores errors, because a recorder of a
// test and the ResponseWriter of [http.TimeoutHandler] have no deadlines.
func setDeadline(w http.ResponseWriter, at time.Time) {
	_ = http.NewResponseController(w).SetReadDeadline(at)
}
