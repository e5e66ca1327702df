package frameworks_test

import (
	"context"
	"net/http"
	"os"
	"strings"
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

// greet is what all handlers do. It counts before it looks at a user, who is
// nil where a handler runs that must not.
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

// Whoever copies code from docs/frameworks.md gets what is tested here: its blocks
// are the snippets of these files, between "// docs: <name>" and "// docs: end".
func TestDocsShowTheTestedCode(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/frameworks.md")
	require.NoError(t, err)
	files, err := os.ReadDir(".")
	require.NoError(t, err)
	count := 0
	for _, f := range files {
		source, err := os.ReadFile(f.Name())
		require.NoError(t, err)
		for name, code := range snippets(t, string(source)) {
			count++
			require.True(t, strings.Contains(string(page), "\n```go\n"+code+"\n```\n"),
				"docs/frameworks.md does not show %q as it is in %s:\n%s", name, f.Name(), code)
		}
	}
	require.Equal(t, count, strings.Count(string(page), "\n```go\n"), "code in docs/frameworks.md that is not tested here")
}

// snippets returns what stands between the markers, without its indentation.
func snippets(t *testing.T, source string) map[string]string {
	t.Helper()
	found := map[string]string{}
	name, indent := "", ""
	for line := range strings.Lines(source) {
		text := strings.TrimLeft(line, "\t")
		mark, marked := strings.CutPrefix(strings.TrimSpace(text), "// docs: ")
		switch {
		case marked && mark == "end":
			require.NotEmpty(t, name, "an end without a beginning")
			found[name] = strings.Trim(found[name], "\n")
			name = ""
		case marked:
			require.Empty(t, name, "a snippet in a snippet: %s", mark)
			require.NotContains(t, found, mark)
			name, indent = mark, strings.TrimSuffix(line, text)
		case name != "":
			found[name] += strings.TrimPrefix(line, indent)
		}
	}
	require.Empty(t, name, "a snippet without end")
	return found
}
