// Package tokenauth provides API tokens for the users of a web service. A user can have many named
// tokens, one for each client. Therefore a change or revocation of one client's key does not affect
// the user's other clients.
//
// # Getting started
//
// A [Manager] issues tokens and keeps them in a [Store]. An [Authenticator] is HTTP middleware. It
// authenticates a request by its key and passes the user, a value of the service's own type, to the
// handler:
//
//	store, err := tokenauth.NewSQLStore(db, tokenauth.SQLite, nil) // or NewMemoryStore()
//	err = store.CreateSchema(ctx)
//	tokens, err := tokenauth.New(store, "acme", nil)
//	auth, err := tokenauth.NewAuthenticator(tokens, users.ByID, nil)
//
//	mux.Handle("GET /me", auth.Require(http.HandlerFunc(me)))
//	mux.Handle("POST /orders", auth.RequireScopes("orders:write")(http.HandlerFunc(order)))
//
//	key, token, err := tokens.Issue(ctx, tokenauth.Spec{UserID: "42", Name: "laptop"})
//	fmt.Println(key.Reveal()) // the key cannot be read again later
//
// Inside a handler, [Authenticator.User] returns the user of the request and [Authenticator.Token]
// returns the token. Use [TokenFrom] in code that has no access to the Authenticator, such as a
// logger.
//
// A constructor that takes options returns an error for an invalid option. It panics if a required
// argument is nil.
//
// # Concepts
//
// A [Token] is a named record that belongs to one user. It contains no secret. A [Key] is the
// secret that a client presents. A [Digest] is the SHA-256 hash of a key. The Store holds digests
// and no keys. A scope is a permission of a token. A token is live until it is revoked or pruned.
//
// # Security
//
// Keys have 190 random bits. The Store holds only their SHA-256 hashes, so read access to the table
// does not allow anyone to sign in. Keys are accepted only in a request header. Formatting a Key
// does not reveal the secret, and no error of this package contains a key. A request is accepted
// only if every check succeeds. The response to a wrong key is 401, and the response to a missing
// scope is 403. If the store fails, the response is 503, never 401. The Manager does not rely on
// the Store for access control: it checks expiry, revocation and digests itself.
//
// # Errors
//
// Match errors with [errors.Is]. The errors of authentication are [ErrNoKey], [ErrInvalidRequest],
// [ErrInvalidKey] and [ErrInsufficientScope]. [ErrExpired], [ErrRevoked] and [ErrNoUser] wrap
// ErrInvalidKey. The errors of management are [ErrNotFound], [ErrNameTaken], [ErrTooManyTokens],
// [ErrConflict], [ErrInvalidSpec] and the other sentinel errors of a [Store]. For an invalid
// argument, the error is a [*SpecError], which names the field. Any other error means that the
// store or the user lookup failed. [StatusCode] returns the HTTP status for an error, and
// [Authenticator.WriteError] writes the whole error response.
//
// # Concurrency
//
// All types are safe for concurrent use, unless their documentation says otherwise. A Manager
// writes last-used times in the background. [Manager.Close] writes the last-used times that are
// still in memory, and stops the background writes.
//
// # Testing
//
// Use package tokenauthtest to test the handlers of a service. Use package storetest to test an
// implementation of Store.
package tokenauth
