package tokenauth_test

import (
	"bytes"
	"context"
	"errors"
	"expvar"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	runtimedebug "runtime/debug"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/keyform"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
	"github.com/go-tokenauth/tokenauth/storecache"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// No log line and no response may contain a key or a digest. The test causes every kind of failure,
// and the handler logs the context, the user and the token. Cases X1, X2.
func TestX1EveryRouteAndFault(t *testing.T) {
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

	text := slog.NewTextHandler(&out, debug)
	faulty := newStore()
	m := newManager(faulty, &tokenauth.Options{OnEvent: tokenauth.LogEvents(slog.New(text))})
	key, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop", Scopes: []string{"a"}})
	revoked, other := issue(t, m, tokenauth.Spec{UserID: "u", Name: "phone"})
	require.NoError(t, m.Revoke(ctx, "u", other.ID))
	presented := []string{key, revoked, swapped(key)[20], tokenauth.GenerateKey("acme"), key + ",x", key + "\x7f", key + " " + key}
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
					w := serve(recovering(protected, &out), r)
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
func TestX3NothingIsLeftAfterClose(t *testing.T) {
	before := leak.TakeStock()
	db := sqlite.New(t)
	sqlStore := sqlite.NewStore(t, db, nil)
	for _, store := range []tokenauth.Store{tokenauth.NewMemoryStore(), sqlStore, must.Get(storecache.New(sqlStore, nil))} {
		m := newManager(store, &tokenauth.Options{TouchEvery: time.Millisecond})
		key, _ := issue(t, m, tokenauth.Spec{UserID: "u", Name: fmt.Sprintf("%T", store)})
		s := httptest.NewServer(must.Get(tokenauth.NewAuthenticator(m, anyUser, nil)).Require(whoami))
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
func TestX4HostileTextInLogs(t *testing.T) {
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
			key := tokenauth.GenerateKey("acme")
			require.NoError(t, store.Create(ctx, tokenauth.Record{Digest: tokenauth.DigestOf(key), Token: tokenauth.Token{
				ID: "X" + hostile, UserID: "u" + hostile, Name: hostile, Generation: 1, CreatedAt: start, RevokedAt: start,
			}}))
			m := newManager(store, &tokenauth.Options{OnEvent: tokenauth.LogEvents(slog.New(handler(&out)))})
			auth := must.Get(tokenauth.NewAuthenticator(m, anyUser, nil))
			for _, lines := range [][]string{{"Bearer " + key}, {"Bearer " + hostile}, {hostile}} {
				r := httptest.NewRequest(http.MethodGet, "/", nil)
				r.Header = http.Header{"Authorization": lines, "User-Agent": {hostile}, "X-Request-Id": {hostile}}
				out.Reset()
				serve(auth.Require(forbidden(t)), r)
				logged := out.String()
				require.LessOrEqual(t, strings.Count(logged, "\n"), 1)
				require.NotRegexp(t, "[\x00-\x09\x0b-\x1f\x7f]", logged)
				require.Equal(t, lines[0] == "Bearer "+key, strings.Contains(logged, "forged"), "the log must contain the token's name only if the request has the token's key: %s", logged)
			}
		})
	}
}

// A handler that the middleware protects may log a request without its headers. This log must not
// contain the key. SECURITY.md must state that the headers of the request still contain the key.
// Case X6.
func TestX6RequestBehindTheMiddleware(t *testing.T) {
	t.Parallel()
	m := newManager(tokenauth.NewMemoryStore(), nil)
	key, _ := issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	var out leak.Search
	out.Secret(key)
	served := false
	serve(must.Get(tokenauth.NewAuthenticator(m, anyUser, nil)).Require(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
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
	policy, err := os.ReadFile("SECURITY.md")
	require.NoError(t, err)
	require.Contains(t, string(policy), "Not logging `Authorization` headers, nor whole requests")
}

// The Manager must send the same single query to the store for every well-formed key. Otherwise the
// response time would reveal whether a rejected key was ever valid. Case X9.
func TestX9SameQuestionsForEveryWrongKey(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, inner tokenauth.Store) {
		clock := newClock()
		store := tokenauthtest.NewStore(inner)
		m := newManager(store, &tokenauth.Options{Now: clock.Now})
		expired, _ := issue(t, m, tokenauth.Spec{UserID: "u", Name: "expired", ExpiresAt: start.Add(time.Minute)})
		revoked, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: "revoked"})
		require.NoError(t, m.Revoke(ctx, "u", token.ID))
		replaced, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: "replaced"})
		_, _, err := m.Rotate(ctx, "u", token.ID, time.Second)
		require.NoError(t, err)
		clock.Set(start.Add(time.Minute))
		h := must.Get(tokenauth.NewAuthenticator(m, func(context.Context, string) (*user, error) {
			t.Error("a rejected key must not cause a user lookup")
			return nil, tokenauth.ErrNoUser
		}, nil)).Require(forbidden(t))
		for name, c := range map[string]struct {
			key   string
			finds int
		}{
			"unknown": {tokenauth.GenerateKey("acme"), 1}, "expired": {expired, 1}, "revoked": {revoked, 1}, "replaced": {replaced, 1},
			"unknown prefix": {tokenauth.GenerateKey("other"), 0}, "wrong checksum": {swapped(revoked)[20], 0},
		} {
			store.ResetCalls()
			require.Equal(t, 401, get(h, "Bearer "+c.key).Code, name)
			require.Equal(t, c.finds, store.Count("Find"), name)
			require.Zero(t, store.Count("List"), name)
		}
	})
}

