package tokenauth

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/go-tokenauth/tokenauth/internal/challenge"
	"github.com/go-tokenauth/tokenauth/internal/syntax"
)

// Errors of authentication. To find out whether a key was refused, match ErrInvalidKey with
// [errors.Is]. ErrExpired, ErrRevoked and ErrNoUser wrap ErrInvalidKey, so that a log can show the
// reason. The response to the client does not show the reason.
var (
	// ErrNoKey means that the request presents no key.
	ErrNoKey = errors.New("tokenauth: no key presented")
	// ErrInvalidRequest means that the credentials of the request violate the syntax of RFC 6750
	// section 2.1, or that the request presents more than one key.
	ErrInvalidRequest = errors.New("tokenauth: malformed credentials")
	// ErrInvalidKey means that the presented key is not accepted: the key is malformed, unknown or
	// replaced by a rotation. ErrExpired, ErrRevoked and ErrNoUser, which wrap ErrInvalidKey, are
	// further reasons.
	ErrInvalidKey = errors.New("tokenauth: invalid key")
	// ErrExpired means that the token of the key is expired or was unused for too long. ErrExpired
	// wraps [ErrInvalidKey].
	ErrExpired = fmt.Errorf("%w: token expired", ErrInvalidKey)
	// ErrRevoked means that the token of the key is revoked. ErrRevoked wraps [ErrInvalidKey].
	ErrRevoked = fmt.Errorf("%w: token revoked", ErrInvalidKey)
	// ErrNoUser means that the user of the token does not exist or may not sign in. The service's
	// function that finds users for an [Authenticator] returns ErrNoUser. ErrNoUser wraps
	// [ErrInvalidKey].
	ErrNoUser = fmt.Errorf("%w: no such user", ErrInvalidKey)
	// ErrInsufficientScope means that the token lacks a required scope, or is restricted to other
	// resources. The Authenticator returns it as a [*ScopeError] or a [*ResourceError].
	ErrInsufficientScope = errors.New("tokenauth: insufficient scope")
	// ErrPreviousKey means that the request presents a token's previous key, which is still accepted
	// after a rotation, but [Need].CurrentKey requires the current key.
	ErrPreviousKey = errors.New("tokenauth: the token's current key is required")

	// errOtherResource is the error that a ResourceError wraps.
	errOtherResource = fmt.Errorf("%w: the token is restricted to other resources", ErrInsufficientScope)

	errMalformedKey = fmt.Errorf("%w: malformed", ErrInvalidKey)
	errUnknownKey   = fmt.Errorf("%w: unknown", ErrInvalidKey)
	errRetiredKey   = fmt.Errorf("%w: replaced by a rotation", ErrInvalidKey)
	errIdle         = fmt.Errorf("%w: unused for too long", ErrExpired)
)

// Errors of the methods that manage tokens. These methods also return the errors of a [Store]. No
// error of management wraps [ErrInvalidKey].
var (
	// ErrInvalidSpec means that an argument is malformed or violates the Manager's [Options]. The
	// Manager returns it as a [*SpecError].
	ErrInvalidSpec = errors.New("tokenauth: invalid argument")
	// ErrTooManyTokens means that the user already has [Options].MaxPerUser live tokens.
	ErrTooManyTokens = errors.New("tokenauth: too many tokens")
)

// A SpecError says which argument is invalid and why. A SpecError wraps [ErrInvalidSpec].
type SpecError struct {
	Field string // JSON name of the argument, such as user_id, name, scopes or expires_at
	// Problem is the rest of a sentence that begins with Field, such as "must not be empty". A
	// service may show Problem to its users.
	Problem string
}

// Error returns the field and the problem.
func (e *SpecError) Error() string { return "tokenauth: " + e.Field + " " + e.Problem }

// Unwrap returns [ErrInvalidSpec].
func (e *SpecError) Unwrap() error { return ErrInvalidSpec }

// invalid returns a SpecError with the given field and the text of problem. If problem is nil,
// invalid returns nil.
func invalid(field string, problem error) error {
	if problem == nil {
		return nil
	}
	return &SpecError{field, problem.Error()}
}

// A ScopeError means that the token lacks a scope that the request requires. A ScopeError wraps
// [ErrInsufficientScope].
type ScopeError struct {
	Scopes []string // all scopes that the request requires
}

// Error lists the required scopes.
func (e *ScopeError) Error() string {
	return ErrInsufficientScope.Error() + ": need " + strings.Join(e.Scopes, " ")
}

// wellFormed reports whether the scopes may stand in a header. The check is needed because a
// function that the service gave to RequireFunc may have made the error, with any text as a scope.
func (e *ScopeError) wellFormed() bool {
	need, err := syntax.Scopes(e.Scopes, nil)
	return err == nil && len(need) > 0
}

// Unwrap returns [ErrInsufficientScope].
func (e *ScopeError) Unwrap() error { return ErrInsufficientScope }

// An unavailableError means that the store or a function of the service failed during
// authentication. verdictOf checks for an unavailableError before it checks the wrapped cause. The
// cause may be ErrNotFound, for example, which alone would give the status 404 instead of 503.
type unavailableError struct {
	reason Reason
	cause  error
}

