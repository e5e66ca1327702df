package frameworks_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.ReleaseMode)
	// gin took os.Stderr before package leak captures it.
	gin.DefaultWriter, gin.DefaultErrorWriter = &leak.Default, &leak.Default
	leak.Main(m)
}

// User is the service's own type of users.
type User struct{ Name string }

// An app is a service of which only the framework is missing.
type app struct {
	kit     *tokenauthtest.Kit
	auth    *tokenauth.Authenticator[*User]
	lookups atomic.Int64 // of users
	calls   atomic.Int64 // of handlers
	streams bool         // whether an RPC service answers by streams
}

func newApp(t *testing.T) *app { return newAppWith(t, "orders:write") }

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

// greet is what all handlers do. It counts before it looks at a user, who is nil where a handler
// runs that must not.
func (a *app) greet(user *User, token tokenauth.Token) string {
	a.calls.Add(1)
	return user.Name + " by " + token.Name
}

// bearer returns the Authorization of a new token of Ada.
func (a *app) bearer(t *testing.T, name string, scopes ...string) string {
	t.Helper()
	key, _, err := a.kit.Manager.Issue(t.Context(), tokenauth.Spec{UserID: "42", Name: name, Scopes: scopes})
	require.NoError(t, err)
	leak.Default.Secret(key.Reveal())
	return "Bearer " + key.Reveal()
}

// crash is a handler with a bug.
func crash(http.ResponseWriter, *http.Request) { panic("crash") }
