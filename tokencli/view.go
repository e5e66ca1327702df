package tokencli

import (
	"encoding/json"
	"errors"

	"github.com/spf13/cobra"

	"github.com/go-tokenauth/tokenauth"
)

// A tokenWithKey is a token with its new key.
type tokenWithKey struct {
	tokenauth.Token
	Key string `json:"key"`
}

func jsonFlag(cmd *cobra.Command) { cmd.Flags().Bool("json", false, "print JSON") }

func asJSON(cmd *cobra.Command) bool {
	given, _ := cmd.Flags().GetBool("json")
	return given
}

// writeJSON writes a result as one line of JSON.
func writeJSON(cmd *cobra.Command, view any) error {
	text, err := json.Marshal(view)
	if err != nil {
		return err
	}
	_, err = cmd.OutOrStdout().Write(append(text, '\n'))
	return written(err)
}

// written returns an error of input or output with the code Failed. Otherwise, coded would report
// it as a failure of the store.
func written(err error) error {
	var e *Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	return &Error{Failed, err}
}
