package tokencli

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// During the grace, a leaked key still works. If an operator sets a grace that is too long, the
// command must change nothing, and its error must show the limit in the format of the flag.
func TestRotateRefusesGraceAboveLimit(t *testing.T) {
	t.Parallel()
	for limit, c := range map[time.Duration]struct{ long, shown string }{
		0:                {"721h", "30d"},
		36 * time.Hour:   {"2d", "36h"},
		90 * time.Minute: {"91m", "1h30m"},
		10 * time.Minute: {"292y", ""}, // y is not a unit
		time.Second:      {"200000d", ""},
	} {
		p := newProgram(t, tokenauth.Options{MaxGrace: limit})
		token := p.issue(tokenauth.Spec{UserID: "42", Name: "laptop"})
		got := p.run("rotate", token.ID, "--grace", c.long)
		require.Equal(t, Usage, got.code())
		if c.shown != "" {
			require.EqualError(t, got.err, "--grace: must not be longer than "+c.shown)
			require.NoError(t, p.run("rotate", token.ID, "--grace", c.shown).err)
		}
	}
	var offered strings.Builder
	root := newProgram(t, tokenauth.Options{MaxGrace: 36 * time.Hour}).root()
	root.SetOut(&offered)
	root.SetArgs([]string{"__complete", "tokens", "rotate", "--grace", ""})
	require.NoError(t, root.ExecuteContext(t.Context()))
	require.Equal(t, "1h\n1d\n36h\n:4\n", offered.String(), "the shell must offer no grace above the limit")
	require.Contains(t, newProgram(t, tokenauth.Options{}).run("rotate", "--help").stdout, "at most 30d")
}

// A service refuses an idle token like an expired one. A list must mark the token as idle.
func TestListShowsIdleTokens(t *testing.T) {
	t.Parallel()
	p := newProgram(t, tokenauth.Options{IdleTimeout: 24 * time.Hour})
	p.issue(tokenauth.Spec{UserID: "42", Name: "laptop"})
	require.Regexp(t, `never\n$`, p.run("list", "--user", "42").stdout)
	p.now = noon.Add(24 * time.Hour)
	require.Regexp(t, `unused for too long\n$`, p.run("list", "--user", "42").stdout)
	idle, err := p.manager.List(t.Context(), tokenauth.Query{UserID: "42"})
	require.NoError(t, err)
	listing := &tableListing{c: &cli{options: Options{Now: p.clock}}, m: p.manager}
	require.Contains(t, listing.row(&idle[0]), cell{"unused for too long", red})
	require.Regexp(t, `Expires +unused for too long\n`, p.run("show", "--user", "42", "laptop").stdout)
}

// A command that made a change must report the change, even if a later call of the store fails.
// Otherwise, an operator would assume that the tokens are live.
func TestFailedCommandReportsItsChanges(t *testing.T) {
	t.Parallel()
	for method, c := range map[string]struct {
		args []string
		want string
	}{
		"List":      {[]string{"revoke", "--user", "42", "laptop", "--yes", "--json"}, "the token is revoked, but reading it failed"},
		"RevokeAll": {[]string{"revoke", "--user", "42", "--all", "--yes"}, "Revoked 2 tokens of user 42, possibly more."},
	} {
		p := newProgram(t, tokenauth.Options{})
		p.issue(tokenauth.Spec{UserID: "42", Name: "laptop"})
		p.issue(tokenauth.Spec{UserID: "42", Name: "desktop"})
		store := tokenauthtest.NewStore(p.store)
		changed := false
		store.Intercept(func(_ context.Context, called string, next func() error) error {
			if changed && called == method {
				return errBroken
			}
			changed = changed || called == "Revoke" || called == "RevokeAll"
			return next()
		})
		p.manager = p.manager.WithStore(store, nil)
		got := p.run(c.args...)
		require.Equal(t, Unavailable, got.code(), method)
		require.Contains(t, got.stderr, c.want, method)
	}
}
