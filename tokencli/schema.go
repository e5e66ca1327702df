package tokencli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (c *cli) schema() *cobra.Command {
	var create bool
	cmd := &cobra.Command{
		Use:   "schema",
		Short: "Print the statements that create the table",
		Long:  "Print the statements that create the table, to keep in your own migrations; or execute them, any number of times.",
	}
	cmd.Flags().BoolVar(&create, "create", false, "create the table if it is missing, and check it")
	return command(cmd, func(cmd *cobra.Command, _ []string) error {
		store, err := c.options.Store(cmd.Context())
		if err != nil {
			return err
		}
		if !create {
			_, err := fmt.Fprint(cmd.OutOrStdout(), store.Schema())
			return written(err)
		}
		if err := store.CreateSchema(cmd.Context()); err != nil {
			return err
		}
		if err := store.CheckSchema(cmd.Context()); err != nil {
			return err
		}
		say(cmd, "The table is there.")
		return nil
	})
}
