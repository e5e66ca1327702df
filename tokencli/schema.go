package tokencli

import (
	"fmt"
	"io"
	"io/fs"

	"github.com/spf13/cobra"
)

func (c *cli) schema() *cobra.Command {
	var create bool
	cmd := &cobra.Command{
		Use:   "schema",
		Short: "Print the migration files of the table, or create it",
		Long: "Print the migration files that create and change the table, for a migration tool. With --create, create the\n" +
			"table, or add the columns and indexes that it lacks. The command may be repeated.",
	}
	cmd.Flags().BoolVar(&create, "create", false, "create or complete the table, and check it")
	return command(cmd, func(cmd *cobra.Command, _ []string) error {
		store, err := c.options.Store(cmd.Context())
		if err != nil {
			return err
		}
		if !create {
			return written(printFiles(cmd.OutOrStdout(), store.Migrations()))
		}
		if err := store.CreateSchema(cmd.Context()); err != nil {
			return err
		}
		if err := store.CheckSchema(cmd.Context()); err != nil {
			return err
		}
		say(cmd, "The table is up to date.")
		return nil
	})
}

// printFiles prints each SQL file, after a comment with the name of the file.
func printFiles(w io.Writer, files fs.FS) error {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return err
	}
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "-- %s\n%s\n", name, text); err != nil {
			return err
		}
	}
	return nil
}
