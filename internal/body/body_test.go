package body_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/internal/body"
	"github.com/go-tokenauth/tokenauth/internal/challenge"
)

const (
	jsonType = "application/json"
	formType = "application/x-www-form-urlencoded"
)

// values holds the members that the tests read from bodies. It has a field for each supported type.
type values struct {
	name       string
	scopes     []string
	expires    body.Expiry
	seconds    int64
	generation *int
	newName    *string
	newScopes  *[]string
	resources  body.List
}

func (v *values) members() body.Members {
	return body.Members{
		"name": &v.name, "scopes": &v.scopes, "expires_at": &v.expires, "grace_seconds": &v.seconds,
		"generation": &v.generation, "new_name": &v.newName, "new_scopes": &v.newScopes, "resources": &v.resources,
	}
}

// A reader is one of the functions readJSON and body.ReadJSONOrForm.
type reader func(http.ResponseWriter, *http.Request, body.Members) error

func readJSON(w http.ResponseWriter, r *http.Request, m body.Members) error {
	text, err := body.Read(w, r)
	if err != nil {
		return err
	}
	return body.DecodeJSON(r, text, m)
}

func read(f reader, contentType, text string) (v values, err error) {
	r := httptest.NewRequest("POST", "/", strings.NewReader(text))
	r.Header.Set("Content-Type", contentType)
	err = f(httptest.NewRecorder(), r, v.members())
	return v, err
}

// requireProblem requires that err is a Problem with the given status, and that it names the member
// pointer. The detail must not repeat text that the client has chosen freely.
func requireProblem(t *testing.T, err error, status int, pointer, name string) {
	t.Helper()
	var p *challenge.Problem
	require.ErrorAs(t, err, &p, name)
	require.Equal(t, status, p.Status, name)
	require.NotContains(t, p.Detail, "chosen", name)
	if pointer == "" {
		require.Empty(t, p.Errors, name)
		return
	}
	require.Len(t, p.Errors, 1, name)
	require.Equal(t, pointer, p.Errors[0].Pointer, name)
}

// A member that the body lacks must leave its variable unchanged. Otherwise a request to rename a
// token could also remove its scopes.
func TestDecodeSetsMembers(t *testing.T) {
	t.Parallel()
	for _, f := range []reader{readJSON, body.ReadJSONOrForm} {
		v, err := read(f, jsonType, ` {"name": "x", "scop\u0065s": ["b", "a"], "expires_at": "2027-01-01T02:00:00.5+02:00",
			"grace_seconds": -60, "generation": 3, "new_name": "", "new_scopes": [], "resources": ["p2", "p1"]} `)
		require.NoError(t, err)
		require.Equal(t, "x", v.name)
		require.Equal(t, []string{"b", "a"}, v.scopes)
		require.True(t, v.expires.Given)
		require.False(t, v.expires.Never())
		require.True(t, v.expires.At.Equal(time.Date(2027, 1, 1, 0, 0, 0, 500_000_000, time.UTC)))
		require.Equal(t, int64(-60), v.seconds)
		require.Equal(t, 3, *v.generation)
		require.Empty(t, *v.newName)
		require.Equal(t, []string{}, *v.newScopes)
		require.Equal(t, body.List{Given: true, Items: []string{"p2", "p1"}}, v.resources)

		v, err = read(f, jsonType, `{}`)
		require.NoError(t, err)
		require.Equal(t, values{}, v, "absent members must be unchanged")

		v, err = read(f, jsonType, `{"expires_at":null,"resources":null}`)
		require.NoError(t, err)
		require.Equal(t, body.Expiry{Given: true}, v.expires)
		require.Equal(t, body.List{Given: true}, v.resources, "null must differ from an absent member and from an empty list")
		require.True(t, v.expires.Never())
		require.False(t, (&body.Expiry{}).Never(), "Never must return false if the body has no expiry")

		v, err = read(f, jsonType, `{"resources":[]}`)
		require.NoError(t, err)
		require.Equal(t, body.List{Given: true, Items: []string{}}, v.resources)

		longest := `{"name":"` + strings.Repeat("x", 64<<10-11) + `"}`
		require.Len(t, longest, 64<<10)
		_, err = read(f, jsonType, longest)
		require.NoError(t, err, "a body of 64 KiB must be accepted")
		_, err = read(f, jsonType, longest+" ")
		requireProblem(t, err, http.StatusRequestEntityTooLarge, "", "a body of 64 KiB and 1 byte must be refused")
	}
}

