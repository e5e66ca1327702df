package tokenapi

import (
	"context"
	"encoding/base64"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/syntax"
)

const (
	defaultLimit = 100
	maxLimit     = 500
)

// A tokenView is a token as clients see it.
type tokenView struct {
	ID         string     `json:"id"`
	UserID     string     `json:"user_id,omitempty"` // for staff alone
	Name       string     `json:"name"`
	Scopes     []string   `json:"scopes"`
	Hint       string     `json:"hint"`
	Generation int        `json:"generation"`
	Origin     string     `json:"origin,omitempty"`
	CreatedAt  time.Time  `json:"created_at"`
	ExpiresAt  *time.Time `json:"expires_at"`
	LastUsedAt *time.Time `json:"last_used_at"`
	RevokedAt  *time.Time `json:"revoked_at"`
}

// A keyView is a token with its new key.
type keyView struct {
	tokenView
	Key string `json:"key"`
}

// A page has no Next if it is the last.
type page struct {
	Tokens []tokenView `json:"tokens"`
	Next   *string     `json:"next"`
}

func (h *handler) view(t *tokenauth.Token) tokenView {
	v := viewOf(t)
	if h.staff {
		v.UserID = t.UserID
	}
	return v
}

func viewOf(t *tokenauth.Token) tokenView {
	v := tokenView{
		ID: t.ID, Name: t.Name, Scopes: t.Scopes, Hint: t.Hint, Generation: t.Generation, Origin: t.Origin,
		CreatedAt: t.CreatedAt, ExpiresAt: orNull(&t.ExpiresAt), LastUsedAt: orNull(&t.LastUsedAt), RevokedAt: orNull(&t.RevokedAt),
	}
	if v.Scopes == nil {
		v.Scopes = []string{}
	}
	return v
}

func orNull(t *time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return t
}

func (h *handler) list(_ http.ResponseWriter, c *call) (answer, error) {
	q := tokenauth.Query{UserID: c.userID, AllUsers: h.staff && c.userID == "", Limit: defaultLimit}
	if c.query.Has("limit") {
		limit, err := strconv.Atoi(c.query.Get("limit"))
		if err != nil || limit < 1 {
			return answer{}, badParameter("limit", "must be a whole number from 1")
		}
		q.Limit = min(limit, maxLimit)
	}
	if c.query.Has("revoked") {
		var err error
		if q.IncludeRevoked, err = strconv.ParseBool(c.query.Get("revoked")); err != nil {
			return answer{}, badParameter("revoked", "must be true or false")
		}
	}
	if c.query.Has("cursor") {
		var ok bool
		if q.After, ok = parseCursor(c.query.Get("cursor")); !ok {
			return answer{}, badParameter("cursor", "is none of this list")
		}
	}
	limit := q.Limit
	q.Limit++ // tells whether there is more
	tokens, err := h.manager.List(c.Context(), q)
	if err != nil {
		return answer{}, err
	}
	p := page{Tokens: make([]tokenView, min(len(tokens), limit))}
	for i := range p.Tokens {
		p.Tokens[i] = h.view(&tokens[i])
	}
	if len(tokens) > limit {
		p.Next = new(formatCursor(tokens[limit-1].Cursor()))
	}
	return answer{body: p}, nil
}

// A cursor tells no more than the token before it, and is no proof of anything:
// a forged one is only another place in the list of the same user.
func formatCursor(c tokenauth.Cursor) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(c.CreatedAt.UnixMicro(), 10) + "." + c.ID))
}

func parseCursor(s string) (c tokenauth.Cursor, ok bool) {
	text, err := base64.RawURLEncoding.DecodeString(s)
	micros, id, found := strings.Cut(string(text), ".")
	at, numberErr := strconv.ParseInt(micros, 10, 64)
	if err != nil || numberErr != nil || !found || !syntax.IsWord(id) {
		return c, false
	}
	return tokenauth.Cursor{CreatedAt: time.UnixMicro(at).UTC(), ID: id}, true
}

