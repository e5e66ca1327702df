package systemtest_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// A drfRequest is the HTTP request for one row of the table in docs/compared-with-drf.md. The field
// row is the first cell of that row, and lines are the header lines of the request. An empty method
// means GET, and an empty path means /me/.
type drfRequest struct {
	row, method, path, lines string
}

// authorized returns a request with one Authorization line that has the given value. In value, KEY
// stands for an imported key. UPPER stands for this key in upper case, and SHORT for this key
// without its last character. INACTIVE stands for the imported key of a user who may not sign in.
func authorized(row, value string) drfRequest {
	return drfRequest{row, "", "", "Authorization: " + value + "\r\n"}
}

const (
	validLine   = "Authorization: Token KEY\r\n"
	unknownLine = "Authorization: Token 0123456789abcdef0123456789abcdef01234567\r\n"
)

var drfRequests = []drfRequest{
	{"no header", "", "", ""},
	authorized("empty header value", ""),
	authorized("`Token` alone", "Token"),
	authorized("`Token` + 3 spaces (raw)", "Token   "),
	authorized("`Token a b`", "Token a b"),
	authorized("`Token KEY KEY`", "Token KEY KEY"),
	authorized("`Token KEY` (valid)", "Token KEY"),
	authorized("`token KEY`", "token KEY"),
	authorized("`TOKEN KEY`", "TOKEN KEY"),
	authorized("`tOkEn KEY`", "tOkEn KEY"),
	authorized("`TokenKEY` (no space)", "TokenKEY"),
	authorized("`Token: KEY`", "Token: KEY"),
	authorized("`Token=KEY`", "Token=KEY"),
	authorized("`Token \"KEY\"` (quoted)", `Token "KEY"`),
	authorized("`KEY` alone", "KEY"),
	authorized("`Bearer KEY`", "Bearer KEY"),
	authorized("`Basic YWxpY2U6d29uZGVybGFuZA==`", "Basic YWxpY2U6d29uZGVybGFuZA=="),
	{"unknown key (40 hex)", "", "", unknownLine},
	authorized("valid key in UPPER case", "Token UPPER"),
	authorized("valid key, last character missing", "Token SHORT"),
	authorized("valid key of an inactive user", "Token INACTIVE"),
	authorized("SQL-ish key `'--`", "Token '--"),
	authorized("key with `%00` literally", "Token KEY%00"),
	authorized("key + valid UTF-8 (C2 B8)", "Token KEY\xc2\xb8"),
	authorized("key + invalid UTF-8 (B8)", "Token KEY\xb8"),
	authorized("key + C2 A0 (UTF-8 no-break space) (raw)", "Token KEY\xc2\xa0"),
	authorized("`Token` C2 A0 `KEY` (raw)", "Token\xc2\xa0KEY"),
	authorized("key + trailing NUL (raw)", "Token KEY\x00"),
	authorized("NUL inside key (raw)", "Token 0123\x004567"),
	authorized("vertical tab as separator, 0B (raw)", "Token\x0bKEY"),
	authorized("form feed as separator, 0C (raw)", "Token\x0cKEY"),
	authorized("0x1F as separator (raw)", "Token\x1fKEY"),
	authorized("DEL after the key, 7F (raw)", "Token KEY\x7f"),
	authorized("bare CR inside (raw)", "Token KEY\rKEY"),
	authorized("tab as separator", "Token\tKEY"),
	authorized("two spaces as separator", "Token  KEY"),
	authorized("trailing spaces + tab (raw)", "Token KEY  \t"),
	authorized("leading spaces + tab (raw)", "  \tToken KEY"),
	authorized("folded line (raw)", "Token\r\n KEY"),
	authorized("key of 1000 characters", "Token "+strings.Repeat("a", 1000)),
	authorized("key of 8000 characters", "Token "+strings.Repeat("a", 8000)),
	authorized("key of 8160 characters", "Token "+strings.Repeat("a", 8160)),
	authorized("key of 9000 characters", "Token "+strings.Repeat("a", 9000)),
	authorized("key of 70000 characters", "Token "+strings.Repeat("a", 70000)),
	{"two headers, valid + valid", "", "", validLine + validLine},
	{"two headers, valid + unknown", "", "", validLine + unknownLine},
	{"two headers, `Basic x` + valid", "", "", "Authorization: Basic x\r\n" + validLine},
	{"two headers, empty + valid (raw)", "", "", "Authorization:\r\n" + validLine},
	authorized("`Token KEY, Token KEY` in one header", "Token KEY, Token KEY"),
	{"header name `authorization`", "", "", "authorization: Token KEY\r\n"},
	{"header name `Authorization ` with a space (raw)", "", "", "Authorization : Token KEY\r\n"},
	{"key in the query, `?token=KEY`", "", "/me/?token=KEY", ""},
	{"`X-Api-Key: KEY`", "", "", "X-Api-Key: KEY\r\n"},
	{"HEAD, no header", "HEAD", "", ""},
	{"HEAD, valid", "HEAD", "", validLine},
	{"OPTIONS, no header", "OPTIONS", "", ""},
	{"OPTIONS, unknown key", "OPTIONS", "", unknownLine},
	{"OPTIONS, valid", "OPTIONS", "", validLine},
	{"POST (not offered), no header", "POST", "", ""},
	{"POST (not offered), valid", "POST", "", validLine},
	{"`Accept: text/html`, no header", "", "", "Accept: text/html\r\n"},
	{"`Accept-Language: de`, unknown key", "", "", "Accept-Language: de\r\n" + unknownLine},
	{"view without permissions `/open/`, no header", "", "/open/", ""},
	{"view without permissions `/open/`, unknown key", "", "/open/", unknownLine},
	{"view without permissions `/open/`, `Token` alone", "", "/open/", "Authorization: Token\r\n"},
	{"view without permissions `/open/`, `Bearer x`", "", "/open/", "Authorization: Bearer x\r\n"},
	{"view without permissions `/open/`, inactive user's key", "", "/open/", "Authorization: Token INACTIVE\r\n"},
	{"`/bare/` (plain Django view), unknown key", "", "/bare/", unknownLine},
}

