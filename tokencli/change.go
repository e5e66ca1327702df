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
