// Package tokenapi provides a JSON API over HTTP with which users and their programs manage tokens.
// Use it for command-line programs and apps, or for a page of your own. Package
// [github.com/go-tokenauth/tokenauth/tokenpage] has a finished page. A program without any key gets
// its first key from package [github.com/go-tokenauth/tokenauth/tokenlogin].
//
// [New] returns the API for the tokens of the signed-in user. [NewStaff] returns the API for the
// tokens of all users. A service mounts the handlers under a path prefix:
//
//	api, err := tokenapi.New(auth, sessionUserID, nil)
//	mux.Handle("/api/", http.StripPrefix("/api", api))
//
// The guide [docs/manage-tokens.md] has code for sessions, and for a page on another origin.
//
// # Routes
//
//	GET    /tokens              list; query parameters: cursor, limit (default 100, at most 500),
//	                            revoked (true: the list includes revoked tokens), created_by
//	                            (actor that created the token) and expires_before (RFC 3339)
//	POST   /tokens              create; only this response contains the key
//	DELETE /tokens              revoke all
//	GET    /tokens/{id}         read, even if the token is revoked
//	PATCH  /tokens/{id}         change the name, the scopes, the resources or the expiry
//	DELETE /tokens/{id}         revoke; the status is 204 even if the token is already revoked
//	POST   /tokens/{id}/rotate  replace the key; only this response contains the new key; if the
//	                            body has the generation to replace, the request is safe to repeat
//	GET    /tokens/self         read the presented token
//	POST   /tokens/self/rotate  replace the key of the presented token; the body must have the
//	                            generation to replace
//	POST   /logout              revoke the presented token
//	POST   /logout-all          revoke all tokens of the presented token's user
//	GET    /openapi.json        OpenAPI 3.1 document of these routes, and of package tokenlogin
//
// [NewStaff] serves only the routes that list, read and revoke tokens.
//
// A token in a response is the JSON of [tokenauth.Token]. The body of an error response is
// problem+json (RFC 9457) and names the invalid member or parameter, unless the Authenticator has
// an ErrorHandler. A request body must be application/json, at most 64 KiB, without unknown or
// repeated members. Names of members are case-sensitive. After a 503 without Retry-After, a token
// may have been created or rotated. Check this before you repeat the request.
//
// The number of calls to the store depends on the request:
//
//   - one call to list, read or revoke
//   - two calls to change, three calls to rotate
//   - two calls to create a token, or one call if MaxPerUser is negative
//   - more calls to create a token if an expired token has the name, or if the user already has
//     MaxPerUser tokens
//
// The authentication of a presented key takes two more calls. The second call reads the token from
// the store, and is never served from a cache. If a key changes another token than its own, one
// more call reads the other token to compare the rights. If a key creates a token, one more call
// reads the presented token again. A request that reads the
// presented token makes no further call.
//
// # Security
//
// Responses forbid caching. Only the responses to create and rotate contain a key. A request that
// presents no key is refused if the browser reports that the request comes from another origin
// ([Options].CrossOrigin). Responses do not contain the texts of internal errors.
//
// A token that is restricted to resources cannot manage tokens, because these are not divided by
// resource. It can only revoke itself (/logout), and read and rotate itself if it has the scope of
// [Options].SelfScope. No request with a key adds a resource to a token.
//
// A request whose body has begun is judged when its body has arrived, not before. A client whose
// token is revoked or narrowed meanwhile, or whose user signs out, changes nothing. If this happens
// while the client creates a token, the handler revokes the new token and returns no key.
//
// A body that takes longer than 10 seconds gets a 408. The service should nevertheless set the
// timeouts of its [http.Server], because the handlers cannot set a deadline behind
// [http.TimeoutHandler], or behind a ResponseWriter without the method Unwrap.
//
// [docs/manage-tokens.md]: https://github.com/go-tokenauth/tokenauth/blob/main/docs/manage-tokens.md
package tokenapi
