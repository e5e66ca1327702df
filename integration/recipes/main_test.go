package recipes

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/integration/servers"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// TestMain listens to signals once, because package os/signal then starts a goroutine that never
// ends. The goroutine must not be part of a synctest bubble.
func TestMain(m *testing.M) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt)
	signal.Stop(signals)
	leak.Main(servers.Main{Tests: m})
}

func ignore(context.Context, tokenauth.Event) {}

// newKit returns a Kit whose Manager calls onEvent, and an Authenticator.
func newKit(t *testing.T, onEvent func(context.Context, tokenauth.Event)) (*tokenauthtest.Kit, *tokenauth.Authenticator[string]) {
	t.Helper()
	kit := tokenauthtest.New(t, &tokenauth.Options{OnEvent: onEvent})
	findUser := func(_ context.Context, id string) (string, error) { return "user " + id, nil }
	auth, err := tokenauth.NewAuthenticator(kit.Manager, findUser, nil)
	require.NoError(t, err)
	return kit, auth
}

// issue issues a token and returns its key and its ID.
func issue(t *testing.T, kit *tokenauthtest.Kit, scopes ...string) (key, id string) {
	t.Helper()
	k, token, err := kit.Manager.Issue(t.Context(), tokenauth.Spec{UserID: "42", Name: rand.Text(), Scopes: scopes})
	require.NoError(t, err)
	leak.Default.Secret(k.Reveal())
	return k.Reveal(), token.ID
}

// send sends a request. The text request is a method, a path and, optionally, a key.
func send(handler http.Handler, request string) *httptest.ResponseRecorder {
	fields := strings.Fields(request)
	r := httptest.NewRequest(fields[0], fields[1], nil)
	if len(fields) > 2 {
		r.Header.Set("Authorization", "Bearer "+fields[2])
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w
}
