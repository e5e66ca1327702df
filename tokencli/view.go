package tokencli

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/go-tokenauth/tokenauth"
)

// A tokenView is a token as programs see it: as package tokenapi shows it to staff.
type tokenView struct {
	ID         string     `json:"id"`
	UserID     string     `json:"user_id"`
	Name       string     `json:"name"`
	Scopes     []string   `json:"scopes"`
	Hint       string     `json:"hint"`
	Generation int        `json:"generation"`
	Origin     string     `json:"origin,omitempty"`
	CreatedAt  time.Time  `json:"created_at"`
	ExpiresAt  *time.Time `json:"expires_at"`
	LastUsedAt *time.Time `json:"last_used_at"`
	RevokedAt  *time.Time `json:"revoked_at"`
}

// A keyView is a token with its new key.
type keyView struct {
	tokenView
	Key string `json:"key"`
}

func viewOf(t *tokenauth.Token) tokenView {
	v := tokenView{
		ID: t.ID, UserID: t.UserID, Name: t.Name, Scopes: t.Scopes, Hint: t.Hint, Generation: t.Generation, Origin: t.Origin,
		CreatedAt: t.CreatedAt, ExpiresAt: orNull(&t.ExpiresAt), LastUsedAt: orNull(&t.LastUsedAt), RevokedAt: orNull(&t.RevokedAt),
	}
	if v.Scopes == nil {
		v.Scopes = []string{}
	}
	return v
}

func orNull(t *time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return t
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
