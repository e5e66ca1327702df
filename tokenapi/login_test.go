package tokenapi_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/tokenapi"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// A loginService knows ada and bob, whose password is "right", and oscar, who may
// not sign in. Time is that of synctest's bubble: nothing waits.
type loginService struct {
	*tokenauthtest.Kit
	mux    *http.ServeMux
	login  http.Handler
	checks atomic.Int64
	slow   time.Duration // how long it takes to hash
	check  func() error
}

func newLoginService(t testing.TB, managerOpts *tokenauth.Options, opts *tokenapi.LoginOptions) *loginService {
	t.Helper()
	s := &loginService{Kit: tokenauthtest.New(t, managerOpts), mux: http.NewServeMux(), check: func() error { return nil }}
	s.login = tokenapi.NewLogin(s.Manager, func(_ context.Context, username, password string) (string, error) {
		s.checks.Add(1)
		if err := s.check(); err != nil {
			return "", err
		}
		switch username {
		case "oscar":
			return "", tokenauth.ErrNoUser
		case "ada", "bob":
		default:
			if !strings.HasPrefix(username, "user") {
				return "", nil // and without hashing anything
			}
		}
		time.Sleep(s.slow)
		if password != "right" {
			return "", nil
		}
		return username + "'s ID", nil
	}, opts)
	s.mux.Handle("/api/login", s.login)
	return s
}

// post logs in from an address.
func (s *loginService) post(t testing.TB, address, username, password string, headers ...header) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest("POST", "/api/login", strings.NewReader(fmt.Sprintf(`{"username":%q,"password":%q}`, username, password)))
	r.Header.Set("Content-Type", "application/json")
	r.RemoteAddr = address
	for _, line := range headers {
		r.Header.Set(line.name, line.value)
	}
	return sendRequest(t, s.mux, r)
}

// bubble runs f where time passes only when everybody waits for it.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Parallel()
	synctest.Test(t, f)
}

const home, elsewhere = "192.0.2.1:1234", "198.51.100.7:1234"

func TestLoginAnswersAsDRFAndKnoxDo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newLoginService(t, &tokenauth.Options{DefaultTTL: time.Hour}, nil)
		w := s.post(t, home, "ada", "right", header{"User-Agent", "curl/8.5.0"})
		require.Equal(t, http.StatusOK, w.Code, w.Body)
		got := decode[struct {
			token
			Token string
		}](t, w)
		require.Equal(t, "2026-03-01T13:00:00Z", *got.Expiry)
		require.Equal(t, *got.Expiry, *got.ExpiresAt)
		require.Equal(t, "curl/8.5.0", got.Name)
		made, err := s.Manager.Authenticate(context.Background(), got.Token)
		require.NoError(t, err)
		require.Equal(t, "ada's ID", made.UserID)
		require.Equal(t, got.ID, made.ID)
		require.NotContains(t, w.Body.String(), "ada", "the service's own ID of the user")
	})
}

// Whoever tries usernames learns nothing from an answer nor from its time, even
// where the service forgets to hash for a user who does not exist.
func TestL1_OneAnswerInOneTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newLoginService(t, nil, nil)
		s.slow = 100 * time.Millisecond
		var bodies []string
		for _, username := range []string{"ada", "nobody", "oscar"} {
			begin := time.Now()
			w := s.post(t, home, username, "wrong")
			require.Equal(t, 250*time.Millisecond, time.Since(begin), username)
			require.Equal(t, http.StatusBadRequest, w.Code)
			bodies = append(bodies, w.Body.String())
		}
		require.Equal(t, bodies[0], bodies[1])
		require.Equal(t, bodies[0], bodies[2])
		require.JSONEq(t, `{"title":"Bad Request","status":400,"detail":"Unable to log in with provided credentials.",
			"non_field_errors":["Unable to log in with provided credentials."]}`, bodies[0])
	})
}

