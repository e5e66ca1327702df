package tokencli

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
)

// projects returns the resources of a service. Only user 42 has any.
func projects(_ context.Context, userID string) ([]tokenauth.Resource, error) {
	switch userID {
	case "42":
		return []tokenauth.Resource{{ID: "p1", Label: "Web shop"}, {ID: "p2", Label: "\x1b[2J"}, {ID: "p3"}, {ID: "p" + strings.Repeat("4", 50)}}, nil
	case "broken":
		return []tokenauth.Resource{{ID: "p1"}}, errBroken
	}
	return nil, nil
}

// A token for one project must not work for the other projects of its user. Without --resource, the
// token works for all projects. An unknown resource is most likely a typing error, so the command
// must not create a token.
func TestCreateRestrictsTokenToResources(t *testing.T) {
	t.Parallel()
	p := newProgram(t, tokenauth.Options{Resources: projects})
	for name, c := range map[string]struct {
		flags []string
		want  any
	}{
		"all":      {nil, nil},
		"one":      {[]string{"--resource", "p1"}, []any{"p1"}},
		"repeated": {[]string{"--resource", "p3", "--resource", "p1"}, []any{"p1", "p3"}},
		"spaces":   {[]string{"--resource", "p1 p2"}, []any{"p1", "p2"}},
	} {
		got := p.run(append([]string{"create", "--user", "42", name, "--json"}, c.flags...)...)
		require.NoError(t, got.err, name)
		require.Equal(t, c.want, decoded(t, got.stdout)["resources"], name)
	}
	for _, flags := range [][]string{{"42", "--resource", "p5"}, {"42", "--resource", "p1", "--resource", "p5"}, {"43", "--resource", "p1"}} {
		got := p.run(append([]string{"create", "refused", "--user"}, flags...)...)
		require.Equal(t, Usage, got.code(), flags)
		require.EqualError(t, got.err, "resources must not contain an unknown resource")
	}
	got := newProgram(t, tokenauth.Options{}).run("create", "--user", "42", "refused", "--resource", "p1")
	require.Equal(t, Usage, got.code())
	require.EqualError(t, got.err, "resources must not be set, because the service offers none")
	require.Equal(t, Unavailable, p.run("create", "--user", "broken", "refused", "--resource", "p1").code())
	require.Equal(t, []string{"all", "one", "repeated", "spaces"}, p.names("list", "--all-users"))
}

// An operator must see which tokens work for all resources. A long list of resources must not push
// the other columns off the terminal.
func TestListShowsResources(t *testing.T) {
	t.Parallel()
	p := newProgram(t, tokenauth.Options{Resources: projects})
	long := "p" + strings.Repeat("4", 50)
	for name, c := range map[string]struct {
		resources []string
		want      string
	}{
		"all":  {nil, "all"},
		"few":  {[]string{"p1", "p2"}, "p1 p2"},
		"many": {[]string{long}, long[:39] + "…"},
	} {
		p.issue(tokenauth.Spec{UserID: "42", Name: name, Resources: c.resources})
		require.Regexp(t, "  "+name+" +"+c.want+" +…....  ", p.run("list", "--user", "42").stdout)
	}
}

// The shell must offer the resources of the user, and no control character of a label. It must not
// hang, and must not offer the resources of nobody.
func TestCompletionOffersResources(t *testing.T) {
	t.Parallel()
	for user, want := range map[string]string{
		"42":     "p1\tWeb shop\np2\t\\u001b[2J\np3\np" + strings.Repeat("4", 50) + "\n:4\n",
		"43":     ":4\n",
		"broken": ":4\n",
		"":       ":4\n",
		"7":      ":4\n",
	} {
		p := newProgram(t, tokenauth.Options{
			CheckUserID: func(id string) error {
				if id == "7" {
					return errors.New("must not be 7")
				}
				return nil
			},
			Resources: func(ctx context.Context, userID string) ([]tokenauth.Resource, error) {
				require.NotContains(t, []string{"", "7"}, userID, "the function of the service expects a valid user ID")
				_, limited := ctx.Deadline()
				require.True(t, limited)
				return projects(ctx, userID)
			},
		})
		var stdout strings.Builder
		root := p.root()
		root.SetOut(&stdout)
		root.SetErr(io.Discard)
		root.SetArgs([]string{"__complete", "tokens", "create", "--user", user, "--resource", ""})
		require.NoError(t, root.ExecuteContext(t.Context()))
		require.Equal(t, want, stdout.String(), user)
	}
}
