package tokencli

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/go-tokenauth/tokenauth"
)

// Options are settings of [New]. A command that lacks what it needs is absent.
type Options struct {
	// Store returns the store of the Manager, for the command schema. To print the
	// schema it is not asked to reach the database. Nil: there is no such command.
	Store func(context.Context) (*tokenauth.SQLStore, error)

	// OpenSource opens the database that tokens are imported from, for the command
	// import. dsn is what its flag --source says, and empty if it is not given, which
	// should mean the service's own database. Who has opened it closes it, at
	// the program's end. Nil: there is no such command.
	OpenSource func(ctx context.Context, dsn string) (*sql.DB, tokenauth.Dialect, error)

	// Now is the clock that times are told and reckoned by. Nil: time.Now.
	Now func() time.Time
}

// New returns the command "tokens" with its subcommands, over the Manager that open
// returns. open is called at most once for each command that is executed, after its
// flags are parsed, and not at all by those that need no Manager: check-key, schema,
// help, and the completion script. It should not wait for the database; where
// completion asks it for the scopes that exist, nobody would know why.
//
// Whoever mounts the command may change its Use and Short, and add flags. Options may
// be nil; they are copied. New panics if open is nil.
func New(open func(context.Context) (*tokenauth.Manager, error), opts *Options) *cobra.Command {
	if open == nil {
		panic("tokencli: New: nil open")
	}
	c := &cli{open: open}
	if opts != nil {
		c.options = *opts
	}
	if c.options.Now == nil {
		c.options.Now = time.Now
	}
	group := &cobra.Command{
		Use:   "tokens",
		Short: "Administer API tokens",
		Long: "Administer API tokens.\n\nA TOKEN is given by its ID; or, with --user, by its ID or its name.\n\n" +
			"Exit codes: 0 done; 1 failed; 2 usage; 3 no such token; 4 conflict (name taken, too many tokens, changed\n" +
			"meanwhile or expired); 5 the store did not answer; 130 interrupted.",
		SilenceUsage:               true,
		SuggestionsMinimumDistance: 2,
		Args:                       cobra.ArbitraryArgs,
		RunE:                       help,
	}
	group.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage(flagError(err) + "; see " + cmd.CommandPath() + " --help")
	})
	group.AddCommand(c.create(), c.list(), c.show(), c.rename(), c.rotate(), c.revoke(), c.prune(), c.checkKey())
	if c.options.Store != nil {
		group.AddCommand(c.schema())
	}
	if c.options.OpenSource != nil {
		group.AddCommand(c.imports())
	}
	return group
}

type cli struct {
	open    func(context.Context) (*tokenauth.Manager, error)
	options Options
}

// help answers a word that is no command with an error: cobra does so only at the root
// of a tree. It doesn't repeat the word, which may be a key that was pasted.
func help(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	text := "unknown command"
	if similar := cmd.SuggestionsFor(args[0]); len(similar) > 0 {
		text += "; is it " + strings.Join(similar, " or ") + "?"
	}
	return usage(text + "; see " + cmd.CommandPath() + " --help")
}

// flagError says what is wrong with a flag, and of what was given no more than a name
// that may be mistyped: in -dsn=… and --dsn… there may be a password, elsewhere a key.
func flagError(err error) string {
	switch e := err.(type) {
	case *pflag.NotExistError:
		name := e.GetSpecifiedName()
		if e.GetSpecifiedShortnames() == "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz-") == "" {
			return "unknown flag --" + name
		}
		return "unknown flag; those with a name begin with --"
	case *pflag.ValueRequiredError:
		return "--" + e.GetFlag().Name + ": the value is missing"
	case *pflag.InvalidValueError:
		return "--" + e.GetFlag().Name + ": malformed value"
	}
	return "malformed flag"
}

// command completes a command that takes the arguments its Use names: words in capitals.
func command(cmd *cobra.Command, run func(cmd *cobra.Command, args []string) error) *cobra.Command {
	want := 0
	for _, word := range strings.Fields(cmd.Use)[1:] {
		if word == strings.ToUpper(word) {
			want++
		}
	}
	cmd.SilenceUsage = true
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) != want {
			return usage("usage: " + cmd.UseLine()) // which doesn't repeat what may be a key
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := noneEmpty(cmd); err != nil {
			return err
		}
		return judged(cmd.Context(), run(cmd, args))
	}
	if cmd.ValidArgsFunction == nil {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	return cmd
}

// noneEmpty refuses a flag that is given with an empty value, as a shell gives it whose
// variable is not set: where an end or a database was meant, the default would be used.
// Flags of the program around are its own.
func noneEmpty(cmd *cobra.Command) (err error) {
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		if f.Changed && slices.ContainsFunc(values, func(v string) bool { return strings.TrimSpace(v) == "" }) {
			err = usage("--" + f.Name + ": the value is empty")
		}
	})
	return err
}

// managed is a command that needs the Manager.
func (c *cli) managed(cmd *cobra.Command, run func(cmd *cobra.Command, m *tokenauth.Manager, args []string) error) *cobra.Command {
	return command(cmd, func(cmd *cobra.Command, args []string) error {
		m, err := c.open(cmd.Context())
		if err != nil {
			return err
		}
		return run(cmd, m, args)
	})
}

// say writes a line for people.
func say(cmd *cobra.Command, format string, args ...any) {
	fmt.Fprintf(cmd.ErrOrStderr(), format+"\n", args...)
}