func TestL8_HostileBodies(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newLoginService(t, nil, nil)
		form := header{"Content-Type", "application/x-www-form-urlencoded"}
		for _, c := range []struct {
			name, body string
			header     header
			status     int
			field      string
		}{
			{"10 MiB password", `{"username":"ada","password":"` + strings.Repeat("x", 10<<20) + `"}`, header{}, 413, ""},
			{"10 MiB form", "username=ada&password=" + strings.Repeat("x", 10<<20), form, 413, ""},
			{"NUL", `{"username":"ada","password":"right\u0000"}`, header{}, 400, "#/password"},
			{"NUL, form", "username=ada%00&password=right", form, 400, "#/username"},
			{"invalid UTF-8", "{\"username\":\"ada\",\"password\":\"right\xff\"}", header{}, 400, ""},
			{"invalid UTF-8, form", "username=ada&password=right%ff", form, 400, "#/password"},
			{"malformed form", "username=ada&password=%zz", form, 400, ""},
			{"semicolons", "username=ada;password=right", form, 400, ""},
			{"empty", `{}`, header{}, 400, "#/username"},
			{"empty form", "", form, 400, "#/username"},
			{"no password", `{"username":"ada"}`, header{}, 400, "#/password"},
			{"blank", `{"username":" ","password":"right"}`, header{}, 400, "#/username"},
			{"null", `{"username":"ada","password":null}`, header{}, 400, "#/password"},
			{"number", `{"username":"ada","password":1}`, header{}, 400, "#/password"},
			{"twice", `{"username":"ada","password":"wrong","password":"right"}`, header{}, 400, "#/password"},
			{"twice, form", "username=ada&password=wrong&password=right", form, 400, "#/password"},
			{"unknown", `{"username":"ada","password":"right","user_id":"eve"}`, header{}, 400, "#/user_id"},
			{"unknown, form", "username=ada&password=right&admin=1", form, 400, "#/admin"},
			{"bad expiry, form", "username=ada&password=right&expires_at=soon", form, 400, "#/expires_at"},
			{"invalid UTF-8 in scopes, form", "username=ada&password=right&scopes=%ff", form, 400, "#/scopes"},
			{"past expiry", `{"username":"ada","password":"right","expires_at":"2020-01-01T00:00:00Z"}`, header{}, 400, "#/expires_at"},
			{"bad name", `{"username":"ada","password":"right","name":"a\nb"}`, header{}, 400, "#/name"},
			{"text", "username=ada&password=right", header{"Content-Type", "text/plain"}, 415, ""},
			{"multipart", "", header{"Content-Type", "multipart/form-data; boundary=x"}, 415, ""},
		} {
			w := send(t, s.mux, "POST", "/api/login", c.body, append([]header{}, c.header)[:min(1, len(c.header.name))]...)
			require.Equal(t, c.status, w.Code, "%s: %.300s", c.name, w.Body)
			require.Equal(t, c.field, field(t, w), c.name)
			if c.header == form {
				require.NotContains(t, w.Body.String(), "null", "which no form can say")
			}
		}
		require.Equal(t, int64(2), s.checks.Load(), "only where username and password were there")
	})
}

func TestL9_EachLoginMakesANamedToken(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newLoginService(t, &tokenauth.Options{MaxPerUser: 4}, nil)
		agent := header{"User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
		var keys []string
		for _, want := range []string{"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101", "… (2)", "… (3)"} {
			w := s.post(t, home, "ada", "right", agent)
			require.Equal(t, http.StatusOK, w.Code, w.Body)
			require.Equal(t, strings.Replace(want, "…", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101", 1), decode[token](t, w).Name)
			keys = append(keys, keyIn(w))
		}
		w := send(t, s.mux, "POST", "/api/login", `{"username":"ada","password":"right","name":"phone","scopes":["b","a"],"expires_at":null}`)
		require.Equal(t, http.StatusOK, w.Code)
		require.Equal(t, []string{"a", "b"}, decode[token](t, w).Scopes)
		keys = append(keys, keyIn(w))

		w = send(t, s.mux, "POST", "/api/login", `{"username":"ada","password":"right","name":"phone"}`)
		require.Equal(t, http.StatusConflict, w.Code, "a given name gets no number")
		require.Equal(t, "#/name", field(t, w))
		w = s.post(t, home, "ada", "right", agent)
		require.Equal(t, http.StatusConflict, w.Code, "the limit")
		require.Empty(t, keyIn(w))
		for _, key := range keys {
			_, err := s.Manager.Authenticate(context.Background(), key)
			require.NoError(t, err, "no other token is touched")
		}
	})
}

func TestL9_DefaultNames(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newLoginService(t, nil, nil)
		for agent, want := range map[string]string{
			"app/1.2 (iPhone)":                "app/1.2 (iPhone)",
			"":                                "login",
			" \t ":                            "login (2)",
			"\u202eevil\u200b\x00\n":          "evil",
			"\xff\xfe":                        "login (3)",
			strings.Repeat("ä", 1000):         strings.Repeat("ä", 56),
			strings.Repeat("x ", 28) + "tail": strings.TrimSpace(strings.Repeat("x ", 28)),
		} {
			w := s.post(t, home, "ada", "right", header{"User-Agent", agent})
			require.Equal(t, http.StatusOK, w.Code, "%q", agent)
			got := decode[token](t, w).Name
			if strings.HasPrefix(want, "login") {
				want, got = "login", strings.Fields(got)[0]
			}
			require.Equal(t, want, got, "%q", agent)
		}
	})
}

