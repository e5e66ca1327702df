package tokenapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/leaktest"
	"github.com/go-tokenauth/tokenauth/tokenapi"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// errInternal is what no client may see.
var errInternal = errors.New("dial tcp 10.0.0.7: internal detail")

// A service has the API of users under /api, and that of staff under /staff, both
// behind an Authenticator. Who is signed in stands in a header.
type service struct {
	*tokenauthtest.Kit
	mux  *http.ServeMux
	told []error // by OnError
}

const manageScope = "tokens:manage"

// newService returns a service where tokens manage tokens if opts say so.
func newService(t testing.TB, managerOpts *tokenauth.Options, opts tokenapi.Options) *service {
	t.Helper()
	s := &service{Kit: tokenauthtest.New(t, managerOpts), mux: http.NewServeMux()}
	opts.OnError = func(_ *http.Request, err error) { s.told = append(s.told, err) }
	auth := tokenauth.NewAuthenticator(s.Manager, func(_ context.Context, id string) (string, error) { return id, nil }, nil)
	api := tokenapi.New(s.Manager, signedIn, &opts)
	s.mux.Handle("/api/", http.StripPrefix("/api", auth.Optional(api)))
	opts.ManageScope = ""
	staff := tokenapi.NewStaff(s.Manager, func(r *http.Request) (bool, error) {
		id, err := signedIn(r)
		return id == "root", err
	}, &opts)
	s.mux.Handle("/staff/", http.StripPrefix("/staff", auth.Optional(staff)))
	return s
}

func signedIn(r *http.Request) (string, error) {
	id := r.Header.Get("X-User")
	if id == "broken" {
		return "", errInternal
	}
	return id, nil
}

// A header is a line that is added to a request.
type header struct{ name, value string }

func as(user string) header { return header{"X-User", user} }

func with(key string) header { return header{"Authorization", "Bearer " + key} }

// send sends a request, with a body of JSON unless a header says otherwise, checks
// what must hold for every response, and has it searched for keys.
func send(t testing.TB, h http.Handler, method, target, body string, headers ...header) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for _, line := range headers {
		r.Header.Set(line.name, line.value)
	}
	return sendRequest(t, h, r)
}

func sendRequest(t testing.TB, h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	var body bytes.Buffer // what is read of it
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.TeeReader(r.Body, &body), r.Body}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	require.Equal(t, []string{"no-store"}, w.Header()["Cache-Control"], "A11")
	require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"), "A11")
	require.Contains(t, w.Header()["Vary"], "Cookie", "A11")
	switch {
	case w.Code == http.StatusNoContent:
		require.Empty(t, w.Header().Get("Content-Type"), "A11")
		require.Empty(t, w.Body.String())
	case w.Code < 400:
		require.Equal(t, "application/json", w.Header().Get("Content-Type"), "A11")
	default:
		require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"), "A11")
	}
	requireDocumented(t, r, body.Bytes(), w)
	text := w.Body.String()
	if key := keyIn(w); key != "" {
		leaktest.Default.Secret(key)
		text = strings.Replace(text, key, "", 1) // this once it is meant to be there
	}
	require.NotContains(t, text, "internal detail")
	_, _ = fmt.Fprint(&leaktest.Default, w.Header(), text)
	return w
}

// keyIn returns the key in an answer, under either of its names.
func keyIn(w *httptest.ResponseRecorder) string {
	var v struct{ Key, Token string }
	_ = json.Unmarshal(w.Body.Bytes(), &v) // not all answers are objects
	return v.Key + v.Token
}

// A token is one as clients see it.
type token struct {
	ID         string
	UserID     string `json:"user_id"`
	Name       string
	Scopes     []string
	Hint       string
	Generation int
	CreatedAt  string  `json:"created_at"`
	ExpiresAt  *string `json:"expires_at"`
	RevokedAt  *string `json:"revoked_at"`
	Key        string
	Expiry     *string
}

func decode[T any](t testing.TB, w *httptest.ResponseRecorder) T {
	t.Helper()
	var v T
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &v), w.Body)
	return v
}

// field returns which member or parameter a problem names.
func field(t testing.TB, w *httptest.ResponseRecorder) string {
	t.Helper()
	v := decode[struct {
		Errors []struct{ Pointer, Parameter string }
	}](t, w)
	if len(v.Errors) == 0 {
		return ""
	}
	return v.Errors[0].Pointer + v.Errors[0].Parameter
}

// issue makes a token without the API.
func (s *service) issue(t testing.TB, spec tokenauth.Spec) (string, tokenauth.Token) {
	t.Helper()
	key, token, err := s.Manager.Issue(context.Background(), spec)
	require.NoError(t, err)
	leaktest.Default.Secret(key.Reveal())
	return key.Reveal(), token
}

// works reports whether a key is accepted.
func (s *service) works(key string) bool {
	_, err := s.Manager.Authenticate(context.Background(), key)
	return err == nil
}
