package tokenapi_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/leaktest"
	"github.com/go-tokenauth/tokenauth/tokenapi"
)

// badBodies are refused wherever a body is read: with this status, and naming this field.
var badBodies = []struct {
	name, body string
	status     int
	field      string
}{
	{"empty", "", 400, ""},
	{"blank", " \n", 400, ""},
	{"null", "null", 400, ""},
	{"array", "[]", 400, ""},
	{"string", `"name"`, 400, ""},
	{"number", "1", 400, ""},
	{"truncated", `{"name":"x"`, 400, ""},
	{"trailing data", `{"name":"x"} x`, 400, ""},
	{"two objects", `{"name":"x"}{}`, 400, ""},
	{"trailing comma", `{"name":"x",}`, 400, ""},
	{"comment", `{"name":"x"/**/}`, 400, ""},
	{"BOM", "\ufeff" + `{"name":"x"}`, 400, ""},
	{"invalid UTF-8", "{\"name\":\"x\xff\"}", 400, ""},
	{"UTF-16", "{\x00}\x00", 400, ""},
	{"deep", strings.Repeat(`{"name":`, 5_000) + "1" + strings.Repeat("}", 5_000), 400, "#/name"},
	{"deeper than allowed", strings.Repeat("[", 30_000) + strings.Repeat("]", 30_000), 400, ""},
	{"larger than allowed", `{"name":"` + strings.Repeat("x", 64<<10) + `"}`, 413, ""},
	{"1 MiB + 1", strings.Repeat(" ", 1<<20+1), 413, ""},
	{"unknown member", `{"name":"x","nmae":"y"}`, 400, "#/nmae"},
	{"unknown member, odd", `{"name":"x","a/b~c\u0000":"y"}`, 400, ""},
	{"duplicate member", `{"name":"x","name":"y"}`, 400, "#/name"},
	{"duplicate member, escaped", `{"name":"x","n\u0061me":"y"}`, 400, "#/name"},
	{"case variant", `{"Name":"x"}`, 400, "#/Name"},
	{"both cases", `{"name":"x","scopes":[],"Scopes":["admin"]}`, 400, "#/Scopes"},
	{"folded letter", `{"name":"x","ſcopes":["admin"]}`, 400, ""},
	{"null name", `{"name":null}`, 400, "#/name"},
	{"number as name", `{"name":1}`, 400, "#/name"},
	{"object as name", `{"name":{"name":"x"}}`, 400, "#/name"},
	{"blank name", `{"name":" "}`, 400, "#/name"},
	{"control in name", `{"name":"a\u0000b"}`, 400, "#/name"},
	{"bidi in name", `{"name":"a\u202eb"}`, 400, "#/name"},
	{"long name", `{"name":"` + strings.Repeat("x", 65) + `"}`, 400, "#/name"},
	{"string as scopes", `{"name":"x","scopes":"admin"}`, 400, "#/scopes"},
	{"number in scopes", `{"name":"x","scopes":["a",1]}`, 400, "#/scopes"},
	{"null in scopes", `{"name":"x","scopes":["a",null]}`, 400, "#/scopes"},
	{"null scopes", `{"name":"x","scopes":null}`, 400, "#/scopes"},
	{"malformed scope", `{"name":"x","scopes":["a b"]}`, 400, "#/scopes"},
	{"unknown scope", `{"name":"x","scopes":["root"]}`, 400, "#/scopes"},
	{"number as expiry", `{"name":"x","expires_at":1798761600}`, 400, "#/expires_at"},
	{"date alone", `{"name":"x","expires_at":"2027-01-01"}`, 400, "#/expires_at"},
	{"no time zone", `{"name":"x","expires_at":"2027-01-01T00:00:00"}`, 400, "#/expires_at"},
	{"30 February", `{"name":"x","expires_at":"2027-02-30T00:00:00Z"}`, 400, "#/expires_at"},
	{"the year 1, which must not be never", `{"name":"x","expires_at":"0001-01-01T00:00:00Z"}`, 400, "#/expires_at"},
	{"the past", `{"name":"x","expires_at":"2026-03-01T11:59:59Z"}`, 400, "#/expires_at"},
	{"now", `{"name":"x","expires_at":"2026-03-01T12:00:00Z"}`, 400, "#/expires_at"},
	{"beyond the year 9999", `{"name":"x","expires_at":"9999-12-31T23:59:59-23:00"}`, 400, "#/expires_at"},
	{"A7 id", `{"name":"x","id":"MINE"}`, 400, "#/id"},
	{"A7 user_id", `{"name":"x","user_id":"eve"}`, 400, "#/user_id"},
	{"A7 digest", `{"name":"x","digest":"00"}`, 400, "#/digest"},
	{"A7 created_at", `{"name":"x","created_at":"2020-01-01T00:00:00Z"}`, 400, "#/created_at"},
	{"A7 last_used_at", `{"name":"x","last_used_at":null}`, 400, "#/last_used_at"},
	{"A7 key", `{"name":"x","key":"acme_chosen"}`, 400, "#/key"},
}

