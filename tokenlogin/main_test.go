package tokenlogin_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/apitest"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
	"github.com/go-tokenauth/tokenauth/tokenlogin"
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
	send        = apitest.Send
	keyIn       = apitest.KeyIn
	field       = apitest.Field
)

func decode[T any](t testing.TB, w *httptest.ResponseRecorder) T {
	t.Helper()
	return apitest.Decode[T](t, w)
}

// A check is the function that New calls to verify a password.
type check = func(ctx context.Context, username, password string) (userID, stamp string, err error)

// newLogin returns a login endpoint that issues tokens of m.
func newLogin(m *tokenauth.Manager, c check, opts *tokenlogin.Options) http.Handler {
	return must.Get(tokenlogin.New(newAuth(m, nil), c, opts))
}

// A loginService serves the login endpoint at /api/login. Its users are ada, bob, oscar and all
// usernames that begin with "user". Their password is "right". The user oscar may not sign in.
type loginService struct {
	*tokenauthtest.Kit
	mux    *http.ServeMux
	login  http.Handler
	checks atomic.Int64  // number of passwords that were checked
	slow   time.Duration // duration of hashing a password
	check  func() error  // runs at the beginning of each check
}

func newLoginService(t testing.TB, managerOpts *tokenauth.Options, opts *tokenlogin.Options) *loginService {
	t.Helper()
	s := &loginService{Kit: tokenauthtest.New(t, managerOpts), mux: http.NewServeMux(), check: func() error { return nil }}
	s.login = newLogin(s.Manager, func(_ context.Context, username, password string) (userID, stamp string, err error) {
		s.checks.Add(1)
		if err := s.check(); err != nil {
			return "", "", err
		}
		switch username {
		case "oscar":
			return "", "", tokenauth.ErrNoUser
		case "ada", "bob":
		default:
			if !strings.HasPrefix(username, "user") {
				return "", "", nil // an unknown user is refused without hashing the password
			}
		}
		time.Sleep(s.slow)
		if password != "right" {
			return "", "", nil
		}
		return username + "'s ID", "stamp", nil
	}, opts)
	s.mux.Handle("/api/login", s.login)
	return s
}

// home and elsewhere are the addresses of two clients.
const home, elsewhere = "192.0.2.1:1234", "198.51.100.7:1234"

// post sends a login request from an address and returns the response.
func (s *loginService) post(t testing.TB, address, username, password string, headers ...header) *httptest.ResponseRecorder {
	t.Helper()
	return apitest.Do(t, s.mux, loginRequest(address, username, password, headers...))
}

// bubble runs f in a synctest bubble, whose clock advances only while all goroutines are blocked.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Parallel()
	synctest.Test(t, f)
}

func loginRequest(address, username, password string, headers ...header) *http.Request {
	r := apitest.NewRequest("POST", "/api/login", fmt.Sprintf(`{"username":%q,"password":%q}`, username, password), headers...)
	r.RemoteAddr = address
	return r
}
