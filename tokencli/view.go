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

func jsonFlag(cmd *cobra.Command) { cmd.Flags().Bool("json", false, "write JSON, for programs") }

func asJSON(cmd *cobra.Command) bool {
	given, _ := cmd.Flags().GetBool("json")
	return given
}

// writeJSON writes what was asked for, in one line.
func writeJSON(cmd *cobra.Command, view any) error {
	text, err := json.Marshal(view)
	if err != nil {
		return err
	}
	_, err = cmd.OutOrStdout().Write(append(text, '\n'))
	return written(err)
}

// written says that it was the output that failed, and not the store.
func written(err error) error {
	var e *Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	return &Error{Failed, err}
}
