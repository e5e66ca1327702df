package tokencli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenapi"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// Standard output must contain the key alone. Otherwise a script that pipes it into a secret store
// stores something else.
func TestKeyIsAloneOnStandardOutput(t *testing.T) {
	t.Parallel()
	p := newProgram(t, tokenauth.Options{})
	created := p.run("create", "--user", "42", "laptop")
	require.NoError(t, created.err)
	require.Regexp(t, `^acme_[0-9A-Za-z]{38}\n$`, created.stdout)
	_, err := p.manager.Authenticate(t.Context(), strings.TrimSpace(created.stdout))
	require.NoError(t, err)

	rotated := p.run("rotate", "--user", "42", "laptop", "--grace", "1h")
	require.NoError(t, rotated.err)
	require.Regexp(t, `^acme_[0-9A-Za-z]{38}\n$`, rotated.stdout)
	for _, key := range []string{created.stdout, rotated.stdout} { // the previous key is still in its grace
		_, err := p.manager.Authenticate(t.Context(), strings.TrimSpace(key))
		require.NoError(t, err)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }

// A key that could not be written must not stay valid. Otherwise a job that repeats the command
// creates more and more tokens.
func TestUnwrittenKeyIsRevoked(t *testing.T) {
	t.Parallel()
	p := newProgram(t, tokenauth.Options{})
	token := p.issue(tokenauth.Spec{UserID: "42", Name: "old"})
	for _, args := range [][]string{
		{"create", "--user", "42", "laptop"},
		{"create", "--user", "42", "laptop", "--json"},
		{"rotate", token.ID, "--yes"},
	} {
		root := p.root()
		root.SetArgs(append([]string{"tokens"}, args...))
		root.SetOut(full{})
		root.SetErr(io.Discard)
		err := root.ExecuteContext(t.Context())
		require.ErrorContains(t, err, "could not be written")
		require.Equal(t, Failed, ExitCode(err))
		live, err := p.manager.List(t.Context(), tokenauth.Query{UserID: "42"})
		require.NoError(t, err)
		require.Len(t, live, 1)
	}
}

var errBroken = errors.New("connection refused")

// A script decides by the exit code whether it repeats the command, gives up, or continues.
func TestExitCodesShowCause(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		want int
	}{
		"done":                    {[]string{"list", "--user", "42"}, 0},
		"help":                    {[]string{"--help"}, 0},
		"key malformed":           {[]string{"check-key"}, Failed},
		"no such command":         {[]string{"lsit"}, Usage},
		"no such flag":            {[]string{"list", "--nobody"}, Usage},
		"too many arguments":      {[]string{"list", "42"}, Usage},
		"too few arguments":       {[]string{"show"}, Usage},
		"list without user":       {[]string{"list"}, Usage},
		"list with both flags":    {[]string{"list", "--user", "42", "--all-users"}, Usage},
		"create without user":     {[]string{"create", "laptop"}, Usage},
		"empty name":              {[]string{"create", "--user", "42", " "}, Usage},
		"unknown scope":           {[]string{"create", "--user", "42", "--scope", "all", "x"}, Usage},
		"expiry malformed":        {[]string{"create", "--user", "42", "--expires", "soon", "x"}, Usage},
		"expiry in the past":      {[]string{"create", "--user", "42", "--expires", "2020-01-01", "x"}, Usage},
		"grace malformed":         {[]string{"rotate", "--user", "42", "laptop", "--grace", "soon"}, Usage},
		"grace negative":          {[]string{"rotate", "--user", "42", "laptop", "--grace", "-1h"}, Usage},
		"grace too long":          {[]string{"rotate", "--user", "42", "laptop", "--grace", "31d"}, Usage},
		"revoke without terminal": {[]string{"revoke", "--user", "42", "laptop"}, Usage},
		"all, without terminal":   {[]string{"revoke", "--user", "42", "--all"}, Usage},
		"revoke all without user": {[]string{"revoke", "--all", "--yes"}, Usage},
		"revoke without token":    {[]string{"revoke", "--yes"}, Usage},
		"revoke a token and all":  {[]string{"revoke", "--user", "42", "laptop", "--all", "--yes"}, Usage},
		"rotate without terminal": {[]string{"rotate", "--user", "42", "laptop"}, Usage},
		"grace 0, no terminal":    {[]string{"rotate", "--user", "42", "laptop", "--grace", "0s"}, Usage},
		"prune without terminal":  {[]string{"prune"}, Usage},
		"prune before malformed":  {[]string{"prune", "--yes", "--before", "long ago"}, Usage},
		"no such ID":              {[]string{"show", "NOBODY"}, NotFound},
		"no such name":            {[]string{"show", "--user", "42", "phone"}, NotFound},
		"a name without user":     {[]string{"show", "laptop"}, NotFound},
		"token of another user":   {[]string{"show", "--user", "43", "laptop"}, NotFound},
		"name taken":              {[]string{"create", "--user", "42", "laptop"}, Conflict},
		"too many tokens":         {[]string{"create", "--user", "42", "third"}, Conflict},
		"rename to a taken name":  {[]string{"rename", "--user", "42", "laptop", "desktop"}, Conflict},
		"rotate an expired token": {[]string{"rotate", "--user", "42", "desktop", "--yes"}, Conflict},
		"store fails":             {[]string{"list", "--user", "42"}, Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProgram(t, tokenauth.Options{Scopes: []string{"orders:read"}, MaxPerUser: 2})
			p.issue(tokenauth.Spec{UserID: "42", Name: "laptop"})
			p.issue(tokenauth.Spec{UserID: "42", Name: "desktop", ExpiresAt: noon.Add(time.Minute)})
			if name == "rotate an expired token" {
				p.now = noon.Add(time.Hour)
			}
			if name == "store fails" {
				store := tokenauthtest.NewStore(p.store)
				store.Fail(errBroken)
				p.manager = p.manager.WithStore(store, nil)
			}
			before, err := p.store.List(t.Context(), tokenauth.Query{AllUsers: true, IncludeRevoked: true})
			require.NoError(t, err)
			got := p.runWith(t.Context(), "no key", c.args...)
			require.Equal(t, c.want, got.code(), "%v\n%s", got.err, got.stderr)
			if got.err != nil {
				require.NotContains(t, got.stderr, "Usage:", "a help page would hide the error")
				after, err := p.store.List(t.Context(), tokenauth.Query{AllUsers: true, IncludeRevoked: true})
				require.NoError(t, err)
				require.Equal(t, before, after)
			}
		})
	}
}

