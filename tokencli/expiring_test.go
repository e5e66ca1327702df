package tokencli

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
)

// A weekly job mails the tokens that will expire. A token whose expiry has passed, or that the
// service refuses for another reason, would only hide them.
func TestListExpiringSelectsTokens(t *testing.T) {
	t.Parallel()
	p := newProgram(t, tokenauth.Options{IdleTimeout: 30 * day})
	in := func(days int) time.Time { return noon.AddDate(0, 0, days) }
	p.issue(tokenauth.Spec{UserID: "42", Name: "idle", ExpiresAt: in(45)})
	p.now = in(31)
	p.issue(tokenauth.Spec{UserID: "42", Name: "expired", ExpiresAt: in(32)})
	p.issue(tokenauth.Spec{UserID: "42", Name: "soon", ExpiresAt: in(45)})
	p.issue(tokenauth.Spec{UserID: "43", Name: "soon, too", ExpiresAt: in(46).Add(-time.Second)})
	p.issue(tokenauth.Spec{UserID: "42", Name: "later", ExpiresAt: in(46)})
	p.issue(tokenauth.Spec{UserID: "42", Name: "never"})
	revoked := p.issue(tokenauth.Spec{UserID: "42", Name: "revoked", ExpiresAt: in(45)})
	require.NoError(t, p.manager.Revoke(t.Context(), "42", revoked.ID))
	p.now = in(32)
	require.Equal(t, []string{"soon", "soon, too"}, p.names("list", "--all-users", "--expiring", "14d"))
	require.Equal(t, []string{"soon"}, p.names("list", "--user", "42", "--expiring", "2w"))
	require.Equal(t, []string{}, p.names("list", "--user", "42", "--expiring", "2w", "--created-by", "login"))
	got := p.run("list", "--all-users", "--expiring", "14d")
	require.NoError(t, got.err)
	require.Empty(t, got.stderr)
	require.Equal(t, 3, strings.Count(got.stdout, "\n"))

	// cron sends a mail if a job prints anything.
	require.Equal(t, output{}, p.run("list", "--all-users", "--expiring", "1h"))
	require.Equal(t, output{stdout: `{"tokens":[]}` + "\n"}, p.run("list", "--all-users", "--expiring", "1h", "--json"))

	for _, c := range []struct {
		flags []string
		want  string
	}{
		{[]string{"--expiring", "soon"}, "--expiring: must be a duration, such as 90d, 2w or 12h"},
		{[]string{"--expiring", "-1h"}, "--expiring: must be a duration, such as 90d, 2w or 12h"},
		{[]string{"--expiring", "0d"}, "--expiring: must be longer than 0"},
		{[]string{"--expiring", "14d", "--revoked"}, "--expiring lists only live tokens, so it cannot be combined with --revoked"},
	} {
		got := p.run(append([]string{"list", "--all-users"}, c.flags...)...)
		require.Equal(t, Usage, got.code(), c.flags)
		require.EqualError(t, got.err, c.want)
	}
}

// A page that has only expired tokens must not end the list.
func TestListExpiringContinuesAfterExpiredTokens(t *testing.T) {
	t.Parallel()
	p := newProgram(t, tokenauth.Options{})
	for i := range pageSize {
		p.issue(tokenauth.Spec{UserID: strconv.Itoa(i), Name: "expired", ExpiresAt: noon.Add(time.Hour)})
	}
	p.now = noon.Add(time.Hour)
	p.issue(tokenauth.Spec{UserID: "42", Name: "soon", ExpiresAt: noon.Add(2 * time.Hour)})
	require.Regexp(t, `^ID .*\n.*  soon  .*\n$`, p.run("list", "--all-users", "--expiring", "1d").stdout)
	require.Equal(t, []string{"soon"}, p.names("list", "--all-users", "--expiring", "1d"))
}

// The list must warn about the same tokens as the page and the API.
func TestListMarksTokensThatExpireSoon(t *testing.T) {
	t.Parallel()
	p := newProgram(t, tokenauth.Options{})
	for _, c := range []struct {
		lifetime, left time.Duration
		want           style
	}{
		{90 * day, 6 * day, yellow},
		{90 * day, 8 * day, plain},
		{8 * day, 3 * day, plain}, // in the last 7 days, but not in the last quarter
		{8 * day, day, yellow},
		{8 * day, 0, red},
	} {
		p.now = noon
		token := p.issue(tokenauth.Spec{UserID: "42", Name: c.lifetime.String() + c.left.String(), ExpiresAt: noon.Add(c.lifetime)})
		p.now = noon.Add(c.lifetime - c.left)
		listing := &tableListing{c: &cli{options: Options{Now: p.clock}}, m: p.manager}
		row := listing.row(&token)
		require.Equal(t, c.want, row[len(row)-1].style, c)
	}
}
