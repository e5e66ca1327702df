package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// prefix is the prefix of all keys. The prefix marks them as examples.
const prefix = "acme"

// drf recognizes the keys of imported tokens.
var drf = tokenauth.LegacyFormat{Origin: "drf", Canonical: func(presented string) (string, bool) {
	return presented, len(presented) == 40 && strings.Trim(presented, "0123456789abcdef") == ""
}}

type service struct{ tokens *tokenauth.Manager }

// newHandler returns the routes of the service. GET /me requires a key. The other routes are for
// the test, and require none.
func newHandler(store tokenauth.Store) http.Handler {
	s := service{tokenauth.New(store, prefix, &tokenauth.Options{
		TouchEvery: 200 * time.Millisecond, // short, so that the program writes last-used times during an upgrade
		Legacy:     []tokenauth.LegacyFormat{drf},
		OnEvent:    logFailure,
	})}
	anyUser := func(_ context.Context, id string) (string, error) { return id, nil }
	auth := tokenauth.NewAuthenticator(s.tokens, anyUser, nil)
	mux := http.NewServeMux()
	mux.Handle("GET /me", auth.Require(http.HandlerFunc(s.me)))
	mux.HandleFunc("GET /tokens", s.list)
	mux.HandleFunc("POST /issue", s.issue)
	mux.HandleFunc("POST /rotate", s.rotate)
	mux.HandleFunc("POST /rename", s.rename)
	mux.HandleFunc("POST /revoke", s.revoke)
	return mux
}

func logFailure(_ context.Context, e tokenauth.Event) {
	if e.Kind == tokenauth.EventFlushFailed || e.Reason == tokenauth.ReasonStoreFailed {
		log.Print(e.Kind, ": ", e.Err)
	}
}

func (s service) me(w http.ResponseWriter, r *http.Request) {
	t, _ := tokenauth.TokenFrom(r.Context())
	_, _ = fmt.Fprint(w, t.ID)
}

func (s service) list(w http.ResponseWriter, r *http.Request) {
	all, err := s.tokens.List(r.Context(), tokenauth.Query{AllUsers: true, Revoked: true})
	respond(w, all, err)
}

// An issued is the response to a request that creates a key.
type issued struct {
	Key   string
	Token tokenauth.Token
}

func (s service) issue(w http.ResponseWriter, r *http.Request) {
	spec := tokenauth.Spec{UserID: r.FormValue("user"), Name: r.FormValue("name"), Scopes: []string{"read"}}
	key, t, err := s.tokens.Issue(r.Context(), spec)
	respond(w, issued{key.Reveal(), t}, err)
}

// rotate replaces the key of a token. The previous key remains valid for one hour if the form has
// the value grace.
func (s service) rotate(w http.ResponseWriter, r *http.Request) {
	var grace time.Duration
	if r.FormValue("grace") != "" {
		grace = time.Hour
	}
	key, t, err := s.tokens.Rotate(r.Context(), r.FormValue("user"), r.FormValue("id"), grace)
	respond(w, issued{key.Reveal(), t}, err)
}

func (s service) rename(w http.ResponseWriter, r *http.Request) {
	name := r.FormValue("name")
	t, err := s.tokens.Update(r.Context(), r.FormValue("user"), r.FormValue("id"), tokenauth.Patch{Name: &name})
	respond(w, issued{"", t}, err)
}

func (s service) revoke(w http.ResponseWriter, r *http.Request) {
	respond(w, struct{}{}, s.tokens.Revoke(r.Context(), r.FormValue("user"), r.FormValue("id")))
}

// respond writes v as JSON, or the status of err.
func respond(w http.ResponseWriter, v any, err error) {
	status := http.StatusServiceUnavailable
	switch {
	case err == nil:
		_ = json.NewEncoder(w).Encode(v)
		return
	case errors.Is(err, tokenauth.ErrInvalidSpec):
		status = http.StatusBadRequest
	case errors.Is(err, tokenauth.ErrNotFound):
		status = http.StatusNotFound
	case errors.Is(err, tokenauth.ErrNameTaken), errors.Is(err, tokenauth.ErrConflict), errors.Is(err, tokenauth.ErrTooManyTokens):
		status = http.StatusConflict
	default:
		log.Print(err)
	}
	http.Error(w, err.Error(), status)
}
