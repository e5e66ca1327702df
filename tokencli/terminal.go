package tokencli

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// terminal returns the file if a stream is a terminal.
func terminal(stream any) (*os.File, bool) {
	file, ok := stream.(*os.File)
	return file, ok && term.IsTerminal(int(file.Fd()))
}

// canMove reports whether a stream is a terminal that supports escape sequences.
func canMove(stream any) bool {
	_, ok := terminal(stream)
	return ok && os.Getenv("TERM") != "dumb"
}

func newTable(cmd *cobra.Command) *table {
	out := cmd.OutOrStdout()
	return &table{out: out, colored: canMove(out) && os.Getenv("NO_COLOR") == ""}
}

func yesFlag(cmd *cobra.Command) { cmd.Flags().BoolP("yes", "y", false, "do not ask for confirmation") }

// confirm asks for confirmation of an action that cannot be undone. It returns an error if the
// operator declines, or if standard input is not a terminal and --yes is not set.
func confirm(cmd *cobra.Command, question string) error {
	if yes, _ := cmd.Flags().GetBool("yes"); yes {
		return nil
	}
	in, ok := terminal(cmd.InOrStdin())
	if !ok {
		return usage("this cannot be undone, and standard input is not a terminal for a confirmation; use --yes")
	}
	fmt.Fprint(cmd.ErrOrStderr(), question, "? [y/N] ")
	reply, err := interruptible(cmd, in, func() (string, error) { return bufio.NewReader(in).ReadString('\n') })
	if err != nil && err != io.EOF {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(reply)) {
	case "y", "yes":
		return nil
	}
	return failed("canceled; nothing was changed")
}

// interruptible calls read, which reads from a terminal, and returns its result. If the command is
// interrupted first, interruptible restores the state of the terminal and returns the error of the
// context. The goroutine that reads then remains until the program ends.
func interruptible(cmd *cobra.Command, in *os.File, read func() (string, error)) (string, error) {
	type result struct {
		text string
		err  error
	}
	before, err := term.GetState(int(in.Fd()))
	if err != nil {
		return "", written(err)
	}
	done := make(chan result, 1)
	go func() {
		text, err := read()
		done <- result{text, err}
	}()
	select {
	case r := <-done:
		return r.text, r.err
	case <-cmd.Context().Done():
		_ = term.Restore(int(in.Fd()), before)
		say(cmd, "")
		return "", cmd.Context().Err()
	}
}