// badJSON lists JSON bodies that must be refused, with the status and the JSON pointer of the
// response.
var badJSON = []struct {
	name, text string
	status     int
	pointer    string
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
	{"byte order mark", "\ufeff" + `{"name":"x"}`, 400, ""},
	{"invalid UTF-8 in a value", "{\"name\":\"x\xff\"}", 400, ""},
	{"invalid UTF-8 in a name", "{\"name\xff\":\"x\"}", 400, ""},
	{"UTF-16", "{\x00}\x00", 400, ""},
	{"name without quotes", `{name:"x"}`, 400, ""},
	{"deep objects", strings.Repeat(`{"name":`, 5_000) + "1" + strings.Repeat("}", 5_000), 400, "#/name"},
	{"objects deeper than encoding/json allows", strings.Repeat("[", 30_000) + strings.Repeat("]", 30_000), 400, ""},
	{"string larger than allowed", `{"name":"` + strings.Repeat("x", 64<<10) + `"}`, 413, ""},
	{"1 MiB and 1 byte", strings.Repeat(" ", 1<<20+1), 413, ""},
	{"unknown member", `{"name":"x","nmae":"y"}`, 400, "#/nmae"},
	{"unknown member that is not a word", `{"name":"x","chosen/a~b\u0000":"y"}`, 400, ""},
	{"unknown member without a name", `{"":"y"}`, 400, ""},
	{"unknown member longer than a word", `{"` + strings.Repeat("chosen", 11) + `":"y"}`, 400, ""},
	{"duplicate member", `{"name":"x","name":"y"}`, 400, "#/name"},
	{"duplicate member with an escape", `{"name":"x","n\u0061me":"y"}`, 400, "#/name"},
	{"duplicate member that is null", `{"expires_at":null,"expires_at":null}`, 400, "#/expires_at"},
	{"other letter case", `{"Name":"x"}`, 400, "#/Name"},
	{"both letter cases", `{"name":"x","scopes":[],"Scopes":["admin"]}`, 400, "#/Scopes"},
	{"letter that folds to s", `{"name":"x","ſcopes":["admin"]}`, 400, ""},
	{"null as name", `{"name":null}`, 400, "#/name"},
	{"number as name", `{"name":1}`, 400, "#/name"},
	{"object as name", `{"name":{"name":"x"}}`, 400, "#/name"},
	{"null as new name", `{"new_name":null}`, 400, "#/new_name"},
	{"number as new name", `{"new_name":1}`, 400, "#/new_name"},
	{"string as scopes", `{"scopes":"admin"}`, 400, "#/scopes"},
	{"number in scopes", `{"scopes":["a",1]}`, 400, "#/scopes"},
	{"null as scopes", `{"scopes":null}`, 400, "#/scopes"},
	{"null as new scopes", `{"new_scopes":null}`, 400, "#/new_scopes"},
	{"string as new scopes", `{"new_scopes":"admin"}`, 400, "#/new_scopes"},
	{"string as resources", `{"resources":"p1"}`, 400, "#/resources"},
	{"number in resources", `{"resources":["p1",1]}`, 400, "#/resources"},
	{"object as resources", `{"resources":{"p1":true}}`, 400, "#/resources"},
	{"false as resources", `{"resources":false}`, 400, "#/resources"},
	{"duplicate resources, one of them null", `{"resources":["p1"],"resources":null}`, 400, "#/resources"},
	{"number as expiry", `{"expires_at":1798761600}`, 400, "#/expires_at"},
	{"empty string as expiry", `{"expires_at":""}`, 400, "#/expires_at"},
	{"date without a time", `{"expires_at":"2027-01-01"}`, 400, "#/expires_at"},
	{"time without a zone", `{"expires_at":"2027-01-01T00:00:00"}`, 400, "#/expires_at"},
	{"30 February", `{"expires_at":"2027-02-30T00:00:00Z"}`, 400, "#/expires_at"},
	{"zero time, which would mean never", `{"expires_at":"0001-01-01T00:00:00Z"}`, 400, "#/expires_at"},
	{"fraction of a second", `{"grace_seconds":1.5}`, 400, "#/grace_seconds"},
	{"string as a number", `{"grace_seconds":"60"}`, 400, "#/grace_seconds"},
	{"null as a number", `{"grace_seconds":null}`, 400, "#/grace_seconds"},
	{"number beyond 64 bits", `{"grace_seconds":9223372036854775808}`, 400, "#/grace_seconds"},
	{"huge exponent", `{"grace_seconds":1e99}`, 400, "#/grace_seconds"},
	{"fraction of a generation", `{"generation":1.5}`, 400, "#/generation"},
	{"string as generation", `{"generation":"1"}`, 400, "#/generation"},
	{"null as generation", `{"generation":null}`, 400, "#/generation"},
}