// After Ctrl-C, the command must report which changes may have been made. It must not report that
// the database is down.
func TestInterruptedCommandReportsPossibleChanges(t *testing.T) {
	t.Parallel()
	p := newProgram(t, tokenauth.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, args := range [][]string{{"list", "--all-users"}, {"prune", "--yes"}, {"create", "--user", "42", "x"}} {
		got := p.runWith(ctx, "", args...)
		require.Equal(t, Interrupted, got.code(), got.err)
		require.Equal(t, args[0] == "create", strings.Contains(got.stderr, "may have been made"), got.stderr)
		require.Equal(t, args[0] == "prune", strings.Contains(got.stderr, "possibly more"), got.stderr)
	}
}

// A key that is pasted in the wrong place must not appear in the output, which may go into a log.
// Case X1.
func TestCommandsNeverRepeatKey(t *testing.T) {
	t.Parallel()
	p := newProgram(t, tokenauth.Options{})
	key := strings.TrimSpace(p.run("create", "--user", "42", "laptop").stdout) // the test run fails if other output contains it
	for _, args := range [][]string{{key}, {"check-key", key}, {"show", key}, {"show", "--user", "42", key}, {"list", key}, {"revoke", key, key}} {
		got := p.run(args...)
		require.Error(t, got.err)
		require.NotContains(t, got.stdout+got.stderr, key)
	}
	for _, args := range [][]string{{"check-key"}, {"check-key", "--json"}} {
		got := p.runWith(t.Context(), key+"\r\n", args...)
		require.NoError(t, got.err)
		require.Contains(t, got.stdout, "acme")
		require.NotContains(t, got.stdout+got.stderr, key)
	}
}

// An operator must be able to check the form of a key while the database is down.
func TestCheckKeyNeedsNoDatabase(t *testing.T) {
	t.Parallel()
	p := newProgram(t, tokenauth.Options{})
	for stdin, code := range map[string]int{
		"":                       Failed,
		"acme_short":             Failed,
		strings.Repeat("x", 1e6): Failed,
		"exa_0000000000000000000000000000000000000A": Failed,
	} {
		require.Equal(t, code, p.runWith(t.Context(), stdin, "check-key").code())
	}
	require.JSONEq(t, `{"well_formed": false}`, p.runWith(t.Context(), "x", "check-key", "--json").stdout)
	require.NoError(t, p.run("create", "--help").err)
	require.Zero(t, p.opened)
}

// A command whose options are not set must be absent, instead of failing.
func TestCommandsWithoutOptionsAreAbsent(t *testing.T) {
	t.Parallel()
	p := newProgram(t, tokenauth.Options{})
	for _, name := range []string{"schema", "import"} {
		require.Equal(t, Usage, p.run(name).code())
	}
	require.Panics(t, func() { New(nil, nil) })
}

// A program that reads the JSON of tokenapi must be able to read the JSON of the commands.
func TestJSONEqualsAPI(t *testing.T) {
	t.Parallel()
	p := newProgram(t, tokenauth.Options{})
	require.JSONEq(t, `{"tokens": []}`, p.run("list", "--all-users", "--json").stdout)
	token := p.issue(tokenauth.Spec{UserID: "42", Name: "laptop", Scopes: []string{"a", "b"}, ExpiresAt: noon.Add(time.Hour)})
	p.issue(tokenauth.Spec{UserID: "43", Name: "phone"})
	auth := must.Get(tokenauth.NewAuthenticator(p.manager, func(_ context.Context, id string) (string, error) { return id, nil }, nil))
	api := must.Get(tokenapi.NewStaff(auth, func(*http.Request) (bool, error) { return true, nil }, nil))
	get := func(path string) map[string]any {
		w := httptest.NewRecorder()
		api.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return decoded(t, w.Body.String())
	}
	list := get("/tokens")
	delete(list, "next") // the commands list all pages
	require.Equal(t, list, decoded(t, p.run("list", "--all-users", "--json").stdout))
	require.Equal(t, get("/tokens/"+token.ID+"?user_id=42"), decoded(t, p.run("show", token.ID, "--json").stdout))

	renamed := decoded(t, p.run("rename", token.ID, "desktop", "--json").stdout)
	require.Equal(t, "desktop", renamed["name"])
	created := decoded(t, p.run("create", "--user", "42", "third", "--json").stdout)
	require.Contains(t, created, "key")
	delete(created, "key")
	require.Equal(t, get("/tokens/"+created["id"].(string)+"?user_id=42"), created)
	require.NotNil(t, decoded(t, p.run("revoke", token.ID, "--yes", "--json").stdout)["revoked_at"])
	require.JSONEq(t, `{"revoked": 1}`, p.run("revoke", "--user", "42", "--all", "--yes", "--json").stdout)
	p.now = noon.Add(time.Hour)
	require.JSONEq(t, `{"pruned": 2}`, p.run("prune", "--before", "1m", "--yes", "--json").stdout)
}

func decoded(t testing.TB, text string) (object map[string]any) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(text), &object), text)
	return object
}

