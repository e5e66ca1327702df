package tokenlogin_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenlogin"
)

// The response has the members that clients of Django REST Framework and of knox read.
func TestLoginResponseMatchesDRFAndKnox(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newLoginService(t, &tokenauth.Options{DefaultTTL: time.Hour}, nil)
		w := s.post(t, home, "ada", "right", header{"User-Agent", "curl/8.5.0"})
		require.Equal(t, http.StatusOK, w.Code, w.Body)
		got := decode[struct {
			token
			Token  string
			Expiry *string
		}](t, w)
		require.Equal(t, got.Key, got.Token)
		require.Equal(t, "2026-03-01T13:00:00Z", *got.Expiry)
		require.Equal(t, *got.Expiry, *got.ExpiresAt)
		require.Equal(t, "curl/8.5.0", got.Name)
		made, err := s.Manager.Authenticate(context.Background(), got.Token)
		require.NoError(t, err)
		require.Equal(t, "ada's ID", made.UserID)
		require.Equal(t, "ada's ID", got.UserID)
		require.Equal(t, got.ID, made.ID)
	})
}

// For a token that never expires, the response omits "expires_at" and has "expiry": null, which is
// what knox sends.
func TestLoginWithoutExpiryReturnsNullExpiry(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newLoginService(t, nil, nil).post(t, home, "ada", "right")
		require.Equal(t, http.StatusOK, w.Code)
		members := decode[map[string]any](t, w)
		require.NotContains(t, members, "expires_at")
		require.Contains(t, members, "expiry")
		require.Nil(t, members["expiry"])
	})
}

// Neither the response nor its duration reveals which usernames exist. This holds even if the
// service does not hash the password for an unknown username.
// Case L1.
func TestRefusalHidesWhichUsersExist(t *testing.T) {
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

// A login with a malformed body is refused before the password is checked. The zero time of Go, in
// the year one, must not become "never", because a client that asks for an expiry must not get a
// token without one. The tests of package body have more refused bodies.
// Case L8.
func TestBadBodiesAreRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newLoginService(t, nil, nil)
		form := []header{{"Content-Type", "application/x-www-form-urlencoded"}}
		for _, c := range []struct {
			name, body string
			headers    []header
			status     int
			field      string
		}{
			{"10 MiB password", `{"username":"ada","password":"` + strings.Repeat("x", 10<<20) + `"}`, nil, 413, ""},
			{"10 MiB form", "username=ada&password=" + strings.Repeat("x", 10<<20), form, 413, ""},
			{"NUL", `{"username":"ada","password":"right\u0000"}`, nil, 400, "#/password"},
			{"NUL, form", "username=ada%00&password=right", form, 400, "#/username"},
			{"control character", `{"username":"a\u0001da","password":"right"}`, nil, 400, "#/username"},
			{"C1 control character", `{"username":"ada\u0085b","password":"right"}`, nil, 400, "#/username"},
			{"invalid UTF-8", "{\"username\":\"ada\",\"password\":\"right\xff\"}", nil, 400, ""},
			{"invalid UTF-8, form", "username=ada&password=right%ff", form, 400, "#/password"},
			{"malformed form", "username=ada&password=%zz", form, 400, ""},
			{"semicolons", "username=ada;password=right", form, 400, ""},
			{"empty object", `{}`, nil, 400, "#/username"},
			{"empty form", "", form, 400, "#/username"},
			{"no password", `{"username":"ada"}`, nil, 400, "#/password"},
			{"blank username", `{"username":" ","password":"right"}`, nil, 400, "#/username"},
			{"null as password", `{"username":"ada","password":null}`, nil, 400, "#/password"},
			{"number as password", `{"username":"ada","password":1}`, nil, 400, "#/password"},
			{"duplicate", `{"username":"ada","password":"wrong","password":"right"}`, nil, 400, "#/password"},
			{"duplicate, form", "username=ada&password=wrong&password=right", form, 400, "#/password"},
			{"unknown member", `{"username":"ada","password":"right","user_id":"eve"}`, nil, 400, "#/user_id"},
			{"unknown member, form", "username=ada&password=right&admin=1", form, 400, "#/admin"},
			{"malformed expiry, form", "username=ada&password=right&expires_at=soon", form, 400, "#/expires_at"},
			{"year one as expiry", `{"username":"ada","password":"right","expires_at":"0001-01-01T00:00:00Z"}`, nil, 400, "#/expires_at"},
			{"year one as expiry, form", "username=ada&password=right&expires_at=0001-01-01T00:00:00Z", form, 400, "#/expires_at"},
			{"invalid UTF-8 in scopes, form", "username=ada&password=right&scopes=%ff", form, 400, "#/scopes"},
			{"expiry in the past", `{"username":"ada","password":"right","expires_at":"2020-01-01T00:00:00Z"}`, nil, 400, "#/expires_at"},
			{"line feed in name", `{"username":"ada","password":"right","name":"a\nb"}`, nil, 400, "#/name"},
			{"text", "username=ada&password=right", []header{{"Content-Type", "text/plain"}}, 415, ""},
			{"multipart", "", []header{{"Content-Type", "multipart/form-data; boundary=x"}}, 415, ""},
		} {
			w := send(t, s.mux, "POST", "/api/login", c.body, c.headers...)
			require.Equal(t, c.status, w.Code, "%s: %.300s", c.name, w.Body)
			require.Equal(t, c.field, field(t, w), c.name)
			require.NotContains(t, w.Body.String(), "null", "the response to a refused form must not mention null, which a form cannot have")
		}
		require.Zero(t, s.checks.Load(), "the password of a refused body is not checked")
	})
}

