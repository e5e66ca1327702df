package tokencli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/go-tokenauth/tokenauth"
)

func (c *cli) checkKey() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check-key",
		Short: "Tell whether a key is well-formed, and its prefix",
		Long: "Read a key from standard input and tell, without a database, whether it is well-formed, and its prefix. It can't\n" +
			"be given as an argument: those stand in the list of processes and in the shell's history. On a terminal it is\n" +
			"asked for, and not shown. A well-formed key need not exist: its checksum finds typing errors, not forgeries.",
		Example: "  check-key <key.txt",
	}
	jsonFlag(cmd)
	command(cmd, func(cmd *cobra.Command, _ []string) error {
		text, err := readKey(cmd)
		if err != nil {
			return err
		}
		prefix, err := tokenauth.CheckKey(strings.TrimSpace(text))
		wellFormed := err == nil
		if asJSON(cmd) {
			err = writeJSON(cmd, struct {
				WellFormed bool   `json:"well_formed"`
				Prefix     string `json:"prefix,omitempty"`
			}{wellFormed, prefix})
		} else if wellFormed {
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "well-formed, of the prefix", prefix)
			err = written(err)
		}
		if !wellFormed {
			return failed("the key is not well-formed")
		}
		return err
	})
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usage("the key is read from standard input; as an argument it is seen by others: take it for leaked, and rotate its token")
		}
		return nil
	}
	return cmd
}

const maxKeyBytes = 1 << 10 // of a header; more is no key

func readKey(cmd *cobra.Command) (string, error) {
	in := cmd.InOrStdin()
	file, ok := terminal(in)
	if !ok {
		text, err := io.ReadAll(io.LimitReader(in, maxKeyBytes+1))
		return string(text), written(err)
	}
	return interruptible(cmd, file, func() (string, error) {
		before, err := term.MakeRaw(int(file.Fd())) // before it is asked for, so that nothing is echoed
		if err != nil {
			return "", written(err)
		}
		defer term.Restore(int(file.Fd()), before)
		screen := term.NewTerminal(struct {
			io.Reader
			io.Writer
		}{file, cmd.ErrOrStderr()}, "")
		key, err := screen.ReadPassword("Key: ")
		if err == io.EOF { // Ctrl-C, which is no signal to a raw terminal, or Ctrl-D
			say(cmd, "")
			err = &Error{Interrupted, errors.New("interrupted: no key")}
		}
		return key, written(err)
	})
}
