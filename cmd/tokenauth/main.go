// Command tokenauth administers the tokens in a database: it creates, lists, renames, rotates,
// revokes, prunes and imports them, prints the schema, and checks keys. Its commands, and the exit
// codes, are those of package tokencli, with which a service can offer them in its own program.
// docs/command-line.md shows how to use them.
//
//	go install -C cmd/tokenauth .
//	export TOKENAUTH_DSN=sqlite:/var/lib/acme/acme.db TOKENAUTH_PREFIX=acme
//	tokenauth schema --create
//	tokenauth create --user 42 laptop
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/tokencli"
)

func main() { os.Exit(run()) }

func run() int {
	signal.Ignore(syscall.SIGPIPE) // a key that finds no reader must be told of
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second one ends the program at once
	a := &app{}
	defer a.close()
	err := newCommand(a).ExecuteContext(ctx)
	// Of a list nobody may read the rest. But it may also be the database that is gone.
	unread := tokencli.ExitCode(err) == tokencli.Failed && errors.Is(err, syscall.EPIPE)
	if err != nil && !unread {
		a.tell(ctx, os.Stderr, err)
	}
	return tokencli.ExitCode(err)
}

// tell writes an error of a command to w. Only the errors that it hides parts of contain the text
// of a driver. A word of another error may also be a word of a DSN, such as token in
// sqlite:token.db.
func (a *app) tell(ctx context.Context, w io.Writer, err error) {
	unavailable := tokencli.ExitCode(err) == tokencli.Unavailable
	text := err.Error()
	if unavailable || errors.Is(err, tokenauth.ErrUserUnknown) {
		text = hide(text, a.dsns)
	}
	fmt.Fprintln(w, "Error:", text)
	if unavailable && a.lacksTable(ctx) {
		fmt.Fprintln(w, "The database answers, but its table is missing or not the one that is expected: see tokenauth schema --help")
	}
}

func newCommand(a *app) *cobra.Command {
	cmd := tokencli.New(a.manager, &tokencli.Options{Store: a.schema, OpenSource: a.source})
	cmd.Use = "tokenauth"
	cmd.Short = "Administer API tokens in a database"
	cmd.Long += databaseHelp
	cmd.SilenceErrors = true
	if info, ok := debug.ReadBuildInfo(); ok {
		cmd.Version = info.Main.Version
	}
	flags := cmd.PersistentFlags()
	flags.StringVar(&a.dsn, "dsn", "", "the `DSN` of the database; without it TOKENAUTH_DSN, where a password is seen by fewer")
	flags.StringVar(&a.prefix, "prefix", "", "the `PREFIX` that the service's keys begin with; without it TOKENAUTH_PREFIX")
	flags.StringVar(&a.table, "table", "", "the `NAME` of the table; without it TOKENAUTH_TABLE, or tokenauth_tokens")
	names := []string{"dsn", "prefix", "table"}
	for _, name := range names {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions) // fails on flags that aren't there
	}
	cmd.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		for _, name := range names {
			if f := cmd.Flag(name); f.Changed && f.Value.String() == "" { // not TOKENAUTH_DSN, which may be another
				return usage("--" + name + ": the value is empty")
			}
		}
		return nil
	}
	return cmd
}
