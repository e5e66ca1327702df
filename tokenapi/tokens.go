package tokenapi

import (
	"bufio"
	"context"
	"io"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/body"
	"github.com/go-tokenauth/tokenauth/internal/challenge"
)

const (
	defaultLimit = 100
	maxLimit     = 500
)

// A tokenWithKey is the body of a response that contains a token and its new key.
type tokenWithKey struct {
	tokenauth.Token
	Key string `json:"key"`
}

// A page is the body of the response to a list request. Next is nil on the last page.
type page struct {
	Tokens []tokenauth.Token `json:"tokens"`
	Next   *tokenauth.Cursor `json:"next"`
}

func (h *handler) list(_ http.ResponseWriter, c *call) (answer, error) {
	q := tokenauth.Query{UserID: c.userID, AllUsers: h.staff && c.userID == "", Limit: defaultLimit}
	if c.query.Has("limit") {
		limit, err := strconv.Atoi(c.query.Get("limit"))
		if err != nil || limit < 1 {
			return answer{}, challenge.Parameter("limit", "must be a whole number from 1")
		}
		q.Limit = min(limit, maxLimit)
	}
	if c.query.Has("revoked") {
		var err error
		if q.IncludeRevoked, err = strconv.ParseBool(c.query.Get("revoked")); err != nil {
			return answer{}, challenge.Parameter("revoked", "must be true or false")
		}
	}
	if cursor := c.query.Get("cursor"); c.query.Has("cursor") && (cursor == "" || q.After.UnmarshalText([]byte(cursor)) != nil) {
		return answer{}, challenge.Parameter("cursor", "is not a valid cursor")
	}
	limit := q.Limit
	q.Limit++ // one more token than the page has, to detect a next page
	tokens, err := h.manager.List(c.Context(), q)
	if err != nil {
		return answer{}, err
	}
	p := page{Tokens: tokens}
	if len(tokens) > limit {
		p.Tokens = tokens[:limit]
		p.Next = new(tokens[limit-1].Cursor())
	}
	return answer{body: p}, nil
}

func (h *handler) create(w http.ResponseWriter, c *call) (answer, error) {
	var name string
	var scopes []string
	var expires body.Expiry
	if err := body.ReadJSON(w, c.Request, body.Members{"name": &name, "scopes": &scopes, "expires_at": &expires}); err != nil {
		return answer{}, err
	}
	end := expires.At
	if c.token != nil && !expires.Given {
		end = c.token.ExpiresAt // Issue may set an earlier expiry because of DefaultTTL or MaxTTL
	}
	if err := c.mayGrant(scopes, end); err != nil {
		return answer{}, err
	}
	key, t, err := h.manager.Issue(c.Context(), tokenauth.Spec{
		UserID: c.userID, Name: name, Scopes: scopes, ExpiresAt: expires.At, NoExpiry: expires.Never(),
	})
	if err == nil && c.mayGrant(nil, t.ExpiresAt) != nil { // DefaultTTL or MaxTTL led to a later expiry; nobody has the key yet
		t, err = h.manager.Update(c.Context(), t.UserID, t.ID, tokenauth.Patch{ExpiresAt: &end})
	}
	if err != nil {
		return answer{}, challenge.Uncertain(err, tokenauth.StatusCode(err))
	}
	location := "tokens/" + t.ID // relative, so that it is valid behind every path prefix and proxy
	return answer{status: http.StatusCreated, location: location, body: tokenWithKey{t, key.Reveal()}}, nil
}

func (h *handler) read(_ http.ResponseWriter, c *call) (answer, error) {
	t, err := h.manager.Get(c.Context(), c.userID, c.id)
	return answer{body: t}, err
}

func (h *handler) update(w http.ResponseWriter, c *call) (answer, error) {
	var p tokenauth.Patch
	var expires body.Expiry
	if err := body.ReadJSON(w, c.Request, body.Members{"name": &p.Name, "scopes": &p.Scopes, "expires_at": &expires}); err != nil {
		return answer{}, err
	}
	if expires.Given {
		p.ExpiresAt = &expires.At
	}
	if p == (tokenauth.Patch{}) {
		return answer{}, challenge.New(http.StatusBadRequest, "There is nothing to change.")
	}
	if err := h.mayChange(c, p); err != nil {
		return answer{}, err
	}
	t, err := h.manager.Update(c.Context(), c.userID, c.id, p)
	return answer{body: t}, err
}

