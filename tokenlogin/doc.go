// Package tokenlogin provides an HTTP endpoint that takes a username and a password and returns a
// new token. Each device gets its own token.
//
//	login, err := tokenlogin.New(auth, checkPassword, nil)
//	mux.Handle("/api/login", login)
//
// The endpoint accepts POST requests at the path where the service mounts it. The body is JSON or a
// form. The members "username" and "password" are required. The members "name", "scopes" and
// "expires_at" are optional. If the body has no name, the endpoint takes the name of the token from
// the User-Agent header. If the user has a token with that name, the endpoint adds a number. The
// OpenAPI document of package tokenapi describes the endpoint as /login.
//
// The response is the JSON of [tokenauth.Token] with the key as "key". For clients of Django REST
// Framework, the member "token" repeats the key. For clients of knox, the member "expiry" repeats
// the expiry.
//
// # Guessing passwords
//
// Failed attempts delay the next attempts; see [Throttle].
package tokenlogin
