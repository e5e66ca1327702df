package tokenimport_test

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/tokenimport"
)

// The client of a Django service keeps the key that Django REST Framework gave it.
func Example() {
	ctx := context.Background()
	django, err := sql.Open("sqlite", ":memory:") // stands for the database of the Django service
	if err != nil {
		panic(err)
	}
	defer django.Close()
	django.SetMaxOpenConns(1) // each connection to :memory: has its own database
	_, err = django.Exec(`
		CREATE TABLE auth_user (id INTEGER PRIMARY KEY, is_active BOOLEAN);
		CREATE TABLE authtoken_token ("key" TEXT PRIMARY KEY, created DATETIME, user_id INTEGER);
		INSERT INTO auth_user VALUES (42, true);
		INSERT INTO authtoken_token VALUES ('9944b09199c62bcf9418ad846dd0e4bbdfc6ee4b', '2025-11-03 09:30:00', 42)`)
	if err != nil {
		panic(err)
	}

	tokens, err := tokenauth.New(tokenauth.NewMemoryStore(), "acme", &tokenauth.Options{
		Legacy: []tokenauth.LegacyFormat{tokenimport.DRFFormat()}, // accepts the imported keys
	})
	if err != nil {
		panic(err)
	}
	report, err := tokenimport.Run(ctx, tokens, tokenimport.DRF(django, tokenauth.SQLite, nil), nil)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%+v\n", report)

	token, err := tokens.Authenticate(ctx, "9944b09199c62bcf9418ad846dd0e4bbdfc6ee4b")
	fmt.Println(token.UserID, token.Origin, err)

	// When no imported key is left, remove DRFFormat from Options.Legacy.
	left, err := tokenimport.Remaining(ctx, tokens, "drf")
	fmt.Println(left.Tokens, err)
	// Output:
	// {Read:1 Imported:1 Existing:0 Refused:0}
	// 42 drf <nil>
	// 1 <nil>
}
