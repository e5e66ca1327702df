package tokencli

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// After an incident, the events and the tokens must tell who made each change: the commands, or the
// operator that the program names.
func TestCommandsNameActor(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{"": "cli", "staff:7": "staff:7"} {
		var events fixture.Recorder
		p := newProgram(t, tokenauth.Options{OnEvent: events.Record})
		p.from(django(t, 3))
		ctx := t.Context()
		if given != "" {
			ctx = tokenauth.ContextWithActor(ctx, given)
		}
		for _, args := range [][]string{
			{"create", "--user", "42", "laptop"}, {"create", "--user", "42", "desktop"}, {"create", "--user", "43", "phone"},
			{"rename", "--user", "42", "laptop", "old"}, {"rotate", "--user", "42", "old", "--yes"}, {"revoke", "--user", "42", "old", "--yes"},
			{"revoke", "--user", "42", "--all", "--yes"}, {"import", "drf"}, {"revoke", "--created-by", want, "--yes"},
		} {
			got := p.runWith(ctx, "", args...)
			require.NoError(t, got.err, args)
		}
		p.now = noon.Add(time.Hour)
		all, err := p.manager.List(ctx, tokenauth.Query{AllUsers: true, IncludeRevoked: true})
		require.NoError(t, err)
		require.Len(t, all, 5)
		for _, token := range all {
			require.Equal(t, want, token.CreatedBy, token.Name)
			require.Equal(t, want, token.RevokedBy, token.Name)
		}
		require.NoError(t, p.runWith(ctx, "", "prune", "--before", "0s", "--yes").err)
		kinds := map[tokenauth.EventKind]bool{}
		for _, e := range events.Take() {
			require.Equal(t, want, e.By, e.Kind)
			kinds[e.Kind] = true
		}
		require.Len(t, kinds, 6, "issued, imported, updated, rotated, revoked, pruned")
	}
}

// An operator must find what an actor created, without the tokens of other actors.
func TestListSelectsCreator(t *testing.T) {
	t.Parallel()
	p := newProgram(t, tokenauth.Options{})
	p.issueBy("token:A", "first")
	p.issueBy("token:a", "other case")
	p.issueBy("user:42", "phone")
	p.issue(tokenauth.Spec{UserID: "43", Name: "unknown actor"})
	revoked := p.issueBy("token:A", "revoked")
	require.NoError(t, p.manager.Revoke(t.Context(), "42", revoked.ID))
	for _, c := range []struct {
		flags []string
		want  []string
	}{
		{[]string{"--all-users", "--created-by", "token:A"}, []string{"first"}},
		{[]string{"--all-users", "--created-by", "token:A", "--revoked"}, []string{"first", "revoked"}},
		{[]string{"--user", "42", "--created-by", "user:42"}, []string{"phone"}},
		{[]string{"--user", "43", "--created-by", "token:A"}, []string{}},
		{[]string{"--user", "43"}, []string{"unknown actor"}},
	} {
		require.Equal(t, c.want, p.names(append([]string{"list"}, c.flags...)...), c.flags)
	}
	require.Equal(t, output{stderr: "No tokens.\n"}, p.run("list", "--user", "43", "--created-by", "token:A"))
	require.Equal(t, Usage, p.run("list", "--created-by", "token:A").code())
}

// After a leak, an operator revokes all that a token created, also indirectly and for other users.
// The tokens of other actors must stay live.
func TestRevokeCreatedByRevokesDescendants(t *testing.T) {
	t.Parallel()
	p := newProgram(t, tokenauth.Options{})
	leaked := p.issueBy("user:42", "leaked")
	child := p.issueBy("token:"+leaked.ID, "child")
	p.issueBy("token:"+child.ID, "grandchild")
	p.issueBy("user:42", "mine")
	by := "token:" + leaked.ID
	all := []string{"child", "grandchild", "leaked", "mine"}

	// While the leaked token is live, its thief can create one more token after the command.
	got := p.run("revoke", "--created-by", by, "--yes")
	require.Equal(t, Conflict, got.code())
	require.EqualError(t, got.err, "token leaked ("+leaked.ID+") of user 42 is not revoked and could create further tokens; revoke it first")
	require.Equal(t, all, p.names("list", "--all-users"))
	require.NoError(t, p.run("revoke", leaked.ID, "--yes").err)

	require.Equal(t, Usage, p.run("revoke", "--created-by", by).code(), "the command must ask for confirmation")
	for _, flags := range [][]string{{"--all"}, {"--user", "42"}, {"--user", "42", "--all"}, {child.ID}} {
		got := p.run(append([]string{"revoke", "--created-by", by, "--yes"}, flags...)...)
		require.Equal(t, Usage, got.code(), flags)
		require.EqualError(t, got.err, "--created-by: cannot be combined with TOKEN, --user or --all")
	}
	require.Equal(t, []string{"child", "grandchild", "mine"}, p.names("list", "--all-users"))

	require.Equal(t, output{stderr: "Revoked 2 tokens created by " + by + ", directly or indirectly.\n"}, p.run("revoke", "--created-by", by, "--yes"))
	require.Equal(t, []string{"mine"}, p.names("list", "--all-users"))
	require.JSONEq(t, `{"revoked": 0}`, p.run("revoke", "--created-by", by, "--yes", "--json").stdout)
	require.JSONEq(t, `{"revoked": 1}`, p.run("revoke", "--created-by", "user:42", "--yes", "--json").stdout)
	for _, mistyped := range []string{"token:", "token:A", "User:42", "cli "} {
		require.Equal(t, NotFound, p.run("revoke", "--created-by", mistyped, "--yes").code(), mistyped)
	}
}

// If the store fails during the revocation, an operator must learn that the revocation is not
// complete and may be repeated. If the store cannot tell whether the token is live, nothing may be
// revoked.
func TestFailedRevokeCreatedByReportsRevoked(t *testing.T) {
	t.Parallel()
	for method, want := range map[string]string{
		"Revoke": "Revoked 1 token created by login, directly or indirectly, possibly more. To continue, repeat the command.\n",
		"List":   "",
	} {
		p := newProgram(t, tokenauth.Options{})
		p.issueBy("login", "laptop")
		p.issueBy("login", "phone")
		store := tokenauthtest.NewStore(p.store)
		store.Intercept(func(_ context.Context, called string, next func() error) error {
			if called == method && (method == "List" || store.Count("Revoke") > 1) {
				return errBroken
			}
			return next()
		})
		p.manager = p.manager.WithStore(store, nil)
		by := map[string]string{"Revoke": "login", "List": "token:A"}[method]
		got := p.run("revoke", "--created-by", by, "--yes")
		require.Equal(t, Unavailable, got.code(), method)
		require.Equal(t, want+"Error: connection refused\n", got.stderr, method)
	}
}
