package tokencli

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
)

// A name may contain control characters. It must neither hide another token from the operator nor
// move the cursor of the terminal.
func TestTableEscapesControlCharacters(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"laptop":       "laptop",
		"名前":           "名前",
		"👩\u200d💻":     "👩\u200d💻",
		"a\nb":         `a\u000ab`,
		"a\tb":         `a\u0009b`,
		"\x1b[2J":      `\u001b[2J`,
		"\u009b2J":     `\u009b2J`,
		"a\u202eb":     `a\u202eb`,
		"a\u200bb":     `a\u200bb`,
		"a\u2028b":     `a\u2028b`,
		"\U000e0041":   `\U000e0041`,
		"a\u3164":      `a\u3164`,
		"a\xffb":       `a\xffb`,
		"a\ufffdb":     "a\ufffdb",
		"a\u00a0b \\n": "a\u00a0b \\n",
	} {
		require.Equal(t, want, visible(text))
		var out bytes.Buffer
		table := table{out: &out, colored: true}
		require.NoError(t, table.write([]cell{{text, red}, {"x", plain}}))
		require.Equal(t, "\x1b[31m"+want+"\x1b[0m  x\n", out.String())
	}
}

// The columns of a list must be aligned, whatever characters the names contain.
func TestTableAlignsWideCharacters(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	table := table{out: &out}
	require.NoError(t, table.write(
		[]cell{{"NAME", bold}, {"SCOPES", bold}, {"KEY", bold}},
		[]cell{{"名前", plain}, {"", plain}, {"…x7Qf", plain}},
		[]cell{{"naïve", plain}, {"a b", plain}, {"", plain}},
		[]cell{{"e\u0301", plain}, {"a", plain}, {"…x7Qf", plain}}, // two code points
	))
	require.NoError(t, table.write([]cell{{"x", plain}, {"longer than all", plain}, {"…x7Qf", plain}}))
	require.Equal(t, strings.Join([]string{
		"NAME   SCOPES  KEY",
		"名前           …x7Qf",
		"naïve  a b",
		"e\u0301      a       …x7Qf",
		"x      longer than all  …x7Qf", // written by a later call
		"",
	}, "\n"), out.String())
}

// A cell must not become wider than its column, whatever characters it contains.
func TestCutCountsColumns(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"": "", "12345": "12345", "123456": "1234…", "名前名前": "名前…", "a名前名前": "a名…"} {
		require.Equal(t, want, cut(text, 5))
	}
}

// An operator must see the tokens of a user, and with --revoked the revoked tokens too.
func TestListShowsTokens(t *testing.T) {
	t.Parallel()
	p := newProgram(t, tokenauth.Options{})
	at := func(days int) time.Time { return noon.AddDate(0, 0, days) }
	first := p.issue(tokenauth.Spec{UserID: "42", Name: "laptop", Scopes: []string{"orders:read"}, ExpiresAt: at(3)})
	p.now = at(1)
	second := p.issue(tokenauth.Spec{UserID: "42", Name: "名前", ExpiresAt: at(31)})
	third := p.issue(tokenauth.Spec{UserID: "43", Name: "phone"})
	p.now = at(4)
	require.NoError(t, p.manager.Revoke(t.Context(), "43", third.ID))
	want := "ID                          NAME    SCOPES       RESOURCES  KEY    CREATED     LAST USED  EXPIRES\n" +
		first.ID + "  laptop  orders:read  all        …" + first.Hint + "  4 days ago  never      24 hours ago\n" +
		second.ID + "  名前                 all        …" + second.Hint + "  3 days ago  never      in 27 days\n"
	require.Equal(t, want, p.run("list", "--user", "42").stdout)
	require.Equal(t, output{stderr: "No tokens.\n"}, p.run("list", "--user", "43"))
	want = "ID                          USER  NAME    SCOPES       RESOURCES  KEY    CREATED     LAST USED  EXPIRES       REVOKED\n" +
		first.ID + "  42    laptop  orders:read  all        …" + first.Hint + "  4 days ago  never      24 hours ago\n" +
		second.ID + "  42    名前                 all        …" + second.Hint + "  3 days ago  never      in 27 days\n" +
		third.ID + "  43    phone                all        …" + third.Hint + "  3 days ago  never      never         now\n"
	got := p.run("list", "--all-users", "--revoked").stdout
	require.Equal(t, lines(want), lines(got)) // in any order, because two tokens have the same time of creation
}

// After a rotation, an operator must see in the list how long clients may still use the previous
// key.
func TestListShowsEndOfPreviousKey(t *testing.T) {
	t.Parallel()
	p := newProgram(t, tokenauth.Options{})
	token := p.issue(tokenauth.Spec{UserID: "42", Name: "laptop", ExpiresAt: noon.AddDate(0, 0, 9)})
	p.run("rotate", token.ID, "--grace", "24h")
	for days, want := range map[int]bool{0: true, 1: false, 10: false} {
		p.now = noon.AddDate(0, 0, days)
		require.Equal(t, want, strings.Contains(p.run("list", "--user", "42").stdout, "(previous ends in 24 hours)"), days)
	}
	require.NoError(t, p.manager.Revoke(t.Context(), "42", token.ID))
	p.now = noon
	require.NotContains(t, p.run("list", "--user", "42", "--revoked").stdout, "previous")
}

func lines(text string) map[string]bool {
	all := map[string]bool{}
	for line := range strings.Lines(text) {
		all[line] = true
	}
	return all
}

// An operator must see every field of a token.
func TestShowPrintsEveryField(t *testing.T) {
	t.Parallel()
	p := newProgram(t, tokenauth.Options{Resources: projects})
	token := p.issue(tokenauth.Spec{UserID: "42", Name: "laptop", Scopes: []string{"a", "b"}, ExpiresAt: noon.AddDate(0, 0, 90)})
	p.now = noon.Add(3 * time.Hour)
	require.Equal(t, "ID          "+token.ID+`
User        42
Name        laptop
Scopes      a b
Resources   all
Key         …`+token.Hint+`
Generation  1
Created     2026-03-01 12:00:00 UTC (3 hours ago)
Last used   never
Expires     2026-05-30 12:00:00 UTC (in 90 days)
`, p.run("show", token.ID).stdout)

	ctx := tokenauth.ContextWithActor(t.Context(), "user:\u202e42")
	key, token, err := p.manager.Issue(ctx, tokenauth.Spec{UserID: "42", Name: "phone", Resources: []string{"p2", "p1"}})
	require.NoError(t, err)
	leak.Default.Secret(key.Reveal())
	require.NoError(t, p.run("rotate", token.ID, "--grace", "24h").err)
	rest := "Last used|Expires|ID|User|Name|Key|Generation|Created  "
	fields := func() string {
		return regexp.MustCompile("(?m)^("+rest+").*\n").ReplaceAllString(p.run("show", token.ID).stdout, "")
	}
	require.Equal(t, `Resources                 p1 p2
Previous key works until  2026-03-02 15:00:00 UTC (in 24 hours)
Created by                user:\u202e42
`, fields())
	p.now = p.now.Add(24 * time.Hour)
	require.NotContains(t, fields(), "Previous key", "the previous key no longer works")
	require.NoError(t, p.run("revoke", token.ID, "--yes").err)
	require.Regexp(t, `(?m)^Revoked +2026-03-02 15:00:00 UTC \(now\)\nRevoked by +cli$`, fields())
}
