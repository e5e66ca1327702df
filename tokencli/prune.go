package tokencli

import (
	"github.com/spf13/cobra"

	"github.com/go-tokenauth/tokenauth"
)

func (c *cli) prune() *cobra.Command {
	var before string
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Delete the tokens that ended long ago",
		Long: "Delete for good the tokens that expired or were revoked before a time. It may run at any time, and be interrupted\n" +
			"and repeated. Imported tokens stay: they mark what must not be imported again.",
		Example: "  prune --before 90d --yes",
	}
	jsonFlag(cmd)
	yesFlag(cmd)
	cmd.Flags().StringVar(&before, "before", "30d", "before `WHEN`: so long ago (as 90d), a date (UTC), or a time (RFC 3339)")
	complete(cmd, "before", "30d", "90d", "365d")
	return c.managed(cmd, func(cmd *cobra.Command, m *tokenauth.Manager, _ []string) error {
		at, err := parseTime(before, c.options.Now(), back)
		if err != nil {
			return usage("--before: " + err.Error())
		}
		if err := confirm(cmd, "Delete all tokens that expired or were revoked before "+c.absolute(at)); err != nil {
			return err
		}
		var n int
		newProgress(cmd, c.options.Now).during("deleting tokens", func() { n, err = m.Prune(cmd.Context(), at) })
		if err != nil {
			say(cmd, "Deleted %s, and maybe more. Run it again to go on.", counted(n, "token"))
			return err
		}
		say(cmd, "Deleted %s.", counted(n, "token"))
		if asJSON(cmd) {
			return writeJSON(cmd, map[string]int{"pruned": n})
		}
		return nil
	})
}
