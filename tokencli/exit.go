package tokencli

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/go-tokenauth/tokenauth"
)

// The exit codes; see the package's documentation.
const (
	Failed      = 1
	Usage       = 2
	NotFound    = 3
	Conflict    = 4
	Unavailable = 5
	Interrupted = 130
)

// An Error says with which code the program is to exit. All errors of the commands
// are of this type. An Error that a function given to [New] returns stays as it is;
// any other error of those gets the code that [tokenauth.StatusCode] suggests, which
// is Unavailable for all that package tokenauth does not know.
type Error struct {
	Code int
	Err  error
}

// Error returns the text of Err, without the name of the package before it.
func (e *Error) Error() string {
	return strings.TrimPrefix(strings.TrimPrefix(e.Err.Error(), "tokenimport: "), "tokenauth: ")
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// ExitCode returns the code for an error that a command returned: 0 for nil, and 1
// for errors that are none of this package's.
func ExitCode(err error) int {
	var e *Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return e.Code
	}
	return Failed
}

func failed(text string) error { return &Error{Failed, errors.New(text)} }
func usage(text string) error  { return &Error{Usage, errors.New(text)} }

// judged gives an error of a Manager or a store its code.
func judged(ctx context.Context, err error) error {
	var e *Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	if ctx.Err() == context.Canceled && errors.Is(err, context.Canceled) {
		return &Error{Interrupted, errors.New("interrupted")}
	}
	switch tokenauth.StatusCode(err) {
	case http.StatusBadRequest:
		return &Error{Usage, err}
	case http.StatusNotFound:
		return &Error{NotFound, err}
	case http.StatusConflict:
		return &Error{Conflict, err}
	}
	return &Error{Unavailable, err}
}
