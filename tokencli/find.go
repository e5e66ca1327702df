package tokencli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/go-tokenauth/tokenauth"
)

// aboutToken adds the flag --user to a command with a TOKEN argument, and completes the argument.
func (c *cli) aboutToken(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringP("user", "u", "", "`ID` of the token's user; required if TOKEN is a name")
	complete(cmd, "user")
	cmd.ValidArgsFunction = c.completeToken
	return cmd
}

// find returns the token whose ID is ref. With --user, the token must belong to the user. If no
// token has the ID, and --user is given, find returns the user's live token whose name is ref.
func find(cmd *cobra.Command, m *tokenauth.Manager, ref string) (tokenauth.Token, error) {
	user, _ := cmd.Flags().GetString("user")
	given := cmd.Flags().Changed("user")
	found, err := m.List(cmd.Context(), tokenauth.Query{UserID: user, AllUsers: !given, IDs: []string{ref}, IncludeRevoked: true, Limit: 1})
	if err != nil {
		return tokenauth.Token{}, err
	}
	if len(found) == 0 && given {
		return findByName(cmd.Context(), m, user, ref)
	}
	if len(found) == 0 {
		return tokenauth.Token{}, fmt.Errorf("%w; without --user, TOKEN must be an ID", tokenauth.ErrNotFound)
	}
	return found[0], nil
}

func findByName(ctx context.Context, m *tokenauth.Manager, user, name string) (tokenauth.Token, error) {
	live, err := m.List(ctx, tokenauth.Query{UserID: user})
	for _, t := range live {
		if t.Name == name {
			return t, nil
		}
	}
	if err == nil {
		err = tokenauth.ErrNotFound
	}
	return tokenauth.Token{}, err
}

// named returns a token's name, ID and user for a message.
func named(t *tokenauth.Token) string {
	return fmt.Sprintf("token %s (%s) of user %s", visible(t.Name), visible(t.ID), visible(t.UserID))
}
