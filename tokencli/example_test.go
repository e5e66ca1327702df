package tokencli_test

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/tokencli"
)

// openTokens stands for a service's own function that returns its Manager.
func openTokens(string) (*tokenauth.Manager, error) {
	return tokenauth.New(tokenauth.NewMemoryStore(), "acme", &tokenauth.Options{Scopes: []string{"orders:read", "orders:write"}})
}

// The service's own program has the commands, with the prefix and the policy of the service.
func Example() {
	var database string
	root := &cobra.Command{Use: "acme", Short: "The service and its administration"}
	root.PersistentFlags().StringVar(&database, "database", "acme.db", "the service's database")
	root.AddCommand(tokencli.New(func(context.Context) (*tokenauth.Manager, error) {
		return openTokens(database) // after the flags are parsed
	}, nil))

	root.SetArgs([]string{"tokens", "revoke", "--user", "42", "laptop", "--yes"})
	root.SetErr(os.Stdout)
	if tokencli.ExitCode(root.ExecuteContext(context.Background())) != tokencli.NotFound {
		panic("revoked a token that does not exist")
	}
	// Output: Error: no such token
}
