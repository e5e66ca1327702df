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

// Options are the optional settings of [New].
type Options struct {
	// Store returns the store of the Manager, for the command schema. To print the migration files,
	// the command does not connect to the database. If Store is nil, the command schema does not
	// exist. A store of package pgxstore has the *tokenauth.SQLStore in its field SQLStore.
	Store func(context.Context) (*tokenauth.SQLStore, error)

	// OpenSource opens the database to import from, for the command import. The argument dsn is the
	// value of the flag --source. If the flag is not given, dsn is empty, and OpenSource should
	// return the service's own database. The commands do not close the returned handle. If nil, the
	// command import does not exist.
	OpenSource func(ctx context.Context, dsn string) (*sql.DB, tokenauth.Dialect, error)

	// Now returns the current time, to display and to parse times. If nil, time.Now.
	Now func() time.Time
}

// New returns the command "tokens" with its subcommands. The subcommands use the Manager that open
// returns. The caller may change Use and Short of the command, and may add flags. If opts is nil,
// New uses the zero value. New copies opts. It panics if open is nil.
//
// A command calls open at most once, after the flags are parsed. The commands check-key, schema,
// help and completion do not call open. The completion of flags and tokens also calls open.
// Therefore open should not wait for the database.
//
// The actor of all changes is "cli", unless the context of the command has an actor. See
// [tokenauth.ContextWithActor].
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
		Long: "Administer API tokens.\n\nTOKEN is the ID of a token. With --user, TOKEN may also be the name of a live token.\n\n" +
			"Exit codes: 0 success; 1 failure; 2 usage; 3 no such token; 4 conflict (name taken, too many tokens, changed\n" +
			"meanwhile or expired); 5 the store failed; 130 interrupted.",
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

// help prints the help of a group of commands. For an unknown command, it returns an error, because
// cobra does so only at the root of the tree. The error does not repeat the word, which may be a
// pasted key.
func help(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	text := "unknown command"
	if similar := cmd.SuggestionsFor(args[0]); len(similar) > 0 {
		text += "; did you mean " + strings.Join(similar, " or ") + "?"
	}
	return usage(text + "; see " + cmd.CommandPath() + " --help")
}

// flagError returns the text for an error of a flag. The text repeats only a name of letters, which
// may be mistyped. It repeats no other part of the arguments, which may contain a key, or a
// password as in -dsn=….
func flagError(err error) string {
	switch e := err.(type) {
	case *pflag.NotExistError:
		name := e.GetSpecifiedName()
		if e.GetSpecifiedShortnames() == "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz-") == "" {
			return "unknown flag --" + name
		}
		return "unknown flag; long flags begin with --"
	case *pflag.ValueRequiredError:
		return "--" + e.GetFlag().Name + ": the value is missing"
	case *pflag.InvalidValueError:
		return "--" + e.GetFlag().Name + ": malformed value"
	}
	return "malformed flag"
}

// command sets the function of a command. The number of arguments is the number of words in
// capitals in cmd.Use.
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
			return usage("usage: " + cmd.UseLine()) // does not repeat the arguments, which may contain a key
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := noneEmpty(cmd); err != nil {
			return err
		}
		return coded(cmd.Context(), run(cmd, args))
	}
	if cmd.ValidArgsFunction == nil {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	return cmd
}

// noneEmpty returns an error if a flag of the command has an empty value. A shell passes an empty
// value if a variable is not set. Without this check, the command would use a default, such as
// another database. The flags of parent commands are not checked.
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

// actor is who made a change, unless the context of the command has an actor.
const actor = "cli"

// managed is like command, for a function that needs the Manager. The context of the command that
// the function receives has an actor.
func (c *cli) managed(cmd *cobra.Command, run func(cmd *cobra.Command, m *tokenauth.Manager, args []string) error) *cobra.Command {
	return command(cmd, func(cmd *cobra.Command, args []string) error {
		if ctx := cmd.Context(); tokenauth.ActorFrom(ctx) == "" {
			cmd.SetContext(tokenauth.ContextWithActor(ctx, actor))
		}
		m, err := c.open(cmd.Context())
		if err != nil {
			return err
		}
		return run(cmd, m, args)
	})
}

// say writes a message to standard error.
func say(cmd *cobra.Command, format string, args ...any) {
	fmt.Fprintf(cmd.ErrOrStderr(), format+"\n", args...)
}
