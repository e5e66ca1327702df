package tokenapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/body"
	"github.com/go-tokenauth/tokenauth/internal/challenge"
	"github.com/go-tokenauth/tokenauth/internal/secondlook"
)

const (
	defaultLimit = 100
	maxLimit     = 500
)

// listParams are the query parameters of a list request.
var listParams = []string{"cursor", "limit", "revoked", "created_by", "expires_before"}

// A tokenWithKey is the body of a response that contains a token and its new key.
type tokenWithKey struct {
	tokenauth.Token
	Key string `json:"key"`
}

// A keyOfToken is the body of the response to a rotation after which the token could not be read.
// It has the members of a tokenWithKey that are known nevertheless.
type keyOfToken struct {
	ID         string `json:"id"`
	UserID     string `json:"user_id"`
	Hint       string `json:"hint"`
	Generation int    `json:"generation"`
	Key        string `json:"key"`
}

// A page is the body of the response to a list request. Next is nil on the last page.
type page struct {
	Tokens []tokenauth.Token `json:"tokens"`
	Next   *tokenauth.Cursor `json:"next"`
}

func (h *handler) list(c *call) (answer, error) {
	q, err := c.listQuery()
	if err != nil {
		return answer{}, err
	}
	q.AllUsers = h.staff && c.userID == ""
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

// listQuery returns the Query for the parameters of a list request. It returns an error if a
// parameter is malformed or empty.
func (c *call) listQuery() (tokenauth.Query, error) {
	q := tokenauth.Query{UserID: c.userID, Limit: defaultLimit}
	for _, name := range listParams {
		if !c.query.Has(name) {
			continue
		}
		if problem := setParam(&q, name, c.query.Get(name)); problem != "" {
			return q, challenge.Parameter(name, problem)
		}
	}
	return q, nil
}

// setParam sets the field of q for a parameter. If the value is invalid, setParam returns the
// problem, and otherwise "".
func setParam(q *tokenauth.Query, name, value string) (problem string) {
	var err error
	switch name {
	case "limit":
		if q.Limit, err = strconv.Atoi(value); err != nil || q.Limit < 1 {
			return "must be a whole number from 1"
		}
		q.Limit = min(q.Limit, maxLimit)
	case "revoked":
		if q.IncludeRevoked, err = strconv.ParseBool(value); err != nil {
			return "must be true or false"
		}
	case "cursor":
		if value == "" || q.After.UnmarshalText([]byte(value)) != nil {
			return "is not a valid cursor"
		}
	case "created_by":
		if q.CreatedBy = value; value == "" {
			return "must not be empty"
		}
	case "expires_before": // the zero time would select all tokens
		if q.ExpiresBefore.UnmarshalText([]byte(value)) != nil || q.ExpiresBefore.IsZero() {
			return "must be a time as in RFC 3339"
		}
	}
	return ""
}

func (h *handler) create(c *call) (answer, error) {
	var name string
	var scopes []string
	var resources body.List
	var expires body.Expiry
	members := body.Members{"name": &name, "scopes": &scopes, "resources": &resources, "expires_at": &expires}
	if err := body.DecodeJSON(c.Request, c.body, members); err != nil {
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
		UserID: c.userID, Name: name, Scopes: scopes, Resources: resources.Items, ExpiresAt: expires.At, NoExpiry: expires.Never(),
	})
	var known *challenge.Problem
	switch {
	case errors.As(err, &known): // Options.Resources failed before anything was stored
		return answer{}, err
	case err != nil:
		return answer{}, challenge.Uncertain(err, tokenauth.StatusCode(err))
	}
	err, failed := secondlook.Confirm(c.Context(), h.manager, t, func(ctx context.Context) error {
		if c.mayGrant(nil, t.ExpiresAt) != nil { // DefaultTTL or MaxTTL led to a later expiry
			shortened, err := h.manager.Update(ctx, t.UserID, t.ID, tokenauth.Patch{ExpiresAt: &end})
			switch {
			case errors.Is(err, tokenauth.ErrNotFound):
				return tokenauth.ErrConflict // revoked meanwhile
			case err != nil:
				return err
			}
			t = shortened
		}
		return h.lookAgain(ctx, c, &t)
	})
	switch {
	case failed != nil:
		return answer{}, challenge.Uncertain(failed, tokenauth.StatusCode(failed))
	case err != nil:
		return answer{}, err
	}
	location := "tokens/" + t.ID // relative, so that it is valid behind every path prefix and proxy
	return answer{status: http.StatusCreated, location: location, body: tokenWithKey{t, key.Reveal()}}, nil
}

func (h *handler) read(c *call) (answer, error) {
	t, err := h.manager.Get(c.Context(), c.userID, c.id)
	return answer{body: t}, err
}

// readSelf returns the presented token, which the confirmation of the key has just read.
func (h *handler) readSelf(c *call) (answer, error) { return answer{body: c.token}, nil }

func (h *handler) update(c *call) (answer, error) {
	var p tokenauth.Patch
	var resources body.List
	var expires body.Expiry
	members := body.Members{"name": &p.Name, "scopes": &p.Scopes, "resources": &resources, "expires_at": &expires}
	if err := body.DecodeJSON(c.Request, c.body, members); err != nil {
		return answer{}, err
	}
	if resources.Given {
		p.Resources = &resources.Items
	}
	if expires.Given {
		p.ExpiresAt = &expires.At
	}
	if p == (tokenauth.Patch{}) {
		return answer{}, challenge.New(http.StatusBadRequest, "There is nothing to change.")
	}
	if err := h.mayChange(c, &p); err != nil {
		return answer{}, err
	}
	t, err := h.manager.Update(c.Context(), c.userID, c.id, p)
	return answer{body: t}, err
}

func (h *handler) rotate(c *call) (answer, error) {
	var seconds int64
	var generation *int
	// The body may be empty, with any Content-Type, because some clients always send one. If
	// Content-Length announces a body, middleware has read it, and it may have had a grace.
	if len(c.body) > 0 || c.ContentLength > 0 {
		if err := body.DecodeJSON(c.Request, c.body, body.Members{"grace_seconds": &seconds, "generation": &generation}); err != nil {
			return answer{}, err
		}
	}
	if err := c.mayRotate(generation); err != nil {
		return answer{}, err
	}
	// RotateFrom checks the grace too, but the product in nanoseconds could overflow before.
	if longest := int64(h.manager.MaxGrace() / time.Second); seconds < 0 || seconds > longest {
		return answer{}, challenge.Member(http.StatusBadRequest, "grace_seconds", "must be from 0 to "+strconv.FormatInt(longest, 10))
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
	if t.CreatedAt.IsZero() {
		return answer{body: keyOfToken{t.ID, t.UserID, t.Hint, t.Generation, key.Reveal()}}, nil
	}
	return answer{body: tokenWithKey{t, key.Reveal()}}, nil
}

func (h *handler) revoke(c *call) (answer, error) {
	return answer{status: http.StatusNoContent}, h.manager.Revoke(c.Context(), c.userID, c.id)
}

func (h *handler) revokeAll(c *call) (answer, error) {
	n, err := h.manager.RevokeAll(c.Context(), c.userID)
	return answer{body: struct {
		Revoked int `json:"revoked"`
	}{n}}, err
}

func (h *handler) logoutAll(c *call) (answer, error) {
	_, err := h.manager.RevokeAll(c.Context(), c.userID)
	return answer{status: http.StatusNoContent}, err
}
