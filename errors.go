package tokenauth

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Errors of authentication. Callers match the parent; logs may tell the child;
// a client learns only the parent.
var (
	// ErrNoKey means that the request presents no key.
	ErrNoKey = errors.New("tokenauth: no key presented")
	// ErrInvalidRequest means that the request presents a key in a malformed
	// way, or more than one.
	ErrInvalidRequest = errors.New("tokenauth: malformed credentials")
	// ErrInvalidKey means that the key presented is not accepted: it is
	// malformed, unknown, replaced by a rotation, or one of the errors below,
	// which wrap this one.
	ErrInvalidKey = errors.New("tokenauth: invalid key")
	// ErrExpired means that the key's token is expired, or was unused for too long.
	ErrExpired = fmt.Errorf("%w: token expired", ErrInvalidKey)
	// ErrRevoked means that the key's token is revoked.
	ErrRevoked = fmt.Errorf("%w: token revoked", ErrInvalidKey)
	// ErrNoUser means that the token's user does not exist or may not sign in.
	// The function that finds users for an [Authenticator] returns it.
	ErrNoUser = fmt.Errorf("%w: no such user", ErrInvalidKey)
	// ErrInsufficientScope means that the token lacks a scope that is needed;
	// a [*ScopeError] wraps it.
	ErrInsufficientScope = errors.New("tokenauth: insufficient scope")

	errMalformedKey = fmt.Errorf("%w: malformed", ErrInvalidKey)
	errUnknownKey   = fmt.Errorf("%w: unknown", ErrInvalidKey)
	errRetiredKey   = fmt.Errorf("%w: replaced by a rotation", ErrInvalidKey)
	errIdle         = fmt.Errorf("%w: unused for too long", ErrExpired)
)

// Errors of management, beside those of a [Store]. None wraps [ErrInvalidKey].
var (
	// ErrInvalidSpec means that what was asked for is malformed or against the
	// Manager's policy. The message says what, and may be shown to the user.
	ErrInvalidSpec = errors.New("tokenauth: invalid")
	// ErrTooManyTokens means that the user has as many live tokens as allowed.
	ErrTooManyTokens = errors.New("tokenauth: too many tokens")
)

// invalidSpec wraps a problem, if there is one.
func invalidSpec(problem error) error {
	if problem == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrInvalidSpec, problem)
}

// A ScopeError wraps [ErrInsufficientScope] and says what is needed.
type ScopeError struct {
	Need []string // all the scopes that the request needs
}

func newScopeError(need []string) error { return &ScopeError{Need: slices.Clone(need)} } // to be changed as one likes

// Error lists the scopes that are needed.
func (e *ScopeError) Error() string {
	return ErrInsufficientScope.Error() + ": need " + strings.Join(e.Need, " ")
}

// Unwrap returns [ErrInsufficientScope].
func (e *ScopeError) Unwrap() error { return ErrInsufficientScope }

// An unavailableError says that a question was not answered. It comes before
// whatever it wraps: a failed user lookup stays a failure even where its cause
// is one of this package's sentinels.
type unavailableError struct {
	doing string
	cause error
}

const (
	findingToken = "find token"
	findingUser  = "find user"
)

func (e *unavailableError) Error() string { return "tokenauth: " + e.doing + ": " + e.cause.Error() }
func (e *unavailableError) Unwrap() error { return e.cause }

// StatusCode returns the HTTP status that tells err: 200 for nil, 400 for
// [ErrInvalidRequest] and [ErrInvalidSpec], 401 for [ErrNoKey] and
// [ErrInvalidKey], 403 for [ErrInsufficientScope], 404 for [ErrNotFound], 409
// for [ErrNameTaken], [ErrKeyTaken], [ErrSlotTaken], [ErrTooManyTokens] and
// [ErrConflict], and 503 for every other error: the store, or the lookup of the
// user, did not answer.
func StatusCode(err error) int {
	var unavailable *unavailableError
	switch {
	case err == nil:
		return http.StatusOK
	case errors.As(err, &unavailable):
		return http.StatusServiceUnavailable
	case isAny(err, ErrInvalidRequest, ErrInvalidSpec):
		return http.StatusBadRequest
	case isAny(err, ErrNoKey, ErrInvalidKey):
		return http.StatusUnauthorized
	case errors.Is(err, ErrInsufficientScope):
		return http.StatusForbidden
	case errors.Is(err, ErrNotFound):
		return http.StatusNotFound
	case isAny(err, ErrNameTaken, ErrKeyTaken, ErrSlotTaken, ErrTooManyTokens, ErrConflict):
		return http.StatusConflict
	}
	return http.StatusServiceUnavailable
}

func isAny(err error, targets ...error) bool {
	return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
}