// A list must contain every page of tokens. An incomplete list must not be valid JSON.
func TestTruncatedListIsInvalidJSON(t *testing.T) {
	t.Parallel()
	p := newProgram(t, tokenauth.Options{})
	for i := range pageSize + 1 {
		p.issue(tokenauth.Spec{UserID: strconv.Itoa(i), Name: "laptop"})
	}
	require.Len(t, decoded(t, p.run("list", "--all-users", "--json").stdout)["tokens"], pageSize+1)
	require.Equal(t, 1+pageSize+1, strings.Count(p.run("list", "--all-users").stdout, "\n"))

	store := tokenauthtest.NewStore(p.store)
	store.Intercept(func(_ context.Context, _ string, next func() error) error {
		if store.Count("List") > 1 {
			return errBroken
		}
		return next()
	})
	p.manager = p.manager.WithStore(store, nil)
	got := p.run("list", "--all-users", "--json")
	require.Equal(t, Unavailable, got.code())
	require.False(t, json.Valid([]byte(got.stdout)))
}

// A name may equal the ID of another token. The command must then select the token with the ID.
func TestIDTakesPrecedenceOverName(t *testing.T) {
	t.Parallel()
	p := newProgram(t, tokenauth.Options{})
	first := p.issue(tokenauth.Spec{UserID: "42", Name: "laptop"})
	p.issue(tokenauth.Spec{UserID: "42", Name: first.ID})
	require.Equal(t, "laptop", decoded(t, p.run("show", "--user", "42", first.ID, "--json").stdout)["name"])
	require.NoError(t, p.manager.Revoke(t.Context(), "42", first.ID))
	require.NotNil(t, decoded(t, p.run("show", first.ID, "--json").stdout)["revoked_at"], "show must find revoked tokens")
}

