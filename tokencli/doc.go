// Package tokencli gives a service's own program commands to administer its tokens,
// with [cobra]:
//
//	root.AddCommand(tokencli.New(func(context.Context) (*tokenauth.Manager, error) {
//		return tokens, nil
//	}, nil))
//
// after which, with the prefix and the policy that the service's Manager has,
//
//	acme tokens create --user 42 laptop
//
// prints a key. The program cmd/tokenauth has the same commands over a database alone;
// docs/command-line.md shows them all.
//
// # Output
//
// What was asked for goes to standard output: tables for people, or JSON. The JSON of a token is
// that of [tokenauth.Token]: an absent time means never. All else goes to standard error. The
// commands create and rotate write the new key once and alone on its line, so that it can be
// piped; with --json it is the member "key". Characters of a name that could move the terminal's
// cursor or misalign a table are written as escapes, such as \u202e.
//
// There is colour only on a terminal that is not dumb, and none where NO_COLOR is set.
// What can't be undone is asked for on a terminal; where standard input is none, it is
// refused without --yes.
//
// # Exit codes
//
//	0    done
//	1    failed: also if the answer was no, or a key is not well-formed
//	2    usage: malformed, a flag without its value, or against the Manager's policy
//	3    no such token
//	4    conflict: a name that is taken, too many tokens, changed meanwhile or expired
//	5    the store did not answer; a change may or may not have been made
//	130  interrupted
//
// They are for a main function to use:
//
//	os.Exit(tokencli.ExitCode(root.ExecuteContext(ctx)))
//
// where ctx ends on an interrupt (see [os/signal.NotifyContext]).
//
// [cobra]: https://pkg.go.dev/github.com/spf13/cobra
package tokencli
