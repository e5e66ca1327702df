package tokencli_test

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/tokencli"
)

// A service has its tokens administered by its own program, with its own prefix and
// policy.
func Example() {
	var database string
	root := &cobra.Command{Use: "acme", Short: "The service and its administration"}
	root.PersistentFlags().StringVar(&database, "database", "acme.db", "the service's database")
	root.AddCommand(tokencli.New(func(context.Context) (*tokenauth.Manager, error) {
		store := tokenauth.NewMemoryStore() // the service opens its own, at what the flag says
		return tokenauth.New(store, "acme", &tokenauth.Options{Scopes: []string{"orders:read", "orders:write"}}), nil
	}, nil))

	root.SetArgs([]string{"tokens", "revoke", "--user", "42", "laptop", "--yes"})
	root.SetErr(os.Stdout)
	code := tokencli.ExitCode(root.ExecuteContext(context.Background()))
	if code != tokencli.NotFound {
		panic(code)
	}
	// Output: Error: no such token
}
