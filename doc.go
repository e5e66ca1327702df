// Package tokenauth provides API tokens for the users of a web service. A user can have many named
// tokens, one for each client. Therefore a change or revocation of one client's key does not affect
// the user's other clients.
//
// The sections from Getting started to Security are for services that use tokens. The section
// Implementing a Store is for authors of a [Store].
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
// All packages of this module use these terms:
//
//   - A [Token] is a named record that belongs to one user. It contains no secret.
//   - A [Key] is the secret that a client presents. [CheckKey] checks the form of a key without a
//     store.
//   - A [Digest] is the SHA-256 hash of a key. The Store holds digests and no keys.
//   - A scope is a permission of a token. Scopes are compared exactly: there are no wildcards.
//   - A [Resource] is something that a token can be restricted to, such as a project. A token
//     without a restriction can be used for all resources.
//   - An actor makes a change of a token, such as "user:42". [ContextWithActor] says who that is.
//   - A token is live until it is revoked or pruned. An expired token is live, but its key is
//     refused.
//   - A rotation gives a token a new key. During the grace of the rotation, the previous key is
//     still accepted.
//
// # Requests, scopes and resources
//
// [Authenticator.Require] accepts every request with a valid key. [Authenticator.RequireScopes]
// also requires scopes. [Authenticator.RequireFunc] calls a function of the service to learn the
// [Need] of a request, for example from its path. [Authenticator.Optional] and
// [Authenticator.OptionalFunc] also accept requests without a key. [AuthenticatorOptions] has the
// names of the headers that may hold a key.
//
// If [Need].CurrentKey is true, the request must present the current key of the token. Call
// [Authenticator.Confirm] directly before a change that must not be based on outdated rights. Call
// [Authenticator.Authenticate] in code that cannot use middleware, such as a gRPC server. The pages
// [docs/frameworks.md] and [docs/rpc.md] have tested code for popular routers and for RPC.
//
// A token with [Token].Resources is refused unless the Need of the request names one or more of
// these resources, or has AnyResource. The handler then calls [Token.Allows]. [Options].Resources
// offers the resources of a user. See [docs/fine-grained-tokens.md].
//
// # Managing tokens
//
// [Manager.Issue] creates a token from a [Spec], and [Manager.List] returns the tokens that a
// [Query] selects, in pages. [Manager.Update] applies a [Patch] to the name, the scopes or the
// expiry. [Manager.Rotate] replaces the key. [Manager.Revoke], [Manager.RevokeAll] and
// [Manager.RevokeKey] revoke one token, all tokens of a user, and the token of a leaked key.
// [Manager.Prune] deletes tokens that expired or were revoked long ago. The fields of [Options]
// limit the scopes, the lifetime and the number of tokens.
//
// [Token].CreatedBy and [Token].RevokedBy name the actors. [Manager.RevokeCreatedBy] revokes all
// tokens that an actor created, for example a leaked token. See [docs/organizations.md].
//
// These methods are for forms and commands of your own. [Manager.Scopes], [Manager.MaxTTL] and
// [Manager.MaxGrace] return the limits of the Manager, and [Manager.Resources] the resources of a
// user. [Manager.CheckSpec] and [Manager.CheckUserID] check input. [Manager.Expired] reports
// whether a token is expired or was unused for too long, and [Manager.ExpiresSoon] whether it
// expires soon. With [Spec].ID or [Manager.RotateFrom], a form that is sent twice creates one key.
//
// These packages let people and programs manage tokens. The guide [docs/manage-tokens.md] shows the
// first three:
//
//   - [github.com/go-tokenauth/tokenauth/tokenpage] is an account page for a browser.
//   - [github.com/go-tokenauth/tokenauth/tokenapi] is a JSON API.
//   - [github.com/go-tokenauth/tokenauth/tokenlogin] issues a token for a username and a password.
//   - [github.com/go-tokenauth/tokenauth/tokencli] has commands for operators, which
//     [docs/command-line.md] shows. It is a module of its own.
//   - [github.com/go-tokenauth/tokenauth/tokenimport] imports the tokens of other systems. For a
//     system that it does not support, call [Manager.Import] and set a [LegacyFormat].
//
// # Events and last-used times
//
// [Options].OnEvent receives an [Event] for each change of a token and for each rejected request,
// with the [Reason]. [LogEvents] returns an OnEvent function for package log/slog. See
// [docs/observability.md].
//
// A Manager writes last-used times in the background, so [Token].LastUsedAt lags behind by at most
// [Options].TouchEvery. Call [Manager.Close] when the service stops. It writes the last-used times
// that are still in memory.
//
// # Errors
//
// Match errors with [errors.Is]:
//
//   - Errors of authentication are [ErrNoKey], [ErrInvalidRequest], [ErrInvalidKey],
//     [ErrInsufficientScope] and [ErrPreviousKey]. [ErrExpired], [ErrRevoked] and [ErrNoUser] wrap
//     ErrInvalidKey. A [*ScopeError] has the required scopes, and a [*ResourceError] the resources.
//   - Errors of management are [ErrNotFound], [ErrNameTaken], [ErrTooManyTokens], [ErrConflict],
//     [ErrInvalidSpec] and [ErrUserUnknown]. For an invalid argument, the error is a [*SpecError],
//     which names the field.
//   - Any other error means that the store or the user lookup failed.
//
// [StatusCode] returns the HTTP status for an error, and [Authenticator.WriteError] writes the
// whole error response.
//
// # Databases and transactions
//
// A [SQLStore] keeps tokens in one table of SQLite, PostgreSQL, MariaDB or MySQL. This package
// imports no driver. [SQLStore.CreateSchema] creates the table. [SQLStore.Migrations] returns the
// same statements for a migration tool, and [SQLStore.CheckSchema] then checks the table. The page
// [docs/databases.md] has the settings of each database. [NewSQLStoreOn] is for drivers without
// database/sql.
//
// A user ID is a string of the service's choice. If the column of user IDs in the database is not
// text, set [Options].CheckUserID to [DecimalUserID] or [UUIDUserID].
//
// [SQLStore.With] and [Manager.WithStore] make changes of tokens part of the service's own
// transaction:
//
//	inTx := tokens.WithStore(store.With(tx), collect)
//	key, token, err := inTx.Issue(ctx, spec)
//
// The function collect receives the events. The service passes them on after the commit.
//
// A [MemoryStore] is for tests, and for services that may lose all tokens when the process ends.
//
// # Caching
//
// Package [github.com/go-tokenauth/tokenauth/storecache] saves most of the queries that
// authenticate requests. A change that another process makes is then visible after at most ten
// seconds.
//
// # Testing
//
// Package [github.com/go-tokenauth/tokenauth/tokenauthtest] has a Manager for the tests of a
// service, with a clock and a store that the test controls. [Authenticator.NewContext] returns the
// context for a test of a handler without middleware.
//
// # Concurrency
//
// All types are safe for concurrent use, unless their documentation says otherwise.
//
// # Security
//
// Keys have 190 random bits. The Store holds only their SHA-256 hashes, so read access to the table
// does not allow anyone to sign in. Keys are accepted only in a request header. Formatting a Key
// does not reveal the secret, and no error of this package contains a key. A request is accepted
// only if every check succeeds. The response to a wrong key is 401, and the response to a missing
// scope is 403. If the store fails, the response is 503, never 401. The Manager does not rely on
// the Store for access control: it checks expiry, revocation and digests itself. [SECURITY.md]
// lists what the service must do itself.
//
// # Implementing a Store
//
// A [Store] finds a [Record] by the digest of a key, and makes each change of a token in one atomic
// operation. It does not read a clock, and does not decide whether a key is accepted. It returns
// [ErrNotFound], [ErrNameTaken], [ErrKeyTaken], [ErrSlotTaken], [ErrConflict] or [ErrUserUnknown],
// and every other error means that the call failed. The comment of Store is the whole contract, and
// the comment of Record lists the values that a Store must be able to hold.
//
// A Record contains the [Token], the digest of its key, the [RetiredKey] of the latest rotation,
// and the slot, which limits the number of tokens per user. The arguments of the methods are a
// [Query] with a [Cursor], a [Patch], a [Rotation] and a [Use]. If Store.Create cannot add one of
// several records, it returns a [*RecordError] with the position of the record. A Store on a
// transaction should have a method InTransaction, as [Manager.WithStore] describes.
//
// MemoryStore is the reference implementation. Package
// [github.com/go-tokenauth/tokenauth/storetest] tests an implementation against the contract. The
// guide [docs/your-own-store.md] shows implementations on bbolt and Redis.
//
// A database with its own driver may need only a [SQLConn] and [SQLRows], which replace
// database/sql in a SQLStore.
//
// [docs/command-line.md]: https://github.com/go-tokenauth/tokenauth/blob/main/docs/command-line.md
// [docs/databases.md]: https://github.com/go-tokenauth/tokenauth/blob/main/docs/databases.md
// [docs/fine-grained-tokens.md]: https://github.com/go-tokenauth/tokenauth/blob/main/docs/fine-grained-tokens.md
// [docs/frameworks.md]: https://github.com/go-tokenauth/tokenauth/blob/main/docs/frameworks.md
// [docs/manage-tokens.md]: https://github.com/go-tokenauth/tokenauth/blob/main/docs/manage-tokens.md
// [docs/observability.md]: https://github.com/go-tokenauth/tokenauth/blob/main/docs/observability.md
// [docs/organizations.md]: https://github.com/go-tokenauth/tokenauth/blob/main/docs/organizations.md
// [docs/rpc.md]: https://github.com/go-tokenauth/tokenauth/blob/main/docs/rpc.md
// [docs/your-own-store.md]: https://github.com/go-tokenauth/tokenauth/blob/main/docs/your-own-store.md
// [SECURITY.md]: https://github.com/go-tokenauth/tokenauth/blob/main/SECURITY.md
package tokenauth