const maxGraceSeconds = int64(math.MaxInt64 / time.Second)

func (h *handler) rotate(w http.ResponseWriter, c *call) (answer, error) {
	var seconds int64
	var generation *int
	if hasBody(c.Request) {
		if err := body.ReadJSON(w, c.Request, body.Members{"grace_seconds": &seconds, "generation": &generation}); err != nil {
			return answer{}, err
		}
	}
	if c.token != nil && generation == nil { // required, because programs repeat requests
		return answer{}, challenge.Member(http.StatusBadRequest, "generation", "is required if the request presents a token")
	}
	if seconds < 0 || seconds > maxGraceSeconds {
		return answer{}, challenge.Member(http.StatusBadRequest, "grace_seconds", "must be from 0 to "+strconv.FormatInt(maxGraceSeconds, 10))
	}
	if err := h.mayChange(c, tokenauth.Patch{}); err != nil {
		return answer{}, err
	}
	rotate := h.manager.Rotate
	if generation != nil {
		rotate = func(ctx context.Context, userID, id string, grace time.Duration) (tokenauth.Key, tokenauth.Token, error) {
			return h.manager.RotateFrom(ctx, userID, id, *generation, grace)
		}
	}
	key, t, err := rotate(c.Context(), c.userID, c.id, time.Duration(seconds)*time.Second)
	if err != nil {
		return answer{}, challenge.Uncertain(err, tokenauth.StatusCode(err))
	}
	return answer{body: tokenWithKey{t, key.Reveal()}}, nil
}

// hasBody reports whether a request has a body. It ignores Content-Type, because some clients send
// Content-Type with every request. If Content-Length announces a body that is missing, hasBody also
// returns true.
func hasBody(r *http.Request) bool {
	if r.Body == nil {
		return false
	}
	body := bufio.NewReaderSize(r.Body, 16)
	_, err := body.Peek(1)
	r.Body = struct {
		io.Reader
		io.Closer
	}{body, r.Body}
	return err != io.EOF || r.ContentLength > 0
}

func (h *handler) revoke(_ http.ResponseWriter, c *call) (answer, error) {
	return answer{status: http.StatusNoContent}, h.manager.Revoke(c.Context(), c.userID, c.id)
}

func (h *handler) revokeAll(_ http.ResponseWriter, c *call) (answer, error) {
	n, err := h.manager.RevokeAll(c.Context(), c.userID)
	return answer{body: struct {
		Revoked int `json:"revoked"`
	}{n}}, err
}

// mayChange returns an error if the presented token may not change the token that the path names.
// The client could use the new key or the later expiry of a token with more rights, and would so
// gain these rights.
func (h *handler) mayChange(c *call, p tokenauth.Patch) error {
	if c.token == nil {
		return nil
	}
	t := *c.token
	if c.id != t.ID {
		var err error
		if t, err = h.manager.Get(c.Context(), c.userID, c.id); err != nil {
			return err
		}
	}
	if c.mayGrant(t.Scopes, t.ExpiresAt) != nil {
		return challenge.New(http.StatusForbidden, "The token to change has scopes or an expiry beyond those of the presented token.")
	}
	if p.Scopes != nil {
		t.Scopes = *p.Scopes
	}
	if p.ExpiresAt != nil {
		t.ExpiresAt = *p.ExpiresAt
	}
	return c.mayGrant(t.Scopes, t.ExpiresAt)
}

// mayGrant returns an error if the scopes or the expiry exceed those of the presented token. A zero
// expiry means never.
func (c *call) mayGrant(scopes []string, expiresAt time.Time) error {
	if c.token == nil {
		return nil
	}
	if !c.token.HasScopes(scopes...) {
		return challenge.Member(http.StatusForbidden, "scopes", "must not exceed those of the presented token")
	}
	if limit := c.token.ExpiresAt; !limit.IsZero() && (expiresAt.IsZero() || expiresAt.After(limit)) {
		return challenge.Member(http.StatusForbidden, "expires_at", "must not be later than that of the presented token")
	}
	return nil
}
