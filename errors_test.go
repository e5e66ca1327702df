package tokenauth_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
)

// StatusCode must return the right status for each error of the package, even if the error is
// wrapped. Errors with status 400, 404 or 409 must not wrap ErrInvalidKey.
func TestStatusCodeOfEachError(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]int{
		nil:                             200,
		tokenauth.ErrInvalidRequest:     400,
		tokenauth.ErrInvalidSpec:        400,
		tokenauth.ErrNoKey:              401,
		tokenauth.ErrInvalidKey:         401,
		tokenauth.ErrExpired:            401,
		tokenauth.ErrRevoked:            401,
		tokenauth.ErrNoUser:             401,
		&tokenauth.ScopeError{}:         403,
		tokenauth.ErrNotFound:           404,
		tokenauth.ErrNameTaken:          409,
		tokenauth.ErrKeyTaken:           409,
		tokenauth.ErrSlotTaken:          409,
		tokenauth.ErrTooManyTokens:      409,
		tokenauth.ErrConflict:           409,
		errors.New("anything else"):     503,
		context.Canceled:                503,
		fmt.Errorf("%w", sql.ErrNoRows): 503,
	} {
		require.Equal(t, want, tokenauth.StatusCode(err), err)
		if want == 400 || want == 404 || want == 409 {
			require.NotErrorIs(t, err, tokenauth.ErrInvalidKey)
		}
		if err != nil {
			require.Equal(t, want, tokenauth.StatusCode(fmt.Errorf("more: %w", err)))
			require.True(t, strings.HasPrefix(err.Error(), "tokenauth: ") || want == 503)
		}
	}
}

// The JSON form of a Token must omit the fields of zero times. Case E4.
func TestJSONOmitsZeroTimes(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(tokenauth.Token{ID: "x", CreatedAt: fixture.Start})
	require.NoError(t, err)
	require.NotContains(t, string(text), "0001-01-01")
}

// WriteError must write the status and the challenge for each error of the package. It must not
// write the text of any other error, because that text may contain SQL.
func TestWriteErrorWritesStatusAndChallenge(t *testing.T) {
	t.Parallel()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), nil)
	auth := fixture.NewAuthenticator(m, &tokenauth.AuthenticatorOptions{Realm: "notes"})
	down := errors.New(`dial db7: SELECT "secret"`)
	for _, c := range []struct {
		err       error
		status    int
		challenge string
		retry     string
		body      string // expected JSON without "title" and "status"
	}{
		{tokenauth.ErrNoKey, 401, `Bearer realm="notes"`, "", `{"detail":"Authentication credentials were not provided."}`},
		{tokenauth.ErrExpired, 401, `Bearer realm="notes", error="invalid_token"`, "", `{"detail":"Invalid, expired or revoked token."}`},
		{tokenauth.ErrInvalidRequest, 400, `Bearer realm="notes", error="invalid_request"`, "", `{"detail":"Malformed or repeated credentials."}`},
		{tokenauth.ErrInsufficientScope, 403, `Bearer realm="notes", error="insufficient_scope"`, "", `{"detail":"The token lacks a scope."}`},
		{&tokenauth.ScopeError{Scopes: []string{"a", "b"}}, 403, `Bearer realm="notes", error="insufficient_scope", scope="a b"`, "",
			`{"detail":"The token lacks a scope. Required: a b."}`},
		{tokenauth.ErrInvalidSpec, 400, "", "", `{"detail":"The request is invalid."}`},
		{fmt.Errorf("more: %w", &tokenauth.SpecError{Field: "name", Problem: "must not be empty"}), 400, "", "",
			`{"detail":"name: must not be empty.","errors":[{"detail":"must not be empty","pointer":"#/name"}]}`},
		{tokenauth.ErrNotFound, 404, "", "", `{"detail":"Not found."}`},
		{tokenauth.ErrNameTaken, 409, "", "",
			`{"detail":"name: is already taken by another token.","errors":[{"detail":"is already taken by another token","pointer":"#/name"}]}`},
		{tokenauth.ErrTooManyTokens, 409, "", "", `{"detail":"There are as many tokens as allowed. Revoke one first."}`},
		{tokenauth.ErrConflict, 409, "", "", `{"detail":"The token has expired, or other changes came first."}`},
		{tokenauth.ErrKeyTaken, 409, "", "", `{"detail":"The token has expired, or other changes came first."}`},
		{down, 503, "", "2", `{"detail":"The service is not available at the moment. Try again."}`},
		{fmt.Errorf("create: %w", down), 503, "", "2", `{"detail":"The service is not available at the moment. Try again."}`},
		{nil, 503, "", "2", `{"detail":"The service is not available at the moment. Try again."}`}, // the caller passed no error
	} {
		name := fmt.Sprint(c.err)
		w := httptest.NewRecorder()
		auth.WriteError(w, httptest.NewRequest("GET", "/", nil), c.err)
		require.Equal(t, c.status, w.Code, name)
		require.Equal(t, c.challenge, w.Header().Get("WWW-Authenticate"), name)
		require.Equal(t, c.retry, w.Header().Get("Retry-After"), name)
		require.Equal(t, "no-store", w.Header().Get("Cache-Control"), name)
		fixture.ProblemOf(t, w)
		var body map[string]any
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &body))
		delete(body, "title")
		delete(body, "status")
		got, err := json.Marshal(body)
		require.NoError(t, err)
		require.JSONEq(t, c.body, string(got), name)
	}
}

