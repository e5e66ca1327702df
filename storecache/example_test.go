package storecache_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/storecache"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// A hundred requests with one key cost one query. A revocation takes effect immediately, because
// the Manager makes it through the Cache.
func ExampleNew() {
	ctx := context.Background()
	store := tokenauthtest.NewStore(tokenauth.NewMemoryStore()) // counts the queries
	cache, err := storecache.New(store, &storecache.Options{MaxStale: time.Minute})
	if err != nil {
		panic(err)
	}
	tokens, err := tokenauth.New(cache, "acme", nil)
	if err != nil {
		panic(err)
	}
	key, token, err := tokens.Issue(ctx, tokenauth.Spec{UserID: "42", Name: "laptop"})
	if err != nil {
		panic(err)
	}

	for range 100 {
		if _, err := tokens.Authenticate(ctx, key.Reveal()); err != nil {
			panic(err)
		}
	}
	fmt.Println("queries:", store.Count("Find"))

	if err := tokens.Revoke(ctx, "42", token.ID); err != nil {
		panic(err)
	}
	_, err = tokens.Authenticate(ctx, key.Reveal())
	fmt.Println("revoked:", errors.Is(err, tokenauth.ErrRevoked))
	// Output:
	// queries: 1
	// revoked: true
}

// Another process revoked a token, and sent its ID through a message bus.
func ExampleCache_Invalidate() {
	ctx := context.Background()
	store := tokenauth.NewMemoryStore() // stands for a database that both processes use
	cache, err := storecache.New(store, &storecache.Options{MaxStale: time.Minute})
	if err != nil {
		panic(err)
	}
	tokens, err := tokenauth.New(cache, "acme", nil)
	if err != nil {
		panic(err)
	}
	key, token, err := tokens.Issue(ctx, tokenauth.Spec{UserID: "42", Name: "laptop"})
	if err != nil {
		panic(err)
	}
	authenticate := func() {
		_, err := tokens.Authenticate(ctx, key.Reveal())
		fmt.Println("accepted:", err == nil)
	}

	authenticate()
	if err := store.Revoke(ctx, "42", token.ID, time.Now(), ""); err != nil { // the other process
		panic(err)
	}
	authenticate() // the Cache does not know about the revocation yet
	cache.Invalidate(token.ID)
	authenticate()
	// Output:
	// accepted: true
	// accepted: true
	// accepted: false
}
