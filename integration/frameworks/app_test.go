package frameworks_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.ReleaseMode)
	// gin copies os.Stderr when it is initialized, before package leak replaces it. Therefore this
	// function sets its writers.
	gin.DefaultWriter, gin.DefaultErrorWriter = &leak.Default, &leak.Default
	// The first response of fasthttp starts a goroutine that never ends. It starts here, before
	// package leak counts the goroutines.
	_ = new(fasthttp.ResponseHeader).Header()
	leak.Main(m)
}

// User is the type that the service uses for its users.
type User struct{ Name string }

// An app is a service without its router.
type app struct {
	kit     *tokenauthtest.Kit
	auth    *tokenauth.Authenticator[*User]
	lookups atomic.Int64 // number of user lookups
	calls   atomic.Int64 // number of handler calls
	streams bool         // whether the RPC methods respond with streams
}

func newApp(t *testing.T) *app { return newAppWith(t, "orders:write", "orders:delete") }

// newAppWith returns an app that has only the given scopes.
func newAppWith(t *testing.T, scopes ...string) *app {
	t.Helper()
	a := &app{kit: tokenauthtest.New(t, &tokenauth.Options{Scopes: scopes})}
	a.auth = must.Get(tokenauth.NewAuthenticator(a.kit.Manager, a.findUser, nil))
	return a
}

func (a *app) findUser(_ context.Context, id string) (*User, error) {
	a.lookups.Add(1)
	if id != "42" {
		return nil, tokenauth.ErrNoUser
	}
	return &User{"Ada"}, nil
}

// greet returns the response of all handlers. If a handler runs for a refused request, user is nil.
// Therefore greet counts the call before it uses the user.
func (a *app) greet(user *User, token tokenauth.Token) string {
	a.calls.Add(1)
	return user.Name + " by " + token.Name
}

// bearer issues a token of Ada, and returns the value of the header Authorization.
func (a *app) bearer(t *testing.T, name string, scopes ...string) string {
	t.Helper()
	key, _, err := a.kit.Manager.Issue(t.Context(), tokenauth.Spec{UserID: "42", Name: name, Scopes: scopes})
	require.NoError(t, err)
	leak.Default.Secret(key.Reveal())
	return "Bearer " + key.Reveal()
}

// crash is a handler that panics.
func crash(http.ResponseWriter, *http.Request) { panic("crash") }