// A handler may have set headers for its own body before it calls WriteError. They must not apply
// to the body of the error.
func TestWriteErrorReplacesBodyHeaders(t *testing.T) {
	t.Parallel()
	auth := fixture.NewAuthenticator(fixture.NewManager(tokenauth.NewMemoryStore(), nil), nil)
	w := httptest.NewRecorder()
	for _, name := range []string{"Content-Length", "Content-Encoding", "ETag", "Last-Modified"} {
		w.Header().Set(name, "5")
	}
	w.Header().Set("X-Request-Id", "kept")
	auth.WriteError(w, httptest.NewRequest("GET", "/", nil), tokenauth.ErrNotFound)
	for _, name := range []string{"Content-Length", "Content-Encoding", "ETag", "Last-Modified"} {
		require.Empty(t, w.Header().Values(name), name)
	}
	require.Equal(t, "kept", w.Header().Get("X-Request-Id"))
}

// A SpecError must name the invalid field and describe the problem in words for users. Otherwise a
// service that shows a form would have to parse error texts.
func TestSpecErrorNamesField(t *testing.T) {
	t.Parallel()
	clock := fixture.NewClock()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), &tokenauth.Options{Now: clock.Now, Scopes: []string{"a"}, MaxTTL: time.Hour})
	_, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	spec := func(change func(*tokenauth.Spec)) error {
		s := tokenauth.Spec{UserID: "u", Name: "other"}
		change(&s)
		_, _, err := m.Issue(ctx, s)
		return err
	}
	update := func(p tokenauth.Patch) error { _, err := m.Update(ctx, "u", token.ID, p); return err }
	list := func(q tokenauth.Query) error { _, err := m.List(ctx, q); return err }
	imported := func(change func(*tokenauth.ImportSpec)) error {
		s := tokenauth.ImportSpec{UserID: "u", Name: "old", Origin: "drf", Digest: tokenauth.DigestOf("old")}
		change(&s)
		_, err := m.Import(ctx, s)
		return err
	}
	for _, c := range []struct {
		field, problem string
		err            error
	}{
		{"user_id", "must not be empty", spec(func(s *tokenauth.Spec) { s.UserID = "" })},
		{"name", "must not be empty", spec(func(s *tokenauth.Spec) { s.Name = " " })},
		{"name", "must not contain a control or invisible character", update(tokenauth.Patch{Name: new("a\u200bb")})},
		{"scopes", "must not contain an unknown scope", spec(func(s *tokenauth.Spec) { s.Scopes = []string{"b"} })},
		{"scopes", "must not contain an unknown scope", update(tokenauth.Patch{Scopes: &[]string{"b"}})},
		{"expires_at", "must be in the future", spec(func(s *tokenauth.Spec) { s.ExpiresAt = fixture.Start })},
		{"expires_at", "must not be more than 1h0m0s ahead", update(tokenauth.Patch{ExpiresAt: new(fixture.Start.Add(2 * time.Hour))})},
		{"expires_at", "must be set", spec(func(s *tokenauth.Spec) { s.NoExpiry = true })},
		{"expires_at", "must not be set together with NoExpiry", spec(func(s *tokenauth.Spec) { s.NoExpiry = true; s.ExpiresAt = fixture.Start.Add(time.Minute) })},
		{"grace_seconds", "must be from 0 to 2592000", func() error { _, _, err := m.Rotate(ctx, "u", token.ID, -1); return err }()},
		{"user_id", "must not be empty unless all users are selected", list(tokenauth.Query{})},
		{"user_id", "must be empty if all users are selected", list(tokenauth.Query{UserID: "u", AllUsers: true})},
		{"user_id", "must not contain a control character", list(tokenauth.Query{UserID: "\x00"})},
		{"limit", "must not be negative", list(tokenauth.Query{UserID: "u", Limit: -1})},
		{"origin", "must be 1 to 64 letters, digits, - and _", imported(func(s *tokenauth.ImportSpec) { s.Origin = "" })},
		{"digest", "must be set", imported(func(s *tokenauth.ImportSpec) { s.Digest = tokenauth.Digest{} })},
		{"hint", "must be at most 4 letters, digits, - and _", imported(func(s *tokenauth.ImportSpec) { s.Hint = "12345" })},
		{"last_used_at", "must be within the years 1 to 9999", imported(func(s *tokenauth.ImportSpec) { s.LastUsedAt = fixture.Start.AddDate(9000, 0, 0) })},
	} {
		var got *tokenauth.SpecError
		require.ErrorAs(t, fixture.Noted(c.err), &got, c.field)
		require.Equal(t, tokenauth.SpecError{Field: c.field, Problem: c.problem}, *got)
		require.ErrorIs(t, c.err, tokenauth.ErrInvalidSpec)
		require.Equal(t, "tokenauth: "+c.field+" "+c.problem, c.err.Error())
	}
}

