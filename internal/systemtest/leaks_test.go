package systemtest_test

import (
	runtimedebug "runtime/debug"

	"bytes"
	"context"
	"errors"
	"expvar"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/keyform"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
	"github.com/go-tokenauth/tokenauth/storecache"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// No log line and no response may contain a key or a digest. The test causes every kind of failure,
// and the handler logs the context, the user and the token. Cases X1, X2.
func TestNoRouteOrFaultLeaksKeys(t *testing.T) {
	if testing.Short() {
		t.Skip("causes hundreds of failures")
	}
	t.Parallel()
	var out leak.Search
	broken := errors.New("broken")
	var store, user, handler func() error
	none := func() error { return nil }
	fails := func() error { return broken }
	panics := func() error { panic("broken") }
	tells := func() error { // prints all goroutines with their profiler labels, and all expvar variables
		expvar.Do(func(v expvar.KeyValue) { _, _ = fmt.Fprint(&out, v.Key, v.Value) })
		return pprof.Lookup("goroutine").WriteTo(&out, 1)
	}

	text := slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})
	faulty := fixture.NewStore()
	m := fixture.NewManager(faulty, &tokenauth.Options{OnEvent: tokenauth.LogEvents(slog.New(text))})
	key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop", Scopes: []string{"a"}})
	revoked, other := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "phone"})
	require.NoError(t, m.Revoke(ctx, "u", other.ID))
	presented := []string{key, revoked, fixture.Swapped(key)[20], keyform.Generate("acme"), key + ",x", key + "\x7f", key + " " + key}
	for _, k := range presented {
		out.Secret(k)
	}
	faulty.Intercept(func(_ context.Context, method string, next func() error) error {
		if method == "Find" {
			if err := store(); err != nil {
				return err
			}
		}
		return next()
	})
	find := func(_ context.Context, id string) (*tokenauth.Token, error) {
		return &tokenauth.Token{UserID: id}, user()
	}
	auth := must.Get(tokenauth.NewAuthenticator(m, find, &tokenauth.AuthenticatorOptions{KeyHeader: "X-API-Key"}))
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, _ := auth.User(r.Context())
		got, _ := auth.Token(r.Context())
		_, _ = fmt.Fprintf(&out, "%+v %+v %+v %#v", r.Context(), u, got, got)
		if err := handler(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	statuses := map[int]bool{}
	for _, faults := range [][3]func() error{
		{none, none, tells}, {fails, none, none}, {panics, none, none}, {none, fails, none}, {none, panics, none}, {none, none, fails}, {none, none, panics},
	} {
		store, user, handler = faults[0], faults[1], faults[2]
		for _, protected := range []http.Handler{auth.Require(h), auth.Optional(h), auth.RequireScopes("a")(h), auth.RequireScopes("b")(h)} {
			for _, k := range presented {
				for _, header := range []http.Header{{"Authorization": {"Bearer " + k}}, {"Authorization": {k}}, {"X-Api-Key": {k}}} {
					r := httptest.NewRequest(http.MethodGet, "/", nil)
					r.Header = header
					w := fixture.Serve(recovering(protected, &out), r)
					statuses[w.Code] = true
					_, _ = fmt.Fprint(&out, w.Header(), w.Body)
				}
			}
		}
	}
	require.Equal(t, map[int]bool{200: true, 400: true, 401: true, 403: true, 500: true, 503: true}, statuses, "the test must cause every status")
	require.Empty(t, out.Leaks())
	_, _ = fmt.Fprint(&out, "token ", token.ID, " key ", key)
	require.NotEmpty(t, out.Leaks(), "the leak search must find a key that was printed")
}

// recovering returns a handler that calls next. If next panics, the handler logs the panic value
// with a stack trace, as many services do.
func recovering(next http.Handler, log io.Writer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				_, _ = fmt.Fprintf(log, "%v %+v\n%s", p, p, runtimedebug.Stack())
				w.WriteHeader(http.StatusInternalServerError)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// After a service has closed its stores and databases, no goroutine and no connection may remain.
// Case X3.
func TestNothingIsLeftAfterClose(t *testing.T) {
	before := leak.TakeStock()
	db := sqlite.New(t)
	sqlStore := sqlite.NewStore(t, db, nil)
	for _, store := range []tokenauth.Store{tokenauth.NewMemoryStore(), sqlStore, must.Get(storecache.New(sqlStore, nil))} {
		m := fixture.NewManager(store, &tokenauth.Options{TouchEvery: time.Millisecond})
		key, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: fmt.Sprintf("%T", store)})
		s := httptest.NewServer(must.Get(tokenauth.NewAuthenticator(m, fixture.AnyUser, nil)).Require(fixture.Whoami))
		client := &http.Client{Transport: &http.Transport{}}
		for range 10 {
			status, err := ask(client, s.URL, key)
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, status)
		}
		client.CloseIdleConnections()
		s.Close()
		require.NoError(t, m.Flush(ctx))
	}
	require.NoError(t, sqlStore.Close())
	require.NoError(t, db.Close())
	require.Empty(t, before.Left())
}

