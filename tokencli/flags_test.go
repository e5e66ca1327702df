package tokencli

import (
	"io"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
)

// A script whose variable is not set passes an empty flag. Each command must refuse an empty flag
// and change nothing. Otherwise, the script creates a token that never expires, or changes another
// database.
func TestEmptyFlagsAreRefused(t *testing.T) {
	t.Parallel()
	p := newProgram(t, tokenauth.Options{})
	p.from(django(t, 3))
	p.issue(tokenauth.Spec{UserID: "42", Name: "laptop"})
	opened, tried := p.opened, 0
	for _, args := range [][]string{
		{"create", "desktop"}, {"list"}, {"show", "laptop"}, {"rename", "laptop", "phone"}, {"rotate", "laptop", "--yes"},
		{"revoke", "laptop", "--yes"}, {"prune", "--yes"}, {"check-key"},
		{"import", "drf"}, {"import", "knox"}, {"import", "sanctum"}, {"import", "remaining", "drf"},
	} {
		cmd, _, err := p.root().Find(append([]string{"tokens"}, args...))
		require.NoError(t, err)
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name == "help" {
				return
			}
			tried++
			got := p.run(append(args, "--"+f.Name+"=")...)
			require.Equal(t, Usage, got.code(), "%v --%s=", args, f.Name)
			require.ErrorContains(t, got.err, "--"+f.Name+": ")
		})
	}
	require.Greater(t, tried, 40)
	require.Equal(t, opened, p.opened)

	// An empty value must also be refused beside other flags, and if the default would be
	// dangerous.
	for _, args := range [][]string{
		{"create", "--user", "42", "desktop", "--expires", ""},
		{"create", "--user", "42", "desktop", "--scope", "a", "--scope", ""},
		{"rotate", "--user", "42", "laptop", "--grace", "", "--yes"},
		{"import", "drf", "--source", ""},
		{"import", "sanctum", "--expiration", ""},
	} {
		require.ErrorContains(t, p.run(args...).err, "the value is empty", args)
	}
	live, err := p.manager.List(t.Context(), tokenauth.Query{AllUsers: true})
	require.NoError(t, err)
	require.Len(t, live, 1)
	require.Equal(t, 1, live[0].Generation)
}

// The service's own flags may be empty. The commands must not refuse them.
func TestEmptyFlagOfServiceIsAccepted(t *testing.T) {
	t.Parallel()
	p := newProgram(t, tokenauth.Options{})
	root := p.root()
	root.PersistentFlags().String("config", "acme.toml", "")
	root.Commands()[0].PersistentFlags().String("realm", "acme", "")
	root.SetErr(io.Discard)
	root.SetArgs([]string{"tokens", "prune", "--config", "", "--realm", "", "--before", time.Hour.String(), "--yes"})
	require.NoError(t, root.ExecuteContext(t.Context()))
}