// The JSON form of a Token must not change by accident, because clients parse it.
func TestJSONOfTokenIsStable(t *testing.T) {
	t.Parallel()
	at := fixture.Start.Add(1500 * time.Microsecond)
	for _, c := range []struct {
		token tokenauth.Token
		want  string
	}{
		{tokenauth.Token{ID: "ABC", UserID: "42", Name: "laptop", Hint: "x7Qf", Generation: 1, CreatedAt: fixture.Start},
			`{"id":"ABC","user_id":"42","name":"laptop","scopes":[],"resources":null,"hint":"x7Qf","generation":1,"created_at":"2026-03-01T12:00:00Z"}`},
		{tokenauth.Token{ID: "ABC", UserID: "42", Name: "laptop", Scopes: []string{"a", "b"}, Resources: []string{"p:1"}, Origin: "drf", CreatedAt: fixture.Start,
			ExpiresAt: at, LastUsedAt: at, RevokedAt: at, CreatedBy: "cli", RevokedBy: "staff", PreviousKeyUntil: at},
			`{"id":"ABC","user_id":"42","name":"laptop","scopes":["a","b"],"resources":["p:1"],"hint":"","generation":0,"origin":"drf",
			"created_at":"2026-03-01T12:00:00Z","expires_at":"2026-03-01T12:00:00.0015Z","last_used_at":"2026-03-01T12:00:00.0015Z",
			"revoked_at":"2026-03-01T12:00:00.0015Z","created_by":"cli","revoked_by":"staff","previous_key_until":"2026-03-01T12:00:00.0015Z"}`},
	} {
		text, err := json.Marshal(c.token)
		require.NoError(t, err)
		require.JSONEq(t, c.want, string(text))
		var got tokenauth.Token
		require.NoError(t, json.Unmarshal(text, &got))
		if c.token.Scopes == nil {
			require.Empty(t, got.Scopes)
			got.Scopes = nil
		}
		require.Equal(t, c.token, got)
		embedded, err := json.Marshal(struct {
			tokenauth.Token
			Key string `json:"key"`
		}{c.token, "k"})
		require.NoError(t, err)
		require.Contains(t, string(embedded), `"key":"k"`, "the JSON form of a struct that embeds a Token must contain the other fields of the struct")
	}
}

// A client sends a cursor back unchanged. UnmarshalText must refuse text that is not a cursor.
// Otherwise the client would get the first page of the list again.
func TestCursorTextRoundTrips(t *testing.T) {
	t.Parallel()
	for _, c := range []tokenauth.Cursor{{}, {CreatedAt: fixture.Start, ID: "ABC"}, {ID: "A"}, {CreatedAt: fixture.Start.Add(time.Microsecond), ID: "a-_9"}} {
		text, err := c.MarshalText()
		require.NoError(t, err)
		require.Regexp(t, "^[0-9A-Za-z_-]*$", string(text))
		var got tokenauth.Cursor
		require.NoError(t, got.UnmarshalText(text))
		require.Equal(t, c, got)
	}
	for _, text := range []string{"x", "%", "MTIz", "MTIzLg", "LkFCQw", "MTIzLkEgQg", "OTk5OTk5OTk5OTk5OTk5OTk5LkE", "MTIzLkFCQw==", "KzUuQQ", "MDA1LkE", "LTAuQQ", "MTIzLkFCQw\n"} {
		c := tokenauth.Cursor{ID: "kept?"}
		err := c.UnmarshalText([]byte(text))
		require.ErrorIs(t, err, tokenauth.ErrInvalidSpec, text)
		require.Zero(t, c, text)
	}
}

func FuzzCursor(f *testing.F) {
	f.Add("MTc3MjM2NjQwMDAwMDAwMC5BQkM")
	f.Fuzz(func(t *testing.T, text string) {
		var c tokenauth.Cursor
		if c.UnmarshalText([]byte(text)) != nil {
			return
		}
		again, err := c.MarshalText()
		require.NoError(t, err)
		var got tokenauth.Cursor
		require.NoError(t, got.UnmarshalText(again))
		require.Equal(t, c, got)
	})
}