func (d drfRequest) bytes() string {
	method, path := "GET", "/me/"
	if d.method != "" {
		method = d.method
	}
	if d.path != "" {
		path = d.path
	}
	key := fixture.HexKey("compared with DRF")
	text := strings.NewReplacer(
		"KEY", key, "UPPER", strings.ToUpper(key), "SHORT", key[:39], "INACTIVE", fixture.HexKey("inactive"),
	).Replace(path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + d.lines)
	return method + " " + text + "\r\n"
}

// newDRFService starts a server that uses this library, and returns its address. The server has the
// same routes as the Django REST Framework (DRF) service in docs/compared-with-drf.md.
func newDRFService(t *testing.T) string {
	m := fixture.NewLegacyManager(tokenauth.NewMemoryStore(), fixture.DRF)
	fixture.ImportKey(t, m, "drf", fixture.HexKey("compared with DRF"))
	_, err := m.Import(t.Context(), tokenauth.ImportSpec{
		UserID: "inactive", Name: "n", Origin: "drf", Digest: tokenauth.DigestOf(fixture.HexKey("inactive")),
	})
	require.NoError(t, err)
	auth := must.Get(tokenauth.NewAuthenticator(m, func(_ context.Context, id string) (*fixture.User, error) {
		if id == "inactive" {
			return nil, tokenauth.ErrNoUser
		}
		return &fixture.User{ID: id}, nil
	}, nil))
	me := http.NewServeMux()
	me.Handle("GET /me/", fixture.Whoami)
	me.Handle("OPTIONS /me/", fixture.Whoami)
	mux := http.NewServeMux()
	mux.Handle("/me/", auth.Require(me))
	mux.Handle("/open/", auth.Optional(fixture.Whoami))
	mux.Handle("/bare/", fixture.Whoami)
	return fixture.NewServer(t, mux)
}

// docs/compared-with-drf.md lists the responses that clients get after a service has moved from
// Django REST Framework to this library. For every table row, the test sends the request to a
// server and compares the response with the row.
func TestResponsesMatchComparisonWithDRF(t *testing.T) {
	t.Parallel()
	rows := tableOf(t, "../../docs/compared-with-drf.md", "request")
	address := newDRFService(t)
	for _, row := range rows {
		i := slices.IndexFunc(drfRequests, func(d drfRequest) bool { return d.row == row[0] })
		require.GreaterOrEqual(t, i, 0, "drfRequests has no request for the table row %s", row[0])
		resp, body := fixture.Raw(t, address, drfRequests[i].bytes())
		require.Equal(t, row[2], hereOf(t, resp, body), row[0])
		require.Equal(t, row[3], relationOf(t, row[1], resp.StatusCode), row[0])
		require.True(t, row[3] == "same" || row[4] != "", "table row %s: a response that differs from DRF needs a reason in the column \"why\"", row[0])
	}
	require.Len(t, rows, len(drfRequests))
}

// hereOf returns the text that the table column "here" must contain for the response resp. It also
// requires everything that docs/compared-with-drf.md says about the responses to rejected requests.
func hereOf(t *testing.T, resp *http.Response, body string) string {
	t.Helper()
	here := strconv.Itoa(resp.StatusCode)
	challenges := resp.Header.Values("WWW-Authenticate")
	switch {
	case resp.StatusCode == 405 || resp.StatusCode < 400:
		require.Empty(t, challenges)
		return here
	case len(challenges) == 0:
		return here + " by net/http"
	}
	require.Len(t, challenges, 2)
	require.True(t, strings.HasPrefix(challenges[1], `Token realm="`))
	require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
	require.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"))
	code := fixture.Challenge(t, challenges[1])["error"]
	if resp.Request.Method != http.MethodHead {
		var p fixture.Problem
		require.NoError(t, json.Unmarshal([]byte(body), &p))
		require.Equal(t, code == "", p.Detail == "Authentication credentials were not provided.")
		require.NotEmpty(t, p.Detail)
		require.NotEmpty(t, p.Title)
		require.Equal(t, resp.StatusCode, p.Status)
	}
	return strings.TrimSpace(here + " " + code)
}

func relationOf(t *testing.T, django string, here int) string {
	t.Helper()
	there, err := strconv.Atoi(django[:3])
	require.NoError(t, err)
	switch {
	case there == here:
		return "same"
	case there < 400 && here >= 400:
		return "stricter"
	}
	return "different"
}

// tableOf reads the Markdown file page. It returns the rows of every table in the file whose first
// column has the heading first.
func tableOf(t *testing.T, page, first string) (rows [][]string) {
	t.Helper()
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	inside := false
	for _, line := range strings.Split(string(text), "\n") {
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case !strings.HasPrefix(line, "|"):
			inside = false
		case cells[0] == first:
			inside = true
		case inside && !strings.HasPrefix(line, "|--"):
			rows = append(rows, cells)
		}
	}
	require.NotEmpty(t, rows)
	return rows
}
