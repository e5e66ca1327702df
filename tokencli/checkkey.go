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
		Short: "Check the form of a key, and print its prefix",
		Long: "Read a key from standard input, check its form, and print its prefix. The command needs no database. On a\n" +
			"terminal, it asks for the key and does not display it. The key cannot be an argument, because other users can\n" +
			"see the arguments of a process, and shells store them in their history. The form does not prove that\n" +
			"the key exists: its checksum detects typing errors, but not forged keys.",
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
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "well-formed; prefix:", prefix)
			err = written(err)
		}
		if !wellFormed {
			return failed("the key is not well-formed")
		}
		return err
	})
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usage("the key must come from standard input; other users may have seen the argument, so rotate the token of this key")
		}
		return nil
	}
	return cmd
}

const maxKeyBytes = 1 << 10 // limit of the Authenticator

func readKey(cmd *cobra.Command) (string, error) {
	in := cmd.InOrStdin()
	file, ok := terminal(in)
	if !ok {
		text, err := io.ReadAll(io.LimitReader(in, maxKeyBytes+1))
		return string(text), written(err)
	}
	return interruptible(cmd, file, func() (string, error) {
		before, err := term.MakeRaw(int(file.Fd())) // before the prompt, so that the terminal never echoes the key
		if err != nil {
			return "", written(err)
		}
		defer term.Restore(int(file.Fd()), before)
		screen := term.NewTerminal(struct {
			io.Reader
			io.Writer
		}{file, cmd.ErrOrStderr()}, "")
		key, err := screen.ReadPassword("Key: ")
		if err == io.EOF { // Ctrl-D, or Ctrl-C, which causes no signal on a raw terminal
			say(cmd, "")
			err = &Error{Interrupted, errors.New("interrupted before a key was entered")}
		}
		return key, written(err)
	})
}
