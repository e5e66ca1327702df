// Command tokenauth administers the tokens in a database. It creates, lists, renames, rotates,
// revokes, prunes and imports tokens, prints the schema of the table, and checks keys. A service
// can provide the same commands in its own program with package tokencli, which also defines the
// exit codes. docs/command-line.md describes the commands.
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
	signal.Ignore(syscall.SIGPIPE) // a command that cannot write a key must report an error
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second interrupt ends the program immediately
	a := &app{}
	defer a.close()
	err := newCommand(a).ExecuteContext(ctx)
	// If standard output is a closed pipe, as in "tokenauth list | head", the program prints no
	// error. A closed connection to the database causes the same error, but with another exit code.
	closedPipe := tokencli.ExitCode(err) == tokencli.Failed && errors.Is(err, syscall.EPIPE)
	if err != nil && !closedPipe {
		a.printError(ctx, os.Stderr, err)
	}
	return tokencli.ExitCode(err)
}

// printError writes an error of a command to w. If the error may contain the text of a driver,
// printError hides the parts of the DSNs. In other errors, it hides nothing, because their words
// may also be words of a DSN, such as token in sqlite:token.db.
func (a *app) printError(ctx context.Context, w io.Writer, err error) {
	unavailable := tokencli.ExitCode(err) == tokencli.Unavailable
	text := err.Error()
	if unavailable || errors.Is(err, tokenauth.ErrUserUnknown) {
		text = hide(text, a.dsns)
	}
	fmt.Fprintln(w, "Error:", text)
	if unavailable && a.lacksTable(ctx) {
		fmt.Fprintln(w, "The database responds, but its table is missing or has another schema. See tokenauth schema --help")
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
	flags.StringVar(&a.dsn, "dsn", "", "`DSN` of the database (default: TOKENAUTH_DSN, which is safer for a DSN with a password)")
	flags.StringVar(&a.prefix, "prefix", "", "`PREFIX` of the service's keys (default: TOKENAUTH_PREFIX)")
	flags.StringVar(&a.table, "table", "", "`NAME` of the table (default: TOKENAUTH_TABLE, or tokenauth_tokens)")
	names := []string{"dsn", "prefix", "table"}
	for _, name := range names {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions) // returns an error only for an unknown flag
	}
	cmd.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		for _, name := range names {
			if f := cmd.Flag(name); f.Changed && f.Value.String() == "" { // otherwise, TOKENAUTH_DSN would apply, which may name another database
				return usage("--" + name + ": the value is empty")
			}
		}
		return nil
	}
	return cmd
}
