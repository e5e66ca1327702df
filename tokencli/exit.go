package tokencli

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/go-tokenauth/tokenauth"
)

// Exit codes of the commands. The package comment describes them.
const (
	Failed      = 1
	Usage       = 2
	NotFound    = 3
	Conflict    = 4
	Unavailable = 5
	Interrupted = 130
)

// An Error is an error with an exit code. All errors of the commands contain an *Error; find it
// with [errors.As].
//
// The functions passed to [New] may return an Error to choose the exit code. For their other
// errors, [tokenauth.StatusCode] determines the code. The code of an error that is not from package
// tokenauth is Unavailable.
type Error struct {
	Code int // exit code of the program
	Err  error
}

// Error returns the text of Err, without the prefixes "tokenauth: " and "tokenimport: ".
func (e *Error) Error() string {
	return strings.TrimPrefix(strings.TrimPrefix(e.Err.Error(), "tokenimport: "), "tokenauth: ")
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// ExitCode returns the exit code for the error of a command. It returns 0 if err is nil, and 1 if
// err does not contain an *Error.
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

// coded returns err with an exit code. If err already contains an Error, coded returns err.
func coded(ctx context.Context, err error) error {
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