// providers matches API keys of well-known services, such as GitHub and AWS, as secret scanners do.
var providers = regexp.MustCompile(strings.Join([]string{
	`gh[opsur]_[0-9A-Za-z]{36}`, `github_pat_[0-9A-Za-z_]{22}`, `glpat-[0-9A-Za-z_-]{20}`, `A(KIA|SIA)[0-9A-Z]{16}`, `AIza[0-9A-Za-z_-]{35}`,
	`[rs]k_(live|test)_[0-9A-Za-z]{10}`, `xox[abeoprs]-[0-9A-Za-z-]{10}`, `npm_[0-9A-Za-z]{36}`, `pypi-[0-9A-Za-z_-]{16}`, `dop_v1_[0-9a-f]{64}`,
	`SG\.[0-9A-Za-z_-]{22}\.`, `hf_[A-Za-z]{34}`, `sk-[0-9A-Za-z_-]{20}`, `eyJ[0-9A-Za-z_-]{10,}\.eyJ`,
}, "|"))

const wordCharacters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-."

var (
	ownForm    = regexp.MustCompile(`[a-z][0-9a-z_]*_[0-9A-Za-z]{38}\b`)
	privateKey = regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----`)
)

// No file in this repository may contain a string that looks like a real key. Otherwise secret
// scanners would report this repository and every copy of its docs. Case X10.
func TestX10NoStringLooksLikeALiveKey(t *testing.T) {
	t.Parallel()
	suspicious := func(text string) (found []string) {
		for word := range strings.FieldsFuncSeq(text, func(c rune) bool { return !strings.ContainsRune(wordCharacters, c) }) {
			if len(word) < 14 {
				continue
			}
			if providers.MatchString(word) {
				found = append(found, word)
			}
			for _, own := range ownForm.FindAllString(word, -1) {
				prefix, ok := keyform.Prefix(own)
				if ok && prefix != "acme" && !strings.HasPrefix(prefix, "acme_") && !strings.HasPrefix(prefix, "tokenauthtest") {
					found = append(found, own)
				}
			}
		}
		return append(found, privateKey.FindAllString(text, -1)...)
	}
	files := 0
	require.NoError(t, fs.WalkDir(os.DirFS("."), ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != "." && path != ".ci":
			return fs.SkipDir // .git, or the module cache of a CI system
		case !d.Type().IsRegular() || path == "testdata/keys.json": // testdata/README.md explains the keys in keys.json
			return nil
		}
		text, err := os.ReadFile(path)
		files++
		require.Empty(t, suspicious(string(text)), path)
		return err
	}))
	require.Greater(t, files, 50)

	letters := strings.Repeat("aB3", 30)
	for _, planted := range []string{"ghp_" + letters[:36], "AKIA" + strings.Repeat("Z7", 8), "sk_live_" + letters[:24], "xoxb-" + letters[:24],
		"-----BEGIN " + "RSA PRIVATE KEY-----", tokenauth.GenerateKey("shop")} {
		require.Len(t, suspicious("key: "+planted+"\n"), 1, planted[:4])
	}
	require.Empty(t, suspicious(tokenauth.GenerateKey("acme")))
}
