package tokencli

import (
	"github.com/spf13/cobra"

	"github.com/go-tokenauth/tokenauth"
)

func (c *cli) prune() *cobra.Command {
	var before string
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Delete tokens that expired or were revoked long ago",
		Long: "Delete the tokens that expired or were revoked before a time. The deletion cannot be undone. The command may run\n" +
			"at any time, and may be interrupted and repeated. Imported tokens are not deleted, so that a repeated import\n" +
			"does not import them again.",
		Example: "  prune --before 90d --yes",
	}
	jsonFlag(cmd)
	yesFlag(cmd)
	cmd.Flags().StringVar(&before, "before", "30d", "delete tokens that expired or were revoked before this `TIME`: a duration ago (90d), a date (its start in UTC), or a time (RFC 3339)")
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
			say(cmd, "Deleted %s, possibly more. To continue, repeat the command.", counted(n, "token"))
			return err
		}
		say(cmd, "Deleted %s.", counted(n, "token"))
		if asJSON(cmd) {
			return writeJSON(cmd, map[string]int{"pruned": n})
		}
		return nil
	})
}
