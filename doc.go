// Package tokenauth gives the users of a web service API tokens: many named ones
// for each user, one for each client, so that changing or revoking one client's
// key never touches another's.
//
// # Getting started
//
// A [Manager] issues tokens and keeps them in a [Store]; an [Authenticator] turns
// requests that present a key into requests with a user of the service's own type:
//
//	store, err := tokenauth.NewSQLStore(db, tokenauth.SQLite, nil) // or NewMemoryStore()
//	tokens := tokenauth.New(store, "acme", nil)
//	auth := tokenauth.NewAuthenticator(tokens, users.ByID, nil)
//
//	mux.Handle("GET /me", auth.Require(me))
//	mux.Handle("POST /orders", auth.RequireScopes("orders:write")(order))
//
//	key, token, err := tokens.Issue(ctx, tokenauth.Spec{UserID: "42", Name: "laptop"})
//	fmt.Println(key.Reveal()) // the only time the key is seen
//
// Inside a handler, [UserFrom] and [TokenFrom] tell who sent the request.
//
// # Words
//
// A [Token] is one named record of one user; it is no secret. A [Key] is the
// secret that a client presents. A [Digest] is what is stored of a key. A scope
// says what a token may do. A token is live until it is revoked or pruned.
//
// # Security
//
// Keys have 190 random bits and are stored as SHA-256 alone: who reads the table
// can't sign in. They are accepted in a header and nowhere else. A Key does not
// print itself, and no error of this package contains one. Whatever is unclear is
// refused: a wrong key is 401, a missing scope 403, and a store that does not
// answer 503, never 401. A Store is not trusted: the Manager judges expiry and
// revocation, and compares digests again in constant time.
//
// # Errors
//
// Errors are matched with [errors.Is]. Those of authentication are [ErrNoKey],
// [ErrInvalidRequest], [ErrInvalidKey] (which [ErrExpired], [ErrRevoked] and
// [ErrNoUser] wrap) and [ErrInsufficientScope]; those of management are
// [ErrNotFound], [ErrNameTaken], [ErrTooManyTokens], [ErrConflict],
// [ErrInvalidSpec] and those listed at [Store]. Any other error means that a
// question was not answered. [StatusCode] tells the HTTP status of each.
//
// # Concurrency
//
// All types are safe for concurrent use, unless their documentation says
// otherwise. No function starts a goroutine that outlives its call, but a Manager
// writes last uses in the background.
//
// # Testing
//
// Package tokenauthtest helps services to test their handlers, package storetest
// tests implementations of Store.
package tokenauth
