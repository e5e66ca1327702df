package tokenapi_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/apitest"
	"github.com/go-tokenauth/tokenauth/tokenapi"
)

// The routes to create and update a token must refuse each of these bodies. The tests of package
// body have more refused bodies.
var badBodies = []struct {
	name, body string
	status     int
	field      string
}{
	{"empty", "", 400, ""},
	{"null", "null", 400, ""},
	{"array", "[]", 400, ""},
	{"two objects", `{"name":"x"}{}`, 400, ""},
	{"invalid UTF-8", "{\"name\":\"x\xff\"}", 400, ""},
	{"deep objects", strings.Repeat(`{"name":`, 5_000) + "1" + strings.Repeat("}", 5_000), 400, "#/name"},
	{"larger than allowed", `{"name":"` + strings.Repeat("x", 64<<10) + `"}`, 413, ""},
	{"1 MiB and 1 byte", strings.Repeat(" ", 1<<20+1), 413, ""},
	{"unknown member", `{"name":"x","nmae":"y"}`, 400, "#/nmae"},
	{"duplicate member", `{"name":"x","name":"y"}`, 400, "#/name"},
	{"both letter cases", `{"name":"x","scopes":[],"Scopes":["admin"]}`, 400, "#/Scopes"},
	{"null as name", `{"name":null}`, 400, "#/name"},
	{"number as name", `{"name":1}`, 400, "#/name"},
	{"blank name", `{"name":" "}`, 400, "#/name"},
	{"control character in name", `{"name":"a\u0000b"}`, 400, "#/name"},
	{"bidirectional control in name", `{"name":"a\u202eb"}`, 400, "#/name"},
	{"long name", `{"name":"` + strings.Repeat("x", 65) + `"}`, 400, "#/name"},
	{"string as scopes", `{"name":"x","scopes":"admin"}`, 400, "#/scopes"},
	{"null in scopes", `{"name":"x","scopes":["a",null]}`, 400, "#/scopes"},
	{"null as scopes", `{"name":"x","scopes":null}`, 400, "#/scopes"},
	{"malformed scope", `{"name":"x","scopes":["a b"]}`, 400, "#/scopes"},
	{"unknown scope", `{"name":"x","scopes":["root"]}`, 400, "#/scopes"},
	{"string as resources", `{"name":"x","resources":"p1"}`, 400, "#/resources"},
	{"no resources", `{"name":"x","resources":[]}`, 400, "#/resources"},
	{"created_by", `{"name":"x","created_by":"user:eve"}`, 400, "#/created_by"},
	{"previous_key_until", `{"name":"x","previous_key_until":null}`, 400, "#/previous_key_until"},
	{"number as expiry", `{"name":"x","expires_at":1798761600}`, 400, "#/expires_at"},
	{"zero time, which would mean never", `{"name":"x","expires_at":"0001-01-01T00:00:00Z"}`, 400, "#/expires_at"},
	{"expiry in the past", `{"name":"x","expires_at":"2026-03-01T11:59:59Z"}`, 400, "#/expires_at"},
	{"expiry now", `{"name":"x","expires_at":"2026-03-01T12:00:00Z"}`, 400, "#/expires_at"},
	{"expiry beyond the year 9999", `{"name":"x","expires_at":"9999-12-31T23:59:59-23:00"}`, 400, "#/expires_at"},
	{"id", `{"name":"x","id":"MINE"}`, 400, "#/id"},
	{"user_id", `{"name":"x","user_id":"eve"}`, 400, "#/user_id"},
	{"digest", `{"name":"x","digest":"00"}`, 400, "#/digest"},
	{"created_at", `{"name":"x","created_at":"2020-01-01T00:00:00Z"}`, 400, "#/created_at"},
	{"last_used_at", `{"name":"x","last_used_at":null}`, 400, "#/last_used_at"},
	{"key", `{"name":"x","key":"acme_chosen"}`, 400, "#/key"},
}

