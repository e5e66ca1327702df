package tokenapi_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/apitest"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenapi"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

func TestMain(m *testing.M) { leak.Main(m) }

// Short names for identifiers of package apitest.
type (
	header = apitest.Header
	token  = apitest.Token
)

var (
	errInternal = apitest.ErrInternal
	newAuth     = apitest.NewAuth
	signedIn    = apitest.SignedIn
	as          = apitest.As
	with        = apitest.With
	send        = apitest.Send
	keyIn       = apitest.KeyIn
	field       = apitest.Field
)

func decode[T any](t testing.TB, w *httptest.ResponseRecorder) T {
	t.Helper()
	return apitest.Decode[T](t, w)
}

// A service serves the handler of New at /api and the handler of NewStaff at /staff. A request
// header names the signed-in user.
type service struct {
	*tokenauthtest.Kit
	auth   *tokenauth.Authenticator[string]
	mux    *http.ServeMux
	logged []error // errors that OnError received
}

const (
	manageScope = "tokens:manage"
	selfScope   = "tokens:self"
)

// projects is the function for Options.Resources. Every user has the projects p1 to p3.
func projects(context.Context, string) ([]tokenauth.Resource, error) {
	return []tokenauth.Resource{{ID: "p1"}, {ID: "p2"}, {ID: "p3"}}, nil
}

// newService returns a service. If opts has a ManageScope, tokens with this scope can manage
// tokens. If opts has a SelfScope, tokens with this scope can rotate themselves.
func newService(t testing.TB, managerOpts *tokenauth.Options, opts tokenapi.Options) *service {
	t.Helper()
	s := &service{Kit: tokenauthtest.New(t, managerOpts), mux: http.NewServeMux()}
	s.auth = newAuth(s.Manager, nil)
	opts.OnError = func(_ *http.Request, err error) { s.logged = append(s.logged, err) }
	s.mux.Handle("/api/", http.StripPrefix("/api", must.Get(tokenapi.New(s.auth, signedIn, &opts))))
	opts.ManageScope, opts.SelfScope = "", ""
	staff := must.Get(tokenapi.NewStaff(s.auth, func(r *http.Request) (bool, error) {
		id, err := signedIn(r)
		return id == "root", err
	}, &opts))
	s.mux.Handle("/staff/", http.StripPrefix("/staff", staff))
	return s
}

// issue issues a token by a direct call of the Manager.
func (s *service) issue(t testing.TB, spec tokenauth.Spec) (string, tokenauth.Token) {
	t.Helper()
	key, token, err := s.Manager.Issue(context.Background(), spec)
	require.NoError(t, err)
	leak.Default.Secret(key.Reveal())
	return key.Reveal(), token
}

// works reports whether the Manager accepts a key.
func (s *service) works(key string) bool {
	_, err := s.Manager.Authenticate(context.Background(), key)
	return err == nil
}

// all returns the tokens of all users, also revoked ones.
func (s *service) all(t testing.TB) []tokenauth.Token {
	t.Helper()
	all, err := s.Manager.List(context.Background(), tokenauth.Query{AllUsers: true, IncludeRevoked: true})
	require.NoError(t, err)
	return all
}

// get reads a token from the store.
func (s *service) get(t testing.TB, token tokenauth.Token) tokenauth.Token {
	t.Helper()
	now, err := s.Manager.Get(context.Background(), token.UserID, token.ID)
	require.NoError(t, err)
	return now
}