// Another program may write a name with line breaks or control characters to the token table. When
// LogEvents logs that name, the name must not forge a log line. Its control characters must not
// reach a terminal. Case X4.
func TestHostileTextForgesNoLogLine(t *testing.T) {
	t.Parallel()
	const hostile = "laptop\r\nlevel=ERROR msg=forged\n\x1b[2J\x1b]0;x\x07\x00\""
	for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"JSON": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			store := tokenauth.NewMemoryStore()
			key := keyform.Generate("acme")
			require.NoError(t, store.Create(ctx, tokenauth.Record{Digest: tokenauth.DigestOf(key), Token: tokenauth.Token{
				ID: "X" + hostile, UserID: "u" + hostile, Name: hostile, Generation: 1, CreatedAt: fixture.Start, RevokedAt: fixture.Start,
			}}))
			m := fixture.NewManager(store, &tokenauth.Options{OnEvent: tokenauth.LogEvents(slog.New(handler(&out)))})
			auth := must.Get(tokenauth.NewAuthenticator(m, fixture.AnyUser, nil))
			for _, lines := range [][]string{{"Bearer " + key}, {"Bearer " + hostile}, {hostile}} {
				r := httptest.NewRequest(http.MethodGet, "/", nil)
				r.Header = http.Header{"Authorization": lines, "User-Agent": {hostile}, "X-Request-Id": {hostile}}
				out.Reset()
				fixture.Serve(auth.Require(fixture.Forbidden(t)), r)
				logged := out.String()
				require.LessOrEqual(t, strings.Count(logged, "\n"), 1)
				require.NotRegexp(t, "[\x00-\x09\x0b-\x1f\x7f]", logged)
				require.Equal(t, lines[0] == "Bearer "+key, strings.Contains(logged, "forged"), "the log must contain the token's name only if the request has the token's key: %s", logged)
			}
		})
	}
}

// A handler that the middleware protects may log a request without its headers. This log must not
// contain the key. The stage "warnings" requires SECURITY.md to warn of the headers, which do.
// Case X6.
func TestLoggedRequestContainsNoKey(t *testing.T) {
	t.Parallel()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), nil)
	key, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	var out leak.Search
	out.Secret(key)
	served := false
	fixture.Serve(must.Get(tokenauth.NewAuthenticator(m, fixture.AnyUser, nil)).Require(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		served = true
		require.Equal(t, "Bearer "+key, r.Header.Get("Authorization"))
		r = r.Clone(r.Context())
		r.Header = nil
		for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
			_, _ = fmt.Fprintf(&out, format+format+format, r, *r, r.Context())
		}
	})), func() *http.Request {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", "Bearer "+key)
		return r
	}())
	require.True(t, served)
	require.Empty(t, out.Leaks())
}

// The Manager must send the same single query to the store for every well-formed key. Otherwise the
// response time would reveal whether a rejected key was ever valid. Case X9.
func TestEveryWrongKeyCausesOneQuery(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, inner tokenauth.Store) {
		clock := fixture.NewClock()
		store := tokenauthtest.NewStore(inner)
		m := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now})
		expired, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "expired", ExpiresAt: fixture.Start.Add(time.Minute)})
		revoked, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "revoked"})
		require.NoError(t, m.Revoke(ctx, "u", token.ID))
		replaced, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "replaced"})
		_, _, err := m.Rotate(ctx, "u", token.ID, time.Second)
		require.NoError(t, err)
		clock.Set(fixture.Start.Add(time.Minute))
		h := must.Get(tokenauth.NewAuthenticator(m, func(context.Context, string) (*fixture.User, error) {
			t.Error("a rejected key must not cause a user lookup")
			return nil, tokenauth.ErrNoUser
		}, nil)).Require(fixture.Forbidden(t))
		for name, c := range map[string]struct {
			key   string
			finds int
		}{
			"unknown": {keyform.Generate("acme"), 1}, "expired": {expired, 1}, "revoked": {revoked, 1}, "replaced": {replaced, 1},
			"unknown prefix": {keyform.Generate("other"), 0}, "wrong checksum": {fixture.Swapped(revoked)[20], 0},
		} {
			store.ResetCalls()
			require.Equal(t, 401, fixture.Get(h, "Bearer "+c.key).Code, name)
			require.Equal(t, c.finds, store.Count("Find"), name)
			require.Zero(t, store.Count("List"), name)
		}
	})
}