// A concurrent rotation comes between the prompt and the reply. The command must not replace the
// key of that rotation.
func TestRotateReplacesOnlyShownKey(t *testing.T) {
	t.Parallel()
	p := newProgram(t, tokenauth.Options{})
	token := p.issue(tokenauth.Spec{UserID: "42", Name: "laptop"})
	inner, store := p.manager, tokenauthtest.NewStore(p.store)
	store.Intercept(func(ctx context.Context, _ string, next func() error) error {
		err := next()
		if len(store.Calls()) > 1 || err != nil {
			return err
		}
		key, _, err := inner.Rotate(ctx, "42", token.ID, time.Hour)
		leak.Default.Secret(key.Reveal())
		return err
	})
	p.manager = inner.WithStore(store, nil)
	require.Equal(t, Conflict, p.run("rotate", token.ID, "--yes").code())
}

// The shell must offer the scopes, tokens and values that exist.
func TestCompletionOffersExistingValues(t *testing.T) {
	t.Parallel()
	p := newProgram(t, tokenauth.Options{Scopes: []string{"orders:write", "orders:read"}})
	p.from(django(t, 1))
	token := p.issue(tokenauth.Spec{UserID: "42", Name: "laptop"})
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"import", "drf", "--source-table", ""}, ""},
		{[]string{"import", "drf", "--scope", ""}, "orders:read\norders:write\n"},
		{[]string{"import", "knox", "--knox-version", ""}, "4\n5\n"},
		{[]string{"create", "--scope", ""}, "orders:read\norders:write\n"},
		{[]string{"create", "--expires", "9"}, "30d\n90d\n365d\nnever\n"},
		{[]string{"rotate", "--grace", ""}, "1h\n1d\n7d\n30d\n"},
		{[]string{"show", "--user", "42", ""}, token.ID + "\tlaptop\n"},
		{[]string{"show", "--user", "42", "x", ""}, ""},
		{[]string{"show", ""}, ""},
		{[]string{"list", "--user", ""}, ""},
	} {
		root := p.root()
		var stdout strings.Builder
		root.SetOut(&stdout)
		root.SetErr(io.Discard)
		root.SetArgs(append([]string{"__complete", "tokens"}, c.args...))
		require.NoError(t, root.ExecuteContext(t.Context()))
		require.Equal(t, c.want+":4\n", stdout.String(), c.args) // 4 tells the shell not to offer files
	}
}

// A key or a DSN that is pasted in the wrong place must not appear in an error, which may go into a
// log. The error must still name a mistyped flag.
// Case X1.
func TestFlagErrorsRepeatNoValue(t *testing.T) {
	t.Parallel()
	p := newProgram(t, tokenauth.Options{})
	for arg, want := range map[string]string{
		"--jsno":                        "unknown flag --jsno",
		"--dns=postgres://u:s3cret@db":  "unknown flag --dns",
		"-dsn=postgres://u:s3cret@db":   "unknown flag; long flags begin with --",
		"--dsnpostgres://u:s3cret@db/x": "unknown flag; long flags begin with --",
		"-s3cret":                       "unknown flag; long flags begin with --",
		"--json=s3cret":                 "--json: malformed value",
		"--=s3cret":                     "malformed flag",
		"-u":                            "--user: the value is missing",
	} {
		got := p.run("list", arg)
		require.Equal(t, Usage, got.code(), arg)
		require.ErrorContains(t, got.err, want)
		require.NotContains(t, got.stdout+got.stderr, "s3cret")
	}
}