// DecodeJSON and ReadJSONOrForm must refuse each body in badJSON.
// Case A6.
func TestReadJSONRefusesBadBodies(t *testing.T) {
	t.Parallel()
	for _, c := range badJSON {
		for _, f := range []reader{readJSON, body.ReadJSONOrForm} {
			_, err := read(f, jsonType, c.text)
			requireProblem(t, err, c.status, c.pointer, c.name)
		}
	}
}

// A form sends each value as text. The text null is a name like any other.
func TestReadFormSetsMembers(t *testing.T) {
	t.Parallel()
	v, err := read(body.ReadJSONOrForm, formType+"; charset=utf-8",
		"name=+my+%22phone%22%26%c3%a4+&scopes=b++a%0ac&expires_at=2027-01-01T02:00:00%2B02:00&new_name=null")
	require.NoError(t, err)
	require.Equal(t, ` my "phone"&ä `, v.name)
	require.Equal(t, []string{"b", "a", "c"}, v.scopes)
	require.True(t, v.expires.At.Equal(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)))
	require.Equal(t, "null", *v.newName, "the text null in a form must be read as a string")

	v, err = read(body.ReadJSONOrForm, formType, "scopes=&name=")
	require.NoError(t, err)
	require.Empty(t, v.name)
	require.Empty(t, v.scopes)

	v, err = read(body.ReadJSONOrForm, formType, "")
	require.NoError(t, err)
	require.Equal(t, values{}, v, "absent members must be unchanged")
}

// A form must be read as strictly as JSON. Otherwise a client could send as a form what the service
// refuses as JSON, such as a duplicate member. A time in the year one must not become never.
// Cases A6, L8.
func TestReadFormRefusesBadBodies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		status     int
		pointer    string
	}{
		{"malformed escape", "name=%zz", 400, ""},
		{"semicolon", "name=x;scopes=a", 400, ""},
		{"larger than allowed", "name=" + strings.Repeat("x", 64<<10), 413, ""},
		{"unknown member", "name=x&admin=1", 400, "#/admin"},
		{"unknown member that is not a word", "chosen%00=1", 400, ""},
		{"unknown member with invalid UTF-8", "chosen%ff=%ff", 400, ""},
		{"member without a name", "=x", 400, ""},
		{"other letter case", "Name=x", 400, "#/Name"},
		{"list in brackets", "scopes[]=a", 400, ""},
		{"duplicate member", "name=x&name=x", 400, "#/name"},
		{"duplicate list", "scopes=a&scopes=b", 400, "#/scopes"},
		{"duplicate member with an escape", "name=x&n%61me=y", 400, "#/name"},
		{"invalid UTF-8", "name=%ff", 400, "#/name"},
		{"invalid UTF-8 in a list", "scopes=a+%ff", 400, "#/scopes"},
		{"no time", "expires_at=soon", 400, "#/expires_at"},
		{"null as a time", "expires_at=null", 400, "#/expires_at"},
		{"empty time", "expires_at=", 400, "#/expires_at"},
		{"zero time, which would mean never", "expires_at=0001-01-01T00:00:00Z", 400, "#/expires_at"},
	} {
		_, err := read(body.ReadJSONOrForm, formType, c.text)
		requireProblem(t, err, c.status, c.pointer, c.name)
		require.NotContains(t, err.Error(), "null", "%s: the error must not mention null, which a form cannot contain", c.name)
	}
}

