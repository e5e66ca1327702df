package tokencli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/go-tokenauth/tokenauth"
)

func (c *cli) rename() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rename TOKEN NAME",
		Short: "Give a token another name",
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
		say(cmd, "Renamed %s: %s.", before, visible(t.Name))
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
		Short: "Give a token a new key and print it, this once",
		Long: "Give a token a new key and print it, this once: alone on standard output, or with --json as a member of the\n" +
			"token. With --grace, the previous key works until the grace has passed, at most for the MaxGrace of the\n" +
			"service, or 30 days. Without --grace, the previous key ends at once, and the command asks first. Never give\n" +
			"grace to a key that has leaked.",
	}
	jsonFlag(cmd)
	yesFlag(cmd)
	cmd.Flags().StringVar(&grace, "grace", "", "for this `DURATION` (as 24h, 7d; at most 30d unless the service sets another limit) the previous key works")
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
			if err := confirm(cmd, fmt.Sprintf("Replace the key of %s, and end the one in use at once", named(&t))); err != nil {
				return err
			}
		}
		key, t, err := m.RotateFrom(cmd.Context(), t.UserID, t.ID, t.Generation, length)
		if err != nil {
			return uncertain(cmd.Context(), err)
		}
		say(cmd, "Rotated %s; this is its key number %d.", named(&t), t.Generation)
		if writeKey(cmd, &t, key) != nil {
			return failed("the new key could not be written: rotate the token again")
		}
		return nil
	})
}

func (c *cli) revoke() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "revoke [TOKEN]",
		Short: "Revoke a token, or all of a user, for good",
		Long: "Revoke a token, or with --user and --all all live tokens of a user. Their keys end for good, and at once, or\n" +
			"where a service caches tokens (storecache) within its MaxStale. By its ID a token may be revoked twice; by its name\n" +
			"it is found while it is live, so that the second time is \"no such token\".",
		Example: "  revoke --user 42 laptop\n  revoke WXPDONZ7K66MON5RYFABNBXI4J\n  revoke --user 42 --all",
	}
	jsonFlag(cmd)
	yesFlag(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "all live tokens of the user")
	c.managed(c.aboutToken(cmd), func(cmd *cobra.Command, m *tokenauth.Manager, args []string) error {
		if all {
			return c.revokeAll(cmd, m)
		}
		t, err := find(cmd, m, args[0])
		if err != nil {
			return err
		}
		if err := confirm(cmd, fmt.Sprintf("Revoke %s, last used: %s", named(&t), c.relative(t.LastUsedAt))); err != nil {
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
			return fmt.Errorf("the token is revoked, but could not be read: %w", err)
		}
		return writeJSON(cmd, t)
	})
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if all != (len(args) == 0) || all && !cmd.Flags().Changed("user") || len(args) > 1 {
			return usage("which token? give its ID; or --user and its name; or --user and --all")
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
		say(cmd, "Revoked %s of user %s, and maybe more. Run it again to go on.", counted(n, "token"), visible(user))
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
