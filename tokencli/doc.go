// Package tokencli provides [cobra] commands for a service's own program. With these commands,
// operators create, list, rotate, revoke and import the tokens of the service:
//
//	root.AddCommand(tokencli.New(func(context.Context) (*tokenauth.Manager, error) {
//		return tokens, nil
//	}, nil))
//
// If the program is named acme, this command then creates a token and prints its key:
//
//	acme tokens create --user 42 laptop
//
// The commands use the prefix and the policy of the service's Manager. The program cmd/tokenauth
// has the same commands, and needs only a database. docs/command-line.md describes all commands.
//
// # Output
//
// Results go to standard output, as a table or, with --json, as JSON. Messages and prompts go to
// standard error. The JSON of a token is the JSON of [tokenauth.Token]; an absent time means never.
//
// The commands create and rotate print the new key once, alone on a line of standard output. With
// --json, the key is the member "key". Characters of a name that could move the cursor or misalign
// a table are printed as escapes, such as \u202e.
//
// Output has colors if it goes to a terminal, unless NO_COLOR is set or TERM is "dumb".
//
// Commands that cannot be undone ask for confirmation. If standard input is not a terminal, these
// commands fail unless --yes is given.
//
// # Who made a change
//
// The commands make their changes as the actor "cli", which [tokenauth.Token] and
// [tokenauth.Event] report. To name the operator, the program puts another actor into the context:
//
//	ctx = tokenauth.ContextWithActor(ctx, "staff:"+operator)
//	os.Exit(tokencli.ExitCode(root.ExecuteContext(ctx)))
//
// # Exit codes
//
//	0    success
//	1    failure, such as a declined confirmation, a malformed key or failed output
//	2    usage: malformed, missing or empty argument, or a value that the Manager's policy forbids
//	3    no such token
//	4    conflict: the name is taken, the user has too many tokens, the token was changed
//	     meanwhile or has expired, or the token of revoke --created-by is live
//	5    the store failed; a change may have been made
//	130  interrupted
//
// The main function of the program passes the exit code to the operating system:
//
//	os.Exit(tokencli.ExitCode(root.ExecuteContext(ctx)))
//
// The context ctx should end on an interrupt (see [os/signal.NotifyContext]).
//
// [cobra]: https://pkg.go.dev/github.com/spf13/cobra
package tokencli