// Logins of one device at once each get a number of their own.
func TestL9_SameNameAtOnce(t *testing.T) {
	t.Parallel()
	s := newLoginService(t, nil, nil)
	var all sync.WaitGroup
	want := []string{"app"}
	for i := range 12 {
		all.Go(func() { s.post(t, home, "ada", "right", header{"User-Agent", "app"}) })
		if i > 0 {
			want = append(want, fmt.Sprintf("app (%d)", i+1))
		}
	}
	all.Wait()
	tokens, err := s.Manager.List(context.Background(), tokenauth.Query{UserID: "ada's ID"})
	require.NoError(t, err)
	var names []string
	for _, made := range tokens {
		names = append(names, made.Name)
	}
	require.ElementsMatch(t, want, names)
}

func TestL10_PostAndBodyOnly(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newLoginService(t, nil, nil)
		const body = `{"username":"ada","password":"right"}`
		for _, method := range []string{"GET", "HEAD", "PUT", "OPTIONS"} {
			w := send(t, s.mux, method, "/api/login?username=ada&password=right", body)
			require.Equal(t, http.StatusMethodNotAllowed, w.Code)
			require.Equal(t, "POST", w.Header().Get("Allow"))
		}
		require.Equal(t, http.StatusBadRequest, send(t, s.mux, "POST", "/api/login?username=ada&password=right", "{}").Code)
		require.Equal(t, http.StatusBadRequest, send(t, s.mux, "POST", "/api/login?next=/", body).Code)
		for _, line := range []header{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://evil.test"}} {
			require.Equal(t, http.StatusForbidden, send(t, s.mux, "POST", "/api/login", body, line).Code)
		}
		require.Zero(t, s.checks.Load())
		require.Equal(t, http.StatusOK, send(t, s.mux, "POST", "/api/login", body).Code)
		w := send(t, s.mux, "POST", "/api/login", "username=+ada+&password=right&name=my+phone&scopes=b+a&expires_at=2026-04-01T00:00:00Z",
			header{"Content-Type", "application/x-www-form-urlencoded"})
		require.Equal(t, http.StatusOK, w.Code, w.Body)
		got := decode[token](t, w)
		require.Equal(t, "my phone", got.Name)
		require.Equal(t, []string{"a", "b"}, got.Scopes)
		require.Equal(t, "2026-04-01T00:00:00Z", *got.Expiry)
	})
}

// A service that names a user in a way that no store takes is broken; its client is not told.
func TestLoginOfAnImpossibleUserID(t *testing.T) {
	t.Parallel()
	m := tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil)
	var told error
	h := tokenapi.NewLogin(m, func(context.Context, string, string) (string, error) { return "a\x00b", nil },
		&tokenapi.LoginOptions{OnError: func(_ *http.Request, err error) { told = err }})
	w := send(t, h, "POST", "/api/login", `{"username":"ada","password":"x"}`)
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Error(t, told)
}