func (h *handler) create(w http.ResponseWriter, c *call) (answer, error) {
	var name string
	var scopes []string
	var expires expiry
	if err := readJSON(w, c.Request, members{"name": &name, "scopes": &scopes, "expires_at": &expires}); err != nil {
		return answer{}, err
	}
	end := expires.at
	if c.token != nil && !expires.given {
		end = c.token.ExpiresAt // or sooner, as the policy says
	}
	if err := c.mayGrant(scopes, end); err != nil {
		return answer{}, err
	}
	key, t, err := h.manager.Issue(c.Context(), tokenauth.Spec{
		UserID: c.userID, Name: name, Scopes: scopes, ExpiresAt: expires.at, NoExpiry: expires.never(),
	})
	if err == nil && c.mayGrant(nil, t.ExpiresAt) != nil { // the policy gave more; nobody has the key yet
		t, err = h.manager.Update(c.Context(), t.UserID, t.ID, tokenauth.Patch{ExpiresAt: &end})
	}
	if err != nil {
		return answer{}, notIssued(h.manager, err, &name, scopes)
	}
	location := "tokens/" + t.ID // relative, so that no prefix and no proxy makes it wrong
	return answer{status: http.StatusCreated, location: location, body: keyView{h.view(&t), key.Reveal()}}, nil
}

func (h *handler) read(_ http.ResponseWriter, c *call) (answer, error) {
	t, err := h.manager.Get(c.Context(), c.userID, c.id)
	return answer{body: h.view(&t)}, err
}

func (h *handler) update(w http.ResponseWriter, c *call) (answer, error) {
	var name *string
	var scopes *[]string
	var expires expiry
	if err := readJSON(w, c.Request, members{"name": &name, "scopes": &scopes, "expires_at": &expires}); err != nil {
		return answer{}, err
	}
	p := tokenauth.Patch{Name: name, Scopes: scopes}
	if expires.given {
		p.ExpiresAt = &expires.at
	}
	if p == (tokenauth.Patch{}) {
		return answer{}, refuse(http.StatusBadRequest, "There is nothing to change.")
	}
	if err := h.mayChange(c, p); err != nil {
		return answer{}, err
	}
	t, err := h.manager.Update(c.Context(), c.userID, c.id, p)
	if err != nil {
		var asked []string
		if scopes != nil {
			asked = *scopes
		}
		return answer{}, invalidSpec(h.manager, err, name, asked)
	}
	return answer{body: h.view(&t)}, nil
}

const maxGraceSeconds = int64(math.MaxInt64 / time.Second)

func (h *handler) rotate(w http.ResponseWriter, c *call) (answer, error) {
	var seconds int64
	var generation *int
	if hasBody(c.Request) {
		if err := readJSON(w, c.Request, members{"grace_seconds": &seconds, "generation": &generation}); err != nil {
			return answer{}, err
		}
	}
	if c.token != nil && generation == nil { // programs repeat requests
		return answer{}, badMember("generation", "must be given by a token")
	}
	if seconds < 0 || seconds > maxGraceSeconds {
		return answer{}, badMember("grace_seconds", "must be from 0 to "+strconv.FormatInt(maxGraceSeconds, 10))
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
		return answer{}, uncertain(err)
	}
	return answer{body: keyView{h.view(&t), key.Reveal()}}, nil
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

// mayChange refuses what a token may not do to another: its new key, or a longer
// life, would be a grant of all that the other one has.
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
		return refuse(http.StatusForbidden, "The token to change has scopes, or a time to live, beyond those of the token presented.")
	}
	if p.Scopes != nil {
		t.Scopes = *p.Scopes
	}
	if p.ExpiresAt != nil {
		t.ExpiresAt = *p.ExpiresAt
	}
	return c.mayGrant(t.Scopes, t.ExpiresAt)
}

// mayGrant refuses scopes and an expiry beyond those of the token that is
// presented. A zero expiry means never.
func (c *call) mayGrant(scopes []string, expiresAt time.Time) error {
	if c.token == nil {
		return nil
	}
	if !c.token.HasScopes(scopes...) {
		return wrong(http.StatusForbidden, "scopes", "a token cannot grant scopes that it has not got")
	}
	if limit := c.token.ExpiresAt; !limit.IsZero() && (expiresAt.IsZero() || expiresAt.After(limit)) {
		return wrong(http.StatusForbidden, "expires_at", "a token cannot grant a longer life than its own")
	}
	return nil
}