// DecodeJSON must refuse forms and text, because a page of another origin can send them without a
// CORS preflight. ReadJSONOrForm must refuse text.
// Case A8.
func TestReadRefusesOtherMediaTypes(t *testing.T) {
	t.Parallel()
	for contentType, want := range map[string][2]bool{ // whether DecodeJSON and ReadJSONOrForm accept the type
		"":                                {false, false},
		"text/plain":                      {false, false},
		"multipart/form-data; boundary=x": {false, false},
		"application/json, text/plain":    {false, false},
		"text/plain; application/json":    {false, false},
		"application/merge-patch+json":    {false, false},
		"application/json; charset":       {false, false},
		"Application/JSON; charset=utf-8": {true, true},
	} {
		for i, f := range []reader{readJSON, body.ReadJSONOrForm} {
			_, err := read(f, contentType, "{}")
			if want[i] {
				require.NoError(t, err, contentType)
				continue
			}
			requireProblem(t, err, http.StatusUnsupportedMediaType, "", contentType)
			require.Contains(t, err.Error(), "application/json", contentType)
		}
	}
	_, err := read(readJSON, formType, "name=x")
	requireProblem(t, err, http.StatusUnsupportedMediaType, "", "DecodeJSON must refuse a form")
}

// A small compressed body may become a large one, and use up the memory of the service.
// Case A6.
func TestReadRefusesCompressedBodies(t *testing.T) {
	t.Parallel()
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = z.Write(bytes.Repeat([]byte(" "), 10<<20))
	require.NoError(t, z.Close())
	require.Less(t, bomb.Len(), 64<<10)
	r := httptest.NewRequest("POST", "/", bytes.NewReader(bomb.Bytes()))
	r.Header.Set("Content-Type", jsonType)
	r.Header.Set("Content-Encoding", "gzip")
	requireProblem(t, readJSON(httptest.NewRecorder(), r, nil), http.StatusUnsupportedMediaType, "", "with Content-Encoding")
	_, err := read(readJSON, jsonType, bomb.String())
	requireProblem(t, err, http.StatusBadRequest, "", "without Content-Encoding")
}

// If the connection breaks, a body may be valid JSON up to that point. Its members must be ignored.
// Case A6.
func TestReadRefusesBodyCutShort(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest("POST", "/", io.MultiReader(strings.NewReader(`{"name":"x"}`), iotest.ErrReader(errors.New("chosen by an attacker"))))
	r.Header.Set("Content-Type", jsonType)
	var v values
	requireProblem(t, readJSON(httptest.NewRecorder(), r, v.members()), http.StatusBadRequest, "", "a body cut short")
	require.Empty(t, v.name)
}

// FuzzDecodeJSON checks that DecodeJSON and encoding/json read the same values from each body that
// DecodeJSON accepts. DecodeJSON must not accept duplicate or unknown members.
func FuzzDecodeJSON(f *testing.F) {
	for _, c := range badJSON {
		if len(c.text) < 200 {
			f.Add([]byte(c.text))
		}
	}
	f.Add([]byte(`{"name":"x","scopes":["a","b"],"expires_at":"2027-01-01T00:00:00Z","grace_seconds":60}`))
	f.Add([]byte(` { "expires_at" : null } `))
	f.Add([]byte(`{"new_name":"y","new_scopes":[],"generation":7,"resources":["p1"]}`))
	f.Add([]byte(`{"resources":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := read(readJSON, jsonType, string(text))
		if err != nil {
			return
		}
		require.True(t, utf8.Valid(text) && json.Valid(text))
		members := map[string]json.RawMessage{}
		require.NoError(t, json.Unmarshal(text, &members))
		require.Equal(t, countMembers(t, text), len(members), "DecodeJSON must not accept a duplicate member")
		want := values{}
		var expires *time.Time
		for name, to := range map[string]any{
			"name": &want.name, "scopes": &want.scopes, "expires_at": &expires, "grace_seconds": &want.seconds,
			"generation": &want.generation, "new_name": &want.newName, "new_scopes": &want.newScopes, "resources": &want.resources.Items,
		} {
			if raw, ok := members[name]; ok {
				require.NoError(t, json.Unmarshal(raw, to))
				want.expires.Given = want.expires.Given || name == "expires_at"
				want.resources.Given = want.resources.Given || name == "resources"
				delete(members, name)
			}
		}
		require.Empty(t, members, "DecodeJSON must not accept an unknown member")
		if expires != nil {
			require.False(t, expires.IsZero())
			want.expires.At = *expires
		}
		require.Equal(t, want, got)
	})
}

// countMembers returns the number of members in a JSON object. It counts duplicate members
// separately.
func countMembers(t *testing.T, text []byte) (n int) {
	d := json.NewDecoder(bytes.NewReader(text))
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
