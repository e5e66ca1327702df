package tokenauth

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/go-tokenauth/tokenauth/internal/bearer"
	"github.com/go-tokenauth/tokenauth/internal/problem"
)

// A refusal is what a client is told. It says nothing that a stranger must not
// know: why exactly a key is invalid stands in the error, for the log.
type refusal struct {
	status     int
	attributes string // of the challenges (RFC 6750 section 3)
	detail     string
}

func refusalOf(err error) refusal {
	status := StatusCode(err)
	var scopes *ScopeError
	switch {
	case status == http.StatusForbidden && errors.As(err, &scopes):
		need := strings.Join(scopes.Need, " ")
		return refusal{status, `, error="insufficient_scope", scope="` + need + `"`, "The token lacks a scope: this needs " + need + "."}
	case status == http.StatusForbidden:
		return refusal{status, `, error="insufficient_scope"`, "The token lacks a scope."}
	case errors.Is(err, ErrNoKey) && status == http.StatusUnauthorized:
		return refusal{status, "", "Authentication credentials were not provided."}
	case status == http.StatusUnauthorized:
		return refusal{status, `, error="invalid_token"`, "Invalid, expired or revoked token."}
	case errors.Is(err, ErrInvalidRequest) && status == http.StatusBadRequest:
		return refusal{status, `, error="invalid_request"`, "Malformed or repeated credentials."}
	}
	return refusal{http.StatusServiceUnavailable, "", "Authentication is not available at the moment. Try again."}
}

const retryAfter = "2" // seconds

// WriteError answers a request that err keeps from being served: with the status
// of [StatusCode], the challenges of RFC 6750 section 3, and a body as of RFC 9457
// (or what [AuthenticatorOptions].ErrorHandler makes of it). It is what the
// middleware itself uses, for errors of [Authenticator.Authenticate]; any other
// error is answered 503.
func (a *Authenticator[U]) WriteError(w http.ResponseWriter, r *http.Request, err error) {
	refused := refusalOf(err)
	if refused.status != StatusCode(err) { // no error of authentication
		err = &unavailableError{"authenticate", err}
	}
	h := w.Header()
	if refused.status == http.StatusServiceUnavailable { // no other key would help
		h.Set("Retry-After", retryAfter)
	} else {
		for _, scheme := range bearer.Schemes { // one each: some clients fail on two in one line (RFC 9110 section 11.6.1)
			h.Add("WWW-Authenticate", scheme+` realm="`+a.options.Realm+`"`+refused.attributes)
		}
	}
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	a.addVary(h)
	if a.options.ErrorHandler != nil {
		a.options.ErrorHandler(w, r, err)
		return
	}
	problem.Write(w, r, refused.status, refused.detail)
}

// addVary says that the response depends on the headers that hold keys. It adds
// to what is there, but not twice, as where one handler is wrapped two times.
func (a *Authenticator[U]) addVary(h http.Header) {
	for _, name := range a.vary {
		if !slices.Contains(h["Vary"], name) {
			h["Vary"] = append(h["Vary"], name)
		}
	}
}
