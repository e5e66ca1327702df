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

// canMove reports whether a stream takes the escape sequences of a terminal.
func canMove(stream any) bool {
	_, ok := terminal(stream)
	return ok && os.Getenv("TERM") != "dumb"
}

func newTable(cmd *cobra.Command) *table {
	out := cmd.OutOrStdout()
	return &table{out: out, coloured: canMove(out) && os.Getenv("NO_COLOR") == ""}
}

func yesFlag(cmd *cobra.Command) { cmd.Flags().BoolP("yes", "y", false, "do it without asking") }

// confirm asks whether to do what can't be undone.
func confirm(cmd *cobra.Command, question string) error {
	if yes, _ := cmd.Flags().GetBool("yes"); yes {
		return nil
	}
	in, ok := terminal(cmd.InOrStdin())
	if !ok {
		return usage("this can't be undone, and there is no terminal to ask on: give --yes")
	}
	fmt.Fprint(cmd.ErrOrStderr(), question, "? [y/N] ")
	answer, err := interruptible(cmd, in, func() (string, error) { return bufio.NewReader(in).ReadString('\n') })
	if err != nil && err != io.EOF {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return failed("nothing was done")
}

// interruptible reads from a terminal until the command is interrupted, and leaves the terminal as
// it was. Then the reading goes on for nobody, until the program ends.
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