func TestA6_A7_BadBodies(t *testing.T) {
	t.Parallel()
	s := newService(t, &tokenauth.Options{Scopes: []string{"a", "admin"}}, tokenapi.Options{})
	_, made := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "laptop"})
	for _, c := range badBodies {
		for _, request := range [][3]string{
			{"POST", "/api/tokens", "ada"}, {"PATCH", "/api/tokens/" + made.ID, "ada"},
		} {
			w := send(t, s.mux, request[0], request[1], c.body, as(request[2]))
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
	require.Equal(t, []tokenauth.Token{made}, all, "no effect")
}

// A policy's refusals name the member, too.
func TestA6_PolicyNamesTheMember(t *testing.T) {
	t.Parallel()
	s := newService(t, &tokenauth.Options{MaxTTL: 1000 * time.Hour}, tokenapi.Options{})
	for _, expiry := range []string{`null`, `"2027-03-01T12:00:00Z"`} {
		w := send(t, s.mux, "POST", "/api/tokens", `{"name":"x","expires_at":`+expiry+`}`, as("ada"))
		require.Equal(t, http.StatusBadRequest, w.Code)
		require.Equal(t, "#/expires_at", field(t, w))
	}
	_, made := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "laptop"})
	s.Clock.Advance(1)
	w := send(t, s.mux, "POST", "/api/tokens/"+made.ID+"/rotate", `{"grace_seconds":9223372036}`, as("ada"))
	require.Equal(t, http.StatusOK, w.Code, "a grace ends with the token")
}

// A form, or text, is what a page of another origin can send without asking.
func TestA8_OnlyJSON(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{})
	for contentType, status := range map[string]int{
		"text/plain":                        415,
		"application/x-www-form-urlencoded": 415,
		"multipart/form-data; boundary=x":   415,
		"":                                  415,
		"application/json, text/plain":      415,
		"text/plain; application/json":      415,
		"application/merge-patch+json":      415,
		"Application/JSON; charset=utf-8":   201,
	} {
		w := send(t, s.mux, "POST", "/api/tokens", `{"name":"`+strings.ReplaceAll(contentType, "/", "")+`"}`, as("ada"), header{"Content-Type", contentType})
		require.Equal(t, status, w.Code, contentType)
	}
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = z.Write(bytes.Repeat([]byte(" "), 10<<20))
	require.NoError(t, z.Close())
	require.Less(t, bomb.Len(), 64<<10)
	require.Equal(t, 415, send(t, s.mux, "POST", "/api/tokens", bomb.String(), as("ada"), header{"Content-Encoding", "gzip"}).Code)
	require.Equal(t, 400, send(t, s.mux, "POST", "/api/tokens", bomb.String(), as("ada")).Code)
}

// PATCH changes what is given and nothing else.
func TestUpdateChangesOnlyWhatIsGiven(t *testing.T) {
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

// What the decoder takes, every other one reads in the same way.
func FuzzDecodeJSON(f *testing.F) {
	for _, c := range badBodies {
		if len(c.body) < 200 {
			f.Add([]byte(c.body))
		}
	}
	f.Add([]byte(`{"name":"x","scopes":["a","b"],"expires_at":"2027-01-01T00:00:00Z","grace_seconds":60}`))
	f.Add([]byte(` { "expires_at" : null } `))
	f.Fuzz(func(t *testing.T, body []byte) {
		name, scopes, expiresAt, seconds, err := tokenapi.DecodeJSON(body)
		if err != nil {
			_, _ = leaktest.Default.Write([]byte(err.Error()))
			return
		}
		require.True(t, utf8.Valid(body) && json.Valid(body))
		members := map[string]json.RawMessage{}
		require.NoError(t, json.Unmarshal(body, &members))
		require.Equal(t, len(members), countMembers(t, body), "a member was given twice")
		read := func(member string, to any) {
			if raw, ok := members[member]; ok {
				require.NoError(t, json.Unmarshal(raw, to))
				delete(members, member)
			}
		}
		var want struct {
			name    string
			scopes  []string
			expires *time.Time
			seconds int64
		}
		read("name", &want.name)
		read("scopes", &want.scopes)
		read("expires_at", &want.expires)
		read("grace_seconds", &want.seconds)
		require.Empty(t, members, "an unknown member was taken")
		require.Equal(t, want.name, name)
		require.Equal(t, want.scopes, scopes)
		require.Equal(t, want.seconds, seconds)
		if want.expires == nil {
			require.True(t, expiresAt.IsZero())
		} else {
			require.True(t, want.expires.Equal(expiresAt) && !expiresAt.IsZero())
		}
	})
}

// countMembers counts those given twice two times.
func countMembers(t *testing.T, body []byte) (n int) {
	d := json.NewDecoder(bytes.NewReader(body))
	_, err := d.Token()
	require.NoError(t, err)
	for ; d.More(); n++ {
		_, err := d.Token()
		require.NoError(t, err)
		var value json.RawMessage
		require.NoError(t, d.Decode(&value))
	}
	return n
}
