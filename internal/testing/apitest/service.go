package apitest

import (
	"context"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// NewAuth returns an Authenticator whose users are strings: the user IDs. If opts is nil, NewAuth
// uses the default options.
func NewAuth(m *tokenauth.Manager, opts *tokenauth.AuthenticatorOptions) *tokenauth.Authenticator[string] {
	return must.Get(tokenauth.NewAuthenticator(m, func(_ context.Context, id string) (string, error) { return id, nil }, opts))
}

// NewCrowdedStore returns a store whose Create always returns ErrSlotTaken, as if a concurrent
// request had always taken the slot first.
func NewCrowdedStore() *tokenauthtest.Store {
	store := tokenauthtest.NewStore(tokenauth.NewMemoryStore())
	store.Intercept(func(_ context.Context, method string, next func() error) error {
		if method == "Create" {
			return tokenauth.ErrSlotTaken
		}
		return next()
	})
	return store
}
