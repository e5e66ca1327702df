package tokencli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/go-tokenauth/tokenauth"
)

func (c *cli) rename() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rename TOKEN NAME",
		Short: "Change the name of a token",
	}
	jsonFlag(cmd)
	return c.managed(c.aboutToken(cmd), func(cmd *cobra.Command, m *tokenauth.Manager, args []string) error {
		t, err := find(cmd, m, args[0])
		if err != nil {
			return err
		}
		before := named(&t)
		if t, err = m.Update(cmd.Context(), t.UserID, t.ID, tokenauth.Patch{Name: &args[1]}); err != nil {
			return err
		}
		say(cmd, "Renamed %s to %s.", before, visible(t.Name))
		if !asJSON(cmd) {
			return nil
		}
		return writeJSON(cmd, t)
	})
}

func (c *cli) rotate() *cobra.Command {
	var grace string
	cmd := &cobra.Command{
		Use:   "rotate TOKEN",
		Short: "Replace the key of a token, and print the new key once",
		Long: "Replace the key of a token, and print the new key once: alone on standard output, or with --json as the\n" +
			"member \"key\" of the token. With --grace, the previous key works until the grace has passed. Without --grace,\n" +
			"the previous key stops working immediately, and the command asks for confirmation. If a key has leaked, do not\n" +
			"use --grace.",
	}
	jsonFlag(cmd)
	yesFlag(cmd)
	cmd.Flags().StringVar(&grace, "grace", "", "`DURATION` for which the previous key still works, such as 24h or 7d (at most 30d unless the service sets another limit)")
	completeBy(cmd, "grace", c.completeGrace)
	return c.managed(c.aboutToken(cmd), func(cmd *cobra.Command, m *tokenauth.Manager, args []string) error {
		length, err := parseDuration(grace)
		if grace != "" && err != nil {
			return usage("--grace: " + err.Error())
		}
		if length > m.MaxGrace() {
			return usage("--grace: must not be longer than " + short(m.MaxGrace()))
		}
		t, err := find(cmd, m, args[0])
		if err != nil {
			return err
		}
		if length == 0 {
			if err := confirm(cmd, fmt.Sprintf("Replace the key of %s, and invalidate its current key immediately", named(&t))); err != nil {
				return err
			}
		}
		key, t, err := m.RotateFrom(cmd.Context(), t.UserID, t.ID, t.Generation, length)
		if err != nil {
			return uncertain(cmd.Context(), err)
		}
		say(cmd, "Rotated %s. New generation: %d.", named(&t), t.Generation)
		if writeKey(cmd, &t, key) != nil {
			return failed("the new key could not be written; rotate the token again")
		}
		return nil
	})
}

func (c *cli) revoke() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "revoke [TOKEN]",
		Short: "Revoke a token, or all tokens of a user",
		Long: "Revoke a token. With --user and --all, revoke all live tokens of a user. A revocation cannot be undone. The\n" +
			"service refuses revoked keys immediately, or after at most MaxStale if it caches tokens (storecache).\n\n" +
			"If TOKEN is an ID, the command may be repeated: revoking a revoked token succeeds. If TOKEN is a name, the\n" +
			"second call fails with \"no such token\", because a name selects only live tokens.",
		Example: "  revoke --user 42 laptop\n  revoke WXPDONZ7K66MON5RYFABNBXI4J\n  revoke --user 42 --all",
	}
	jsonFlag(cmd)
	yesFlag(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "revoke all live tokens of the user")
	c.managed(c.aboutToken(cmd), func(cmd *cobra.Command, m *tokenauth.Manager, args []string) error {
		if all {
			return c.revokeAll(cmd, m)
		}
		t, err := find(cmd, m, args[0])
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
	})
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if all != (len(args) == 0) || all && !cmd.Flags().Changed("user") || len(args) > 1 {
			return usage("expected the ID of a token, --user with the name of a token, or --user with --all")
		}
		return nil
	}
	return cmd
}

func (c *cli) revokeAll(cmd *cobra.Command, m *tokenauth.Manager) error {
	user, _ := cmd.Flags().GetString("user")
	if err := confirm(cmd, "Revoke all tokens of user "+visible(user)); err != nil {
		return err
	}
	n, err := m.RevokeAll(cmd.Context(), user)
	if err != nil {
		say(cmd, "Revoked %s of user %s, possibly more. To continue, repeat the command.", counted(n, "token"), visible(user))
		return err
	}
	say(cmd, "Revoked %s of user %s.", counted(n, "token"), visible(user))
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
