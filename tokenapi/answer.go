package tokenapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/bearer"
)

// An answer is what a request that succeeds gets.
type answer struct {
	status   int // zero: 200
	location string
	body     any // nil: none
}

// A problem is what a request that fails gets (RFC 9457).
type problem struct {
	Title          string       `json:"title"`
	Status         int          `json:"status"`
	Detail         string       `json:"detail"`
	Errors         []fieldError `json:"errors,omitempty"`
	NonFieldErrors []string     `json:"non_field_errors,omitempty"` // where DRF has it

	header [2]string // one more header
	cause  error     // for the log
}

// A fieldError says what is wrong with one member or parameter, in the form of
// RFC 9457 section 3.
type fieldError struct {
	Detail    string `json:"detail"`
	Pointer   string `json:"pointer,omitempty"`   // RFC 6901, to a member of the body
	Parameter string `json:"parameter,omitempty"` // of the query
}

func (p *problem) Error() string { return p.Detail }

func refuse(status int, detail string) *problem {
	return &problem{Title: http.StatusText(status), Status: status, Detail: detail}
}

// wrong refuses one member of a body.
func wrong(status int, member, detail string) *problem {
	p := refuse(status, member+": "+detail+".")
	p.Errors = []fieldError{{Detail: detail, Pointer: "#/" + member}}
	return p
}

func badMember(name, detail string) *problem { return wrong(http.StatusBadRequest, name, detail) }

func badParameter(name, detail string) *problem {
	p := refuse(http.StatusBadRequest, name+": "+detail+".")
	p.Errors = []fieldError{{Detail: detail, Parameter: name}}
	return p
}

func (p *problem) with(header, value string) *problem {
	p.header = [2]string{header, value}
	return p
}

func notAllowed(methods ...string) *problem {
	if slices.Contains(methods, http.MethodGet) {
		methods = append(methods, http.MethodHead)
	}
	slices.Sort(methods)
	return refuse(http.StatusMethodNotAllowed, "This method is not offered here.").with("Allow", strings.Join(methods, ", "))
}

// challenge adds challenges with these attributes (RFC 6750 section 3).
func (p *problem) challenge(attributes string) *problem { return p.with(authenticate, attributes) }

const authenticate = "WWW-Authenticate"

func unauthorized(detail string) *problem {
	return refuse(http.StatusUnauthorized, detail).challenge("")
}

var errCrossOrigin = refuse(http.StatusForbidden, "The request comes from another origin.")

const retryAfter = 2 * time.Second

func unavailable(cause error) *problem {
	p := retry(http.StatusServiceUnavailable, "The service can't answer at the moment. Try again.", retryAfter)
	p.cause = cause
	return p
}

// uncertain is what is told of an error of a change that shows a key: repeated, it
// makes one more token, or ends the key that the first time made.
func uncertain(err error) error {
	p := problemOf(err)
	if p.cause == nil {
		return p
	}
	again := refuse(http.StatusServiceUnavailable, "The change may have been made. Look before you repeat it.")
	again.cause = p.cause
	return again
}

// notIssued says what is told of an error of Issue.
func notIssued(m *tokenauth.Manager, err error, name *string, scopes []string) error {
	if errors.Is(err, tokenauth.ErrConflict) {
		return refuse(http.StatusConflict, "Other changes came first. Try again.")
	}
	return uncertain(invalidSpec(m, err, name, scopes))
}

// retry tells to wait, in whole seconds and never too short.
func retry(status int, detail string, wait time.Duration) *problem {
	seconds := (wait + time.Second - 1) / time.Second
	return refuse(status, detail).with("Retry-After", strconv.FormatInt(int64(seconds), 10))
}

// problemOf says what a client is told of an error of a Manager.
func problemOf(err error) *problem {
	var p *problem
	switch {
	case errors.As(err, &p):
		return p
	case errors.Is(err, tokenauth.ErrNotFound):
		return refuse(http.StatusNotFound, "There is no such token.")
	case errors.Is(err, tokenauth.ErrNameTaken):
		return wrong(http.StatusConflict, "name", "another token has it")
	case errors.Is(err, tokenauth.ErrTooManyTokens):
		return refuse(http.StatusConflict, "There are as many tokens as allowed. Revoke one first.")
	case errors.Is(err, tokenauth.ErrConflict):
		return refuse(http.StatusConflict, "The token has expired, or was changed meanwhile.")
	case errors.Is(err, tokenauth.ErrInvalidSpec): // all that is left is a grace beyond the year 9999
		return badMember("grace_seconds", "too long")
	}
	return unavailable(err)
}

// respond writes an answer, or what keeps it from being given.
func respond(w http.ResponseWriter, r *http.Request, a answer, err error, onError func(*http.Request, error)) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Add("Vary", "Cookie")
	var body []byte
	if err == nil && a.body != nil {
		body, err = json.Marshal(a.body) // fails on times that no Manager gives, but a store may
	}
	if err != nil {
		p := problemOf(err)
		if p.cause != nil && onError != nil && r.Context().Err() != context.Canceled { // else the client gave up
			onError(r, p.cause)
		}
		refuseWith(w, r, p)
		return
	}
	if a.location != "" {
		header.Set("Location", a.location)
	}
	if body != nil {
		header.Set("Content-Type", typeJSON)
	}
	write(w, r, cmp.Or(a.status, http.StatusOK), body)
}

func refuseWith(w http.ResponseWriter, r *http.Request, p *problem) {
	header := w.Header()
	switch name, value := p.header[0], p.header[1]; name {
	case "":
	case authenticate:
		for _, scheme := range bearer.Schemes {
			header.Add(name, scheme+` realm="api"`+value)
		}
	default:
		header.Set(name, value)
	}
	body, err := json.Marshal(p)
	if err != nil {
		panic("tokenapi: " + err.Error()) // strings and a number
	}
	header.Set("Content-Type", "application/problem+json")
	write(w, r, p.Status, body)
}

func write(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	w.WriteHeader(status)
	if body != nil && r.Method != http.MethodHead {
		_, _ = w.Write(append(body, '\n')) // where the client is gone there is nobody to tell
	}
}
