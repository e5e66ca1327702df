package tokencli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/go-tokenauth/tokenauth"
)

func (c *cli) create() *cobra.Command {
	var user, expires string
	var scopes []string
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a token and print its key, this once",
		Long: "Create a token of a user and print its key, this once: alone on standard output, or with --json as a member\n" +
			"of the token. If the key can't be written, the token is revoked.",
		Example: "  create --user 42 laptop --scope orders:read --expires 90d",
	}
	jsonFlag(cmd)
	cmd.Flags().StringVarP(&user, "user", "u", "", "the `ID` of the user")
	scopeFlag(c, cmd, &scopes)
	cmd.Flags().StringVar(&expires, "expires", "", "`WHEN`: in 90d, 12h; on a date (its end, UTC); at a time (RFC 3339); or never. Without it as the policy says")
	complete(cmd, "user")
	complete(cmd, "expires", "30d", "90d", "365d", "never")
	return c.managed(cmd, func(cmd *cobra.Command, m *tokenauth.Manager, args []string) error {
		spec := tokenauth.Spec{UserID: user, Name: args[0], Scopes: words(scopes), NoExpiry: expires == "never"}
		if user == "" {
			return usage("whose token? give --user")
		}
		if expires != "" && !spec.NoExpiry {
			at, err := parseTime(expires, c.options.Now(), ahead)
			if err != nil {
				return usage("--expires: " + err.Error())
			}
			spec.ExpiresAt = at
		}
		key, t, err := m.Issue(cmd.Context(), spec)
		if err != nil {
			return uncertain(cmd.Context(), err)
		}
		say(cmd, "Created %s; it expires: %s.", named(&t), c.relative(t.ExpiresAt))
		if err := writeKey(cmd, &t, key); err != nil {
			if m.Revoke(context.WithoutCancel(cmd.Context()), t.UserID, t.ID) != nil {
				return failed("the key could not be written, nor the token be revoked: revoke it")
			}
			return failed("the key could not be written: the token is revoked again")
		}
		return nil
	})
}

// writeKey is all that ever writes a key.
func writeKey(cmd *cobra.Command, t *tokenauth.Token, key tokenauth.Key) error {
	if asJSON(cmd) {
		return writeJSON(cmd, tokenWithKey{*t, key.Reveal()})
	}
	say(cmd, "Keep the key: it is not shown again.")
	_, err := fmt.Fprintln(cmd.OutOrStdout(), key.Reveal())
	return err
}

// uncertain adds to an error of a change that makes a key that it may have been made.
func uncertain(ctx context.Context, err error) error {
	err = judged(ctx, err)
	var e *Error
	if errors.As(err, &e) && (e.Code == Unavailable || e.Code == Interrupted) {
		return &Error{e.Code, fmt.Errorf("%w\nThe change may have been made: look at the token before you repeat it", e)}
	}
	return err
}