// A refused body must change no token. Otherwise a client could choose values that only the service
// may set, such as the user or the digest of a token.
// Cases A6, A7.
func TestBadBodiesAreRefused(t *testing.T) {
	t.Parallel()
	s := newService(t, &tokenauth.Options{Scopes: []string{"a", "admin"}}, tokenapi.Options{})
	_, made := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "laptop"})
	for _, c := range badBodies {
		for _, request := range [][2]string{{"POST", "/api/tokens"}, {"PATCH", "/api/tokens/" + made.ID}} {
			w := send(t, s.mux, request[0], request[1], c.body, as("ada"))
			require.Equal(t, c.status, w.Code, "%s: %s", c.name, request)
			require.Equal(t, c.field, field(t, w), "%s: %s", c.name, request)
		}
	}
	require.Equal(t, http.StatusBadRequest, send(t, s.mux, "POST", "/api/tokens", `{}`, as("ada")).Code)
	require.Equal(t, http.StatusBadRequest, send(t, s.mux, "PATCH", "/api/tokens/"+made.ID, `{}`, as("ada")).Code)
	for _, body := range []string{`{"grace_seconds":-1}`, `{"grace_seconds":1.5}`, `{"grace_seconds":"60"}`, `{"grace_seconds":null}`,
		`{"grace_seconds":9223372037}`, `{"grace_seconds":1e99}`} {
		w := send(t, s.mux, "POST", "/api/tokens/"+made.ID+"/rotate", body, as("ada"))
		require.Equal(t, http.StatusBadRequest, w.Code, body)
		require.Equal(t, "#/grace_seconds", field(t, w), body)
	}
	for _, body := range []string{`{"generation":1.5}`, `{"generation":"1"}`, `{"generation":null}`, `{"generation":1e99}`} {
		w := send(t, s.mux, "POST", "/api/tokens/"+made.ID+"/rotate", body, as("ada"))
		require.Equal(t, http.StatusBadRequest, w.Code, body)
		require.Equal(t, "#/generation", field(t, w), body)
	}
	all, err := s.Manager.List(context.Background(), tokenauth.Query{AllUsers: true, IncludeRevoked: true})
	require.NoError(t, err)
	require.Equal(t, []tokenauth.Token{made}, all, "no refused request may change a token")
}

// If a request violates the Options of the Manager, the response names the invalid member.
// Case A6.
func TestPolicyErrorNamesMember(t *testing.T) {
	t.Parallel()
	s := newService(t, &tokenauth.Options{MaxTTL: 100 * time.Hour}, tokenapi.Options{})
	for _, expiry := range []string{`null`, `"2027-03-01T12:00:00Z"`} {
		w := send(t, s.mux, "POST", "/api/tokens", `{"name":"x","expires_at":`+expiry+`}`, as("ada"))
		require.Equal(t, http.StatusBadRequest, w.Code)
		require.Equal(t, "#/expires_at", field(t, w))
	}
	_, made := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "laptop"})
	s.Clock.Advance(1)
	w := send(t, s.mux, "POST", "/api/tokens/"+made.ID+"/rotate", `{"grace_seconds":2592000}`, as("ada"))
	require.Equal(t, http.StatusOK, w.Code, "a grace beyond the expiry of the token is allowed and ends at the expiry")
}

// The API must refuse forms and plain text, which pages of another origin can send without a CORS
// preflight.
// Case A8.
func TestOnlyJSONIsAccepted(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{})
	_, made := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "laptop"})
	for contentType, accepted := range map[string]bool{
		"text/plain":                        false,
		"application/x-www-form-urlencoded": false,
		"multipart/form-data; boundary=x":   false,
		"":                                  false,
		"Application/JSON; charset=utf-8":   true,
	} {
		for request, status := range map[[3]string]int{
			{"POST", "/api/tokens", `{"name":"phone"}`}:              http.StatusCreated,
			{"PATCH", "/api/tokens/" + made.ID, `{"name":"tablet"}`}: http.StatusOK,
			{"POST", "/api/tokens/" + made.ID + "/rotate", `{}`}:     http.StatusOK,
		} {
			if !accepted {
				status = http.StatusUnsupportedMediaType
			}
			w := send(t, s.mux, request[0], request[1], request[2], as("ada"), header{"Content-Type", contentType})
			require.Equal(t, status, w.Code, "%s %s", contentType, request)
		}
	}
	w := send(t, s.mux, "POST", "/api/tokens", `{"name":"x"}`, as("ada"), header{"Content-Encoding", "gzip"})
	require.Equal(t, http.StatusUnsupportedMediaType, w.Code)
}

