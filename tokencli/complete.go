package tokencli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/go-tokenauth/tokenauth"
)

// complete sets the completions of a flag. Without values, the shell offers nothing, instead of
// files.
func complete(cmd *cobra.Command, flag string, values ...cobra.Completion) {
	completeBy(cmd, flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

func completeBy(cmd *cobra.Command, flag string, by cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, by); err != nil {
		panic("tokencli: " + err.Error()) // the flag does not exist
	}
}

// completeScope offers the scopes that the Manager knows.
func (c *cli) completeScope(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	m, err := c.open(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return m.Scopes(), cobra.ShellCompDirectiveNoFileComp
}

// completeResource offers the resources of the user in --user.
func (c *cli) completeResource(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	user, _ := cmd.Flags().GetString("user")
	m, err := c.open(cmd.Context())
	if err != nil || m.CheckUserID(user) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
	defer cancel()
	resources, err := m.Resources(ctx, user)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var offers []cobra.Completion
	for _, r := range resources {
		offers = append(offers, cobra.CompletionWithDesc(r.ID, strings.TrimSpace(visible(r.Label))))
	}
	return offers, cobra.ShellCompDirectiveNoFileComp
}

// completeGrace offers durations up to the longest grace that the Manager allows.
func (c *cli) completeGrace(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	m, err := c.open(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var offers []cobra.Completion
	for _, grace := range []time.Duration{time.Hour, day, 7 * day} {
		if grace < m.MaxGrace() {
			offers = append(offers, short(grace))
		}
	}
	return append(offers, short(m.MaxGrace())), cobra.ShellCompDirectiveNoFileComp
}

// completionTimeout is how long a completion waits for the store, or for the function that returns
// the resources.
const completionTimeout = 2 * time.Second

// completeToken offers the live tokens of the user in --user. Without --user, it offers nothing,
// because a service may have many tokens.
func (c *cli) completeToken(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	user, _ := cmd.Flags().GetString("user")
	if user == "" || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	m, err := c.open(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
	defer cancel()
	live, err := m.List(ctx, tokenauth.Query{UserID: user})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var offers []cobra.Completion
	for t := range slices.Values(live) {
		offers = append(offers, cobra.CompletionWithDesc(t.ID, strings.TrimSpace(visible(t.Name))))
	}
	return offers, cobra.ShellCompDirectiveNoFileComp
}
