package tokencli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/go-tokenauth/tokenauth"
)

// aboutToken lets a command name its token by the user's name for it.
func (c *cli) aboutToken(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringP("user", "u", "", "the `ID` of the token's user; then TOKEN may be its name")
	complete(cmd, "user")
	cmd.ValidArgsFunction = c.completeToken
	return cmd
}

// find returns the token that ref names: by its ID, or, if the user is given, as one
// of the user's by its ID, else by its name while it is live.
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
		return tokenauth.Token{}, fmt.Errorf("%w has this ID; to give its name, give --user too", tokenauth.ErrNotFound)
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

// named is how a message names a token.
func named(t *tokenauth.Token) string {
	return fmt.Sprintf("token %s (%s) of user %s", visible(t.Name), visible(t.ID), visible(t.UserID))
}