// Each login creates a new token and leaves the other tokens of the user unchanged.
// Case L9.
func TestLoginCreatesNamedToken(t *testing.T) {
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
		require.Equal(t, http.StatusConflict, w.Code, "no number is added to a name that the request gives")
		require.Equal(t, "#/name", field(t, w))
		w = s.post(t, home, "ada", "right", agent)
		require.Equal(t, http.StatusConflict, w.Code, "the user already has MaxPerUser tokens")
		require.Empty(t, keyIn(w))
		for _, key := range keys {
			_, err := s.Manager.Authenticate(context.Background(), key)
			require.NoError(t, err, "a login must leave the other tokens of the user live")
		}
	})
}

// If the request has no name, the endpoint makes the name of the token from the User-Agent.
// Case L9.
func TestDefaultNameComesFromUserAgent(t *testing.T) {
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

// Tokens from concurrent logins with the same User-Agent get names with different numbers.
// Case L9.
func TestConcurrentLoginsGetDifferentNames(t *testing.T) {
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

// A single-page app on another origin must be able to log in. The endpoint sets no cookie and reads
// none, so a request from another site has no right that its sender lacks.
// Case L10.
func TestLoginAcceptsOtherOrigins(t *testing.T) {
	t.Parallel()
	s := newLoginService(t, nil, nil)
	for _, line := range []header{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://app.example"}} {
		w := s.post(t, home, "ada", "right", line)
		require.Equal(t, http.StatusOK, w.Code, line)
		require.Empty(t, w.Header()["Set-Cookie"])
	}
}

// Servers and proxies log URLs, so the endpoint must refuse a password in the query.
// Case L10.
func TestLoginAcceptsOnlyPostAndBody(t *testing.T) {
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
		require.Zero(t, s.checks.Load())
		require.Equal(t, http.StatusOK, send(t, s.mux, "POST", "/api/login", body).Code)
		w := send(t, s.mux, "POST", "/api/login", "username=+ada+&password=right&name=my+phone&scopes=b+a&expires_at=2026-04-01T00:00:00Z",
			header{"Content-Type", "application/x-www-form-urlencoded"})
		require.Equal(t, http.StatusOK, w.Code, w.Body)
		got := decode[token](t, w)
		require.Equal(t, "my phone", got.Name)
		require.Equal(t, []string{"a", "b"}, got.Scopes)
		require.Equal(t, "2026-04-01T00:00:00Z", *got.ExpiresAt)
	})
}

// A client that gives no expiry and no scopes gets those of the service's options. A client that
// gives them gets what it asks for, within the policy of the Manager.
func TestOptionsGiveExpiryAndScopes(t *testing.T) {
	t.Parallel()
	clock := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	now := func() time.Time { return clock }
	s := newLoginService(t, &tokenauth.Options{Now: now, DefaultTTL: time.Hour, Scopes: []string{"a", "b"}},
		&tokenlogin.Options{TTL: 24 * time.Hour, Scopes: []string{"b", "a"}})
	for _, c := range []struct{ more, expires, scopes string }{
		{``, "2026-03-02T12:00:00Z", "a b"},
		{`,"expires_at":"2026-04-01T00:00:00Z"`, "2026-04-01T00:00:00Z", "a b"},
		{`,"expires_at":null`, "", "a b"},
		{`,"scopes":["b"]`, "2026-03-02T12:00:00Z", "b"},
		{`,"scopes":[]`, "2026-03-02T12:00:00Z", ""},
	} {
		w := send(t, s.mux, "POST", "/api/login", `{"username":"ada","password":"right"`+c.more+`}`)
		require.Equal(t, http.StatusOK, w.Code, w.Body)
		got := decode[token](t, w)
		require.Equal(t, c.scopes, strings.Join(got.Scopes, " "), c.more)
		if c.expires == "" {
			require.Nil(t, got.ExpiresAt)
			continue
		}
		require.Equal(t, c.expires, *got.ExpiresAt, c.more)
	}
}

// If check returns a user ID that the Manager refuses, OnError receives an error that says so. The
// response must not contain this error.
func TestRefusedUserIDIs503(t *testing.T) {
	t.Parallel()
	m := must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "acme", &tokenauth.Options{CheckUserID: tokenauth.DecimalUserID}))
	for id, want := range map[string]string{"1\x00": "user_id must not contain a control character", "01": "user_id must be"} {
		var logged error
		h := newLogin(m, func(context.Context, string, string) (string, string, error) { return id, "", nil },
			&tokenlogin.Options{OnError: func(_ *http.Request, err error) { logged = err }})
		w := send(t, h, "POST", "/api/login", `{"username":"ada","password":"x"}`)
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		require.ErrorContains(t, logged, want)
		require.NotContains(t, w.Body.String(), "user_id")
	}
}
