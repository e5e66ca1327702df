package tokencli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/go-tokenauth/tokenauth"
)

func (c *cli) revoke() *cobra.Command {
	var all bool
	var by string
	cmd := &cobra.Command{
		Use:   "revoke [TOKEN]",
		Short: "Revoke a token, all tokens of a user, or all that an actor created",
		Long: "Revoke a token. With --user and --all, revoke all live tokens of a user. A revocation cannot be undone. The\n" +
			"service refuses revoked keys immediately, or after at most MaxStale if it caches tokens (storecache).\n\n" +
			"With --created-by, revoke the live tokens of all users that an actor created, and the tokens that these tokens\n" +
			"created, and so on. The actor \"token:\" and the ID of a token stands for that token, which must be revoked\n" +
			"first. Otherwise it could create further tokens, so the command refuses with exit code 4. If the actor has\n" +
			"created no token, the exit code is 3.\n\n" +
			"If TOKEN is an ID, the command may be repeated: revoking a revoked token succeeds. If TOKEN is a name, the\n" +
			"second call fails with \"no such token\", because a name selects only live tokens.",
		Example: "  revoke --user 42 laptop\n  revoke WXPDONZ7K66MON5RYFABNBXI4J\n  revoke --user 42 --all\n" +
			"  revoke --created-by token:WXPDONZ7K66MON5RYFABNBXI4J",
	}
	jsonFlag(cmd)
	yesFlag(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "revoke all live tokens of the user")
	createdByFlag(cmd, &by, "revoke all tokens that `ACTOR` created, and the tokens that these tokens created")
	c.managed(c.aboutToken(cmd), func(cmd *cobra.Command, m *tokenauth.Manager, args []string) error {
		if all {
			return revokeAll(cmd, m)
		}
		if by != "" {
			return revokeCreatedBy(cmd, m, by)
		}
		return c.revokeOne(cmd, m, args[0])
	})
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		given := cmd.Flags().Changed
		switch {
		case given("created-by") && (len(args) > 0 || all || given("user")):
			return usage("--created-by: cannot be combined with TOKEN, --user or --all")
		case given("created-by"):
			return nil
		case all != (len(args) == 0) || all && !given("user") || len(args) > 1:
			return usage("expected the ID of a token, --user with the name of a token, --user with --all, or --created-by")
		}
		return nil
	}
	return cmd
}

func (c *cli) revokeOne(cmd *cobra.Command, m *tokenauth.Manager, ref string) error {
	t, err := find(cmd, m, ref)
	if err != nil {
		return err
	}
	if err := confirm(cmd, fmt.Sprintf("Revoke %s (last used: %s)", named(&t), c.relative(t.LastUsedAt))); err != nil {
		return err
	}
	if err := m.Revoke(cmd.Context(), t.UserID, t.ID); err != nil {
		return err
	}
	say(cmd, "Revoked %s.", named(&t))
	if !asJSON(cmd) {
		return nil
	}
	if t, err = m.Get(cmd.Context(), t.UserID, t.ID); err != nil {
		return fmt.Errorf("the token is revoked, but reading it failed: %w", err)
	}
	return writeJSON(cmd, t)
}

func revokeAll(cmd *cobra.Command, m *tokenauth.Manager) error {
	user, _ := cmd.Flags().GetString("user")
	if err := confirm(cmd, "Revoke all tokens of user "+visible(user)); err != nil {
		return err
	}
	n, err := m.RevokeAll(cmd.Context(), user)
	return reportRevoked(cmd, fmt.Sprintf("%s of user %s", counted(n, "token"), visible(user)), n, err)
}

func revokeCreatedBy(cmd *cobra.Command, m *tokenauth.Manager, by string) error {
	if id, ok := strings.CutPrefix(by, "token:"); ok {
		live, err := m.List(cmd.Context(), tokenauth.Query{AllUsers: true, IDs: []string{id}, Limit: 1})
		if err != nil {
			return err
		}
		if len(live) > 0 {
			return &Error{Conflict, fmt.Errorf("%s is not revoked and could create further tokens; revoke it first", named(&live[0]))}
		}
	}
	created, err := m.List(cmd.Context(), tokenauth.Query{AllUsers: true, CreatedBy: by, IncludeRevoked: true, Limit: 1})
	if err != nil {
		return err
	}
	if len(created) == 0 { // after a leak, a mistyped actor must not look like a success
		return &Error{NotFound, errors.New("this actor has created no token")}
	}
	if err := confirm(cmd, "Revoke all tokens that "+visible(by)+" created, and the tokens that these tokens created"); err != nil {
		return err
	}
	n, err := m.RevokeCreatedBy(cmd.Context(), by)
	return reportRevoked(cmd, fmt.Sprintf("%s created by %s, directly or indirectly", counted(n, "token"), visible(by)), n, err)
}

// reportRevoked reports the revocation of n tokens. If the revocation ended with an error, it
// returns that error.
func reportRevoked(cmd *cobra.Command, what string, n int, err error) error {
	if err != nil {
		say(cmd, "Revoked %s, possibly more. To continue, repeat the command.", what)
		return err
	}
	say(cmd, "Revoked %s.", what)
	if asJSON(cmd) {
		return writeJSON(cmd, map[string]int{"revoked": n})
	}
	return nil
}

func counted(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprint(n, " ", thing)
}