// If a client announces a body but does not send all of it, the request must change nothing.
// Case A6.
func TestBodyCutShortChangesNothing(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{})
	r := apitest.NewRequest("POST", "/api/tokens", "", as("ada"))
	r.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"name":"x"}`), iotest.ErrReader(io.ErrUnexpectedEOF)))
	require.Equal(t, http.StatusBadRequest, apitest.Do(t, s.mux, r).Code)
	tokens, err := s.Manager.List(context.Background(), tokenauth.Query{AllUsers: true, IncludeRevoked: true})
	require.NoError(t, err)
	require.Empty(t, tokens)
}

// If the body of a PATCH request lacks a member, the field of the token stays unchanged.
func TestUpdateChangesOnlyGivenMembers(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{})
	_, made := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "laptop", Scopes: []string{"a", "b"}, ExpiresAt: s.Clock.Now().Add(time.Hour)})
	target := "/api/tokens/" + made.ID
	for _, c := range []struct{ body, name, scopes, expires string }{
		{`{"name":"desk"}`, "desk", "a b", "2026-03-01T13:00:00Z"},
		{`{"scopes":["a"]}`, "desk", "a", "2026-03-01T13:00:00Z"},
		{`{"expires_at":"2026-03-02T00:00:00.5Z"}`, "desk", "a", "2026-03-02T00:00:00.5Z"},
		{`{"scopes":[],"expires_at":null}`, "desk", "", ""},
		{`{"name":"d","scopes":["c"],"expires_at":"2026-03-03T00:00:00Z"}`, "d", "c", "2026-03-03T00:00:00Z"},
	} {
		w := send(t, s.mux, "PATCH", target, c.body, as("ada"))
		require.Equal(t, http.StatusOK, w.Code, w.Body)
		now := decode[token](t, w)
		expires := ""
		if now.ExpiresAt != nil {
			expires = *now.ExpiresAt
		}
		require.Equal(t, []string{c.name, c.scopes, expires}, []string{now.Name, strings.Join(now.Scopes, " "), expires}, c.body)
	}
}

// A client without the right to send a request must not make the service wait for a body and keep
// it in memory.
// Case A6.
func TestRefusedRequestIsNotRead(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{})
	key, _ := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "laptop"})
	for name, c := range map[string]struct {
		target  string
		headers []header
		status  int
	}{
		"neither session nor key": {"/api/tokens", nil, 401},
		"wrong key":               {"/api/tokens", []header{with("x")}, 401},
		"another origin":          {"/api/tokens", []header{as("ada"), {"Sec-Fetch-Site", "cross-site"}}, 403},
		"tokens manage nothing":   {"/api/tokens", []header{with(key)}, 403},
		"failing session":         {"/api/tokens", []header{as("broken")}, 503},
		"logout without a key":    {"/api/logout", []header{as("ada")}, 401},
		"not staff":               {"/staff/tokens?user_id=ada", []header{as("ada")}, 403},
		"unknown path":            {"/api/x", []header{as("ada")}, 404},
	} {
		method := "POST"
		if strings.HasPrefix(c.target, "/staff") {
			method = "DELETE"
		}
		r := apitest.NewRequest(method, c.target, "", c.headers...)
		r.Body = io.NopCloser(readFunc(func([]byte) (int, error) {
			t.Errorf("%s: the body must not be read", name)
			return 0, io.EOF
		}))
		require.Equal(t, c.status, apitest.Do(t, s.mux, r).Code, name)
	}
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }
