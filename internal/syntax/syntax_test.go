package syntax_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/internal/syntax"
)

// UserID must accept every ID that all supported databases store unchanged.
// Case S22.
func TestUserIDAcceptsWhatAllDatabasesStore(t *testing.T) {
	t.Parallel()
	for _, id := range []string{
		"1", "0", "-1", " 1 ", "org:7", "a@b", "00000000-0000-4000-8000-000000000000", "é", "\u202e", "'; DROP TABLE tokens;--",
		"%", strings.Repeat("a", 255), strings.Repeat("é", 127),
	} {
		require.NoError(t, syntax.UserID(id), "%q", id)
	}
	for what, id := range map[string]string{
		"empty": "", "256 bytes": strings.Repeat("a", 256), "256 bytes, 128 characters": strings.Repeat("é", 128),
		"NUL": "a\x00", "line feed": "1\n", "tab": "1\t2", "DEL": "\x7f", "C1 control": "\u0080", "invalid UTF-8": "\xff", "half": "é"[:1],
	} {
		err := syntax.UserID(id)
		require.Error(t, err, what)
		require.True(t, id == "" || !strings.Contains(err.Error(), id), "%s: the error must not contain the refused text", what)
	}
}

var goodScopes = []string{
	"a", "read", "Read", "read:all", "repo:*", "*", "https://x/y?z=1", "!", "~", "[", "]", "#", strings.Repeat("a", 128),
}

var badScopes = map[string]string{ // scopes that RFC 6749 section 3.3 or the length limit forbids
	"empty": "", "space": "a b", "leading space": " a", "only a space": " ", "quote": `a"b`, "backslash": `a\b`, "tab": "a\tb",
	"NUL": "a\x00", "line feed": "a\n", "DEL": "a\x7f", "not ASCII": "é", "invalid UTF-8": "\xff", "129 characters": strings.Repeat("a", 129),
}

// Scopes are written to response headers. In the database, a column holds the scopes of a token,
// separated by spaces. Scopes must refuse a scope that cannot be stored in these formats.
// Case P4.
func TestScopesRefusesWhatHeadersCannotHold(t *testing.T) {
	t.Parallel()
	got, err := syntax.Scopes(goodScopes, nil)
	require.NoError(t, err)
	require.Equal(t, slices.Sorted(slices.Values(goodScopes)), got)
	for what, scope := range badScopes {
		got, err := syntax.Scopes([]string{"a", scope}, nil)
		require.Error(t, err, what)
		require.Nil(t, got, what)
		require.Error(t, syntax.Scope(scope), what)
	}
}

// Scopes must return the same result for two lists of the same scopes, even if the lists have
// another order or duplicates. It must limit the number of scopes.
// Cases P4, P5.
func TestScopesFormLimitedSet(t *testing.T) {
	t.Parallel()
	given := []string{"b", "a", "b", "a", "B"}
	got, err := syntax.Scopes(given, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"B", "a", "b"}, got)
	require.Equal(t, []string{"b", "a", "b", "a", "B"}, given, "Scopes must not change the caller's slice")
	for _, none := range [][]string{nil, {}} {
		got, err := syntax.Scopes(none, []string{})
		require.NoError(t, err)
		require.Nil(t, got)
	}

	many := make([]string, 10_000)
	for i := range many {
		many[i] = strings.Repeat("a", i%101+1)
	}
	_, err = syntax.Scopes(many[:100], nil)
	require.NoError(t, err)
	_, err = syntax.Scopes(many[:101], nil)
	require.Error(t, err, "Scopes must refuse 101 scopes")
	_, err = syntax.Scopes(many, nil)
	require.Error(t, err, "Scopes must refuse 10,000 scopes")
}

// Scopes must refuse an unknown scope when a token is created. Otherwise a token with a mistyped
// scope would be issued, and requests with its key would get status 403.
func TestScopesRefusesUnknownScope(t *testing.T) {
	t.Parallel()
	known := []string{"read", "write"}
	got, err := syntax.Scopes([]string{"write", "read"}, known)
	require.NoError(t, err)
	require.Equal(t, []string{"read", "write"}, got)
	for _, scope := range []string{"reads", "rea", "Read", "*", "read:all"} {
		_, err := syntax.Scopes([]string{"read", scope}, known)
		require.Error(t, err, scope)
	}
}

// Callers pass a token ID from a URL to the database only if IsWord accepts it. For other IDs, some
// databases return an error, and the client would get status 503 instead of 404.
// Case S11.
func TestIsWordAcceptsLettersDigitsAndDashes(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"a", "0", "A-Z_9", "-", strings.Repeat("a", 64)} {
		require.True(t, syntax.IsWord(s), s)
	}
	for _, s := range []string{"", " a", "a\n", "a.b", "a/b", "a%", "'", "１", "é", "\x00", "\xff", strings.Repeat("a", 65)} {
		require.False(t, syntax.IsWord(s), "%q", s)
	}
}

// IsQuotable must accept printable ASCII except the quotation mark and the backslash. It must
// refuse every other byte.
// Case H20.
func TestIsQuotableRefusesQuotesAndControls(t *testing.T) {
	t.Parallel()
	require.True(t, syntax.IsQuotable(""))
	for i := range 256 {
		c := byte(i)
		want := c >= ' ' && c <= '~' && c != '"' && c != '\\'
		require.Equal(t, want, syntax.IsQuotable(string([]byte{'a', c, 'b'})), "%#x", i)
	}
}

// FuzzScopes checks that accepted scopes are unchanged after they are joined with spaces and split
// again. It also checks that Scopes accepts its own results and returns them unchanged.
func FuzzScopes(f *testing.F) {
	f.Add(strings.Join(goodScopes, " "))
	for _, scope := range badScopes {
		f.Add("a " + scope)
	}
	f.Fuzz(func(t *testing.T, list string) {
		scopes := strings.Split(list, " ")
		kept, err := syntax.Scopes(scopes, nil)
		if err != nil {
			require.Nil(t, kept)
			return
		}
		require.Subset(t, scopes, kept)
		require.Subset(t, kept, scopes)
		require.Equal(t, kept, strings.Split(strings.Join(kept, " "), " "))
		again, err := syntax.Scopes(kept, nil)
		require.NoError(t, err)
		require.Equal(t, kept, again)
	})
}
