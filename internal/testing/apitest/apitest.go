// Package apitest sends requests to the handlers of packages tokenapi and tokenlogin. It checks
// each request and each response against the OpenAPI document.
package apitest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
)

// ErrInternal is an error that the service's own functions return. Send fails the test if a
// response contains the text of ErrInternal.
var ErrInternal = errors.New("dial tcp 10.0.0.7: internal detail")

// SignedIn returns the user ID in the request header X-User. If that user ID is "broken", SignedIn
// returns ErrInternal.
func SignedIn(r *http.Request) (string, error) {
	id := r.Header.Get("X-User")
	if id == "broken" {
		return "", ErrInternal
	}
	return id, nil
}

// A Header is the name and the value of a header field.
type Header [2]string

// As returns the header X-User with the value user. SignedIn then reports that user as signed in.
func As(user string) Header { return Header{"X-User", user} }

// With returns the header Authorization with the given key.
func With(key string) Header { return Header{"Authorization", "Bearer " + key} }

// NewRequest returns a request with the given body. Its Content-Type is application/json, unless
// headers contains another Content-Type.
func NewRequest(method, target, body string, headers ...Header) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for _, h := range headers {
		r.Header.Set(h[0], h[1])
	}
	return r
}

// Send creates a request with NewRequest and passes it to Do.
func Send(t testing.TB, h http.Handler, method, target, body string, headers ...Header) *httptest.ResponseRecorder {
	t.Helper()
	return Do(t, h, NewRequest(method, target, body, headers...))
}

// Do lets h handle r, and returns the response. It checks the headers that every response must
// have, and checks the request and the response against the OpenAPI document. It also passes the
// response to the search for leaked keys. Case A11.
func Do(t testing.TB, h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	var sent bytes.Buffer // the part of the body that h reads
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.TeeReader(r.Body, &sent), r.Body}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	require.Equal(t, []string{"no-store"}, w.Header()["Cache-Control"])
	require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
	require.Contains(t, w.Header()["Vary"], "Cookie")
	switch {
	case w.Code == http.StatusNoContent:
		require.Empty(t, w.Header().Get("Content-Type"))
		require.Empty(t, w.Body.String())
	case w.Code < 400:
		require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	default:
		require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
	}
	requireDocumented(t, r, sent.Bytes(), w)
	text := w.Body.String()
	if key := KeyIn(w); key != "" {
		leak.Default.Secret(key)
		for _, member := range []string{"key", "token"} { // the two JSON members that may contain the key
			text = strings.Replace(text, fmt.Sprintf("%q:%q", member, key), "", 1)
		}
	}
	require.NotContains(t, text, "internal detail")
	_, _ = fmt.Fprint(&leak.Default, w.Header(), text)
	return w
}

// KeyIn returns the JSON member "key" of a response, or "" if the response has no such member.
func KeyIn(w *httptest.ResponseRecorder) string {
	var v struct{ Key string }
	_ = json.Unmarshal(w.Body.Bytes(), &v) // Unmarshal fails if the response has no JSON body
	return v.Key
}

// A Token holds the JSON form of a token. Key is empty if the response contains no key.
type Token struct {
	ID         string
	UserID     string `json:"user_id"`
	Name       string
	Scopes     []string
	Resources  []string // nil if the token is not restricted
	Generation int
	CreatedAt  string  `json:"created_at"`
	ExpiresAt  *string `json:"expires_at"`
	LastUsedAt *string `json:"last_used_at"`
	RevokedAt  *string `json:"revoked_at"`
	CreatedBy  string  `json:"created_by"`
	RevokedBy  string  `json:"revoked_by"`
	Key        string

	PreviousKeyUntil *string `json:"previous_key_until"`
}

// Decode decodes the JSON body of a response into a value of type T.
func Decode[T any](t testing.TB, w *httptest.ResponseRecorder) T {
	t.Helper()
	var v T
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &v), w.Body)
	return v
}

// Field returns the JSON member or the query parameter that the first error of a problem response
// names. It returns "" if the response names none.
func Field(t testing.TB, w *httptest.ResponseRecorder) string {
	t.Helper()
	v := Decode[struct {
		Errors []struct{ Pointer, Parameter string }
	}](t, w)
	if len(v.Errors) == 0 {
		return ""
	}
	return v.Errors[0].Pointer + v.Errors[0].Parameter
}
