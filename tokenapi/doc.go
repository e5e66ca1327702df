// Package tokenapi lets people manage their tokens, and sign in for one, by an
// HTTP API in JSON.
//
// [New] serves the tokens of whoever is signed in, [NewStaff] those of all users,
// and [NewLogin] a username and a password for a new token. A service mounts them:
//
//	api := tokenapi.New(tokens, sessionUserID, nil)
//	mux.Handle("/api/", http.StripPrefix("/api", auth.Optional(api)))
//	mux.Handle("/api/login", tokenapi.NewLogin(tokens, checkPassword, nil))
//
// # Routes
//
//	GET    /tokens              list; cursor, limit (100 if not given, at most 500),
//	                            revoked in the query
//	POST   /tokens              create: the key is in this answer and no other
//	DELETE /tokens              revoke all
//	GET    /tokens/{id}         read; revoked ones too
//	PATCH  /tokens/{id}         rename, change scopes or expiry
//	DELETE /tokens/{id}         revoke; 204 however often
//	POST   /tokens/{id}/rotate  a new key, in this answer and no other; given the
//	                            generation to replace, it can be repeated
//	POST   /logout              revoke the token that the request presents
//	POST   /logout-all          revoke all tokens of its user
//	POST   /login               NewLogin, at whatever path it is mounted
//	GET    /openapi.json        all this as an OpenAPI 3.1 document
//
// Of these [NewStaff] serves GET and DELETE.
//
// Errors are problem+json (RFC 9457) and name the member or parameter that is
// wrong. A body must be application/json (for a login a form will do), of at most
// 64 KiB, without members that are unknown, given twice or spelt in another letter
// case. After a 503 without
// Retry-After a token may have been made, or rotated: look before repeating it.
//
// A request costs the database what the Manager's method does: one call to list, read
// or revoke, two to change or rotate, two to create or log in (one where MaxPerUser is
// negative; more where an expired token, or one of that name, is in the way). A key that a
// request presents costs one to find, and a change to another token by it one to compare them.
//
// # Security
//
// No answer is to be stored by a cache, and none holds a key but those of create,
// rotate and login. Requests that a cookie authorises are refused if a browser
// says that they come from another origin ([http.CrossOriginProtection]). Nothing
// of an internal error reaches the client.
//
// What is left to the service: time limits of its [http.Server], against clients
// that send slowly, and the checks that it hands in.
package tokenapi
