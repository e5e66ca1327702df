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
	var scopes, resources []string
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a token, and print its key once",
		Long: "Create a token of a user, and print its key once: alone on standard output, or with --json as the member\n" +
			"\"key\" of the token. If the key cannot be written, the command revokes the token.",
		Example: "  create --user 42 laptop --scope orders:read --expires 90d\n" +
			"  create --user 42 deploy --resource project-7",
	}
	jsonFlag(cmd)
	cmd.Flags().StringVarP(&user, "user", "u", "", "`ID` of the user")
	scopeFlag(c, cmd, &scopes)
	cmd.Flags().StringArrayVar(&resources, "resource", nil, "`ID` of a resource that the token is restricted to, or several IDs separated by spaces; may be repeated (default: all resources)")
	cmd.Flags().StringVar(&expires, "expires", "", "`TIME` of expiry: a duration from now (90d, 12h), a date (its end in UTC), a time (RFC 3339), or never (default: the policy of the service)")
	complete(cmd, "user")
	completeBy(cmd, "resource", c.completeResource)
	complete(cmd, "expires", "30d", "90d", "365d", "never")
	return c.managed(cmd, func(cmd *cobra.Command, m *tokenauth.Manager, args []string) error {
		spec := tokenauth.Spec{UserID: user, Name: args[0], Scopes: words(scopes), NoExpiry: expires == "never"}
		if user == "" {
			return usage("--user is required")
		}
		if len(resources) > 0 { // otherwise nil, which means all resources
			spec.Resources = words(resources)
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
		say(cmd, "Created %s. Expires: %s.", named(&t), c.relative(t.ExpiresAt))
		if err := writeKey(cmd, &t, key); err != nil {
			if m.Revoke(context.WithoutCancel(cmd.Context()), t.UserID, t.ID) != nil {
				return failed("the key could not be written, and the token could not be revoked; revoke the token")
			}
			return failed("the key could not be written, so the token was revoked")
		}
		return nil
	})
}

// writeKey writes the key of a new or rotated token. No other function writes a key.
func writeKey(cmd *cobra.Command, t *tokenauth.Token, key tokenauth.Key) error {
	if asJSON(cmd) {
		return writeJSON(cmd, tokenWithKey{*t, key.Reveal()})
	}
	say(cmd, "Store the key now. It is not shown again.")
	_, err := fmt.Fprintln(cmd.OutOrStdout(), key.Reveal())
	return err
}

// uncertain adds a warning to the error of a create or rotate that may have changed the store.
func uncertain(ctx context.Context, err error) error {
	err = coded(ctx, err)
	var e *Error
	if errors.As(err, &e) && (e.Code == Unavailable || e.Code == Interrupted) {
		return &Error{e.Code, fmt.Errorf("%w\nThe change may have been made. Check the token before you repeat the command", e)}
	}
	return err
}