// Error returns the reason in words and the text of the cause.
func (e *unavailableError) Error() string {
	return "tokenauth: " + strings.ReplaceAll(string(e.reason), "_", " ") + ": " + e.cause.Error()
}

func (e *unavailableError) Unwrap() error { return e.cause }

// errNeed means that a Need is a mistake of the service.
var errNeed = errors.New("tokenauth: a Need has a malformed or unknown scope, an empty resource, or both Resources and AnyResource")

// A verdict holds the response to the client and the reason for the log that belong to an error.
type verdict struct {
	err    error
	status int
	reason Reason // Reason of the EventRejected
	// code is the "error" attribute of the challenge (RFC 6750 section 3.1). If code is empty, only
	// ErrNoKey gets a challenge.
	code   string
	detail string // text for the client; must not reveal why a key is invalid
}

const (
	invalidToken = "Invalid, expired or revoked token."
	notChanged   = "The token has expired, or other changes came first."
)

// verdicts has the verdict of each error. verdictOf returns the first verdict that matches, so an
// error stands before the errors that it wraps.
var verdicts = []verdict{
	{ErrInvalidRequest, 400, ReasonMalformed, "invalid_request", "Malformed or repeated credentials."},
	{ErrInvalidSpec, 400, "", "", "The request is invalid."},
	{ErrUserUnknown, 400, "", "", "The request is invalid."},
	{ErrNoKey, 401, "", "", "Authentication credentials were not provided."},
	{ErrRevoked, 401, ReasonRevoked, "invalid_token", invalidToken},
	{errIdle, 401, ReasonIdle, "invalid_token", invalidToken},
	{ErrExpired, 401, ReasonExpired, "invalid_token", invalidToken},
	{errRetiredKey, 401, ReasonReplaced, "invalid_token", invalidToken},
	{errUnknownKey, 401, ReasonUnknown, "invalid_token", invalidToken},
	{ErrNoUser, 401, ReasonNoUser, "invalid_token", invalidToken},
	{ErrInvalidKey, 401, ReasonMalformed, "invalid_token", invalidToken},
	{errOtherResource, 403, ReasonResourceMissing, "insufficient_scope", "The token is restricted to resources, and may not be used for this."},
	{ErrInsufficientScope, 403, ReasonScopeMissing, "insufficient_scope", "The token lacks a scope."},
	{ErrPreviousKey, 403, ReasonPreviousKey, "", "This requires the token's current key, not its previous key."},
	{ErrNotFound, 404, ReasonNotFound, "", "Not found."},
	{ErrTooManyTokens, 409, "", "", "There are as many tokens as allowed. Revoke one first."},
	{ErrNameTaken, 409, "", "", "The name is already taken by another token."},
	{ErrKeyTaken, 409, "", "", notChanged},
	{ErrSlotTaken, 409, "", "", notChanged},
	{ErrConflict, 409, "", "", notChanged},
	{errNeed, 500, ReasonNeedFailed, "", "The service is misconfigured."},
}

func verdictOf(err error) verdict {
	var unavailable *unavailableError
	if errors.As(err, &unavailable) {
		return verdict{status: 503, reason: unavailable.reason}
	}
	for _, v := range verdicts {
		if errors.Is(err, v.err) {
			return v
		}
	}
	return verdict{status: 503, reason: ReasonStoreFailed}
}

// StatusCode returns the HTTP status for err:
//
//   - 200 for nil
//   - 400 for [ErrInvalidRequest], [ErrInvalidSpec] and [ErrUserUnknown]
//   - 401 for [ErrNoKey] and [ErrInvalidKey]
//   - 403 for [ErrInsufficientScope] and [ErrPreviousKey]
//   - 404 for [ErrNotFound]
//   - 409 for [ErrNameTaken], [ErrKeyTaken], [ErrSlotTaken], [ErrTooManyTokens] and [ErrConflict]
//   - 500 if a [Need] is a mistake of the service: if it has a malformed or unknown scope, an empty
//     resource, or both Resources and AnyResource
//   - 503 for every other error, because the store or a function of the service failed
func StatusCode(err error) int {
	if err == nil {
		return http.StatusOK
	}
	return problemOf(err).Status
}

// problemOf returns the error response for err.
func problemOf(err error) *challenge.Problem {
	var problem *challenge.Problem // packages tokenapi and tokenlogin return such errors
	if errors.As(err, &problem) {
		return problem
	}
	var spec *SpecError
	var scope *ScopeError
	switch v := verdictOf(err); {
	case v.status == 503:
		return challenge.Unavailable(err)
	case v.status == 400 && errors.As(err, &spec):
		return challenge.Member(v.status, spec.Field, spec.Problem)
	case v.err == ErrNameTaken:
		return challenge.Member(v.status, "name", "is already taken by another token")
	default:
		p := challenge.New(v.status, v.detail)
		p.Challenge = v.code != "" || v.err == ErrNoKey
		if v.code != "" {
			p.Attributes = `, error="` + v.code + `"`
		}
		if v.status == 403 && errors.As(err, &scope) && scope.wellFormed() {
			need := strings.Join(scope.Scopes, " ")
			p.Attributes += `, scope="` + need + `"`
			p.Detail += " Required: " + need + "."
		}
		return p
	}
}

func isAny(err error, targets ...error) bool {
	return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
}
