// Package tokenlogin provides an HTTP endpoint that takes a username and a password and returns a
// new token. Each device gets its own token. Use this package for programs without a browser, such
// as a mobile app, which need a first key. The program then manages its tokens by package
// [github.com/go-tokenauth/tokenauth/tokenapi], which also has the logout. In a browser, people can
// create a token on the page of package [github.com/go-tokenauth/tokenauth/tokenpage].
//
//	login, err := tokenlogin.New(auth, checkPassword, nil)
//	mux.Handle("/api/login", login)
//
// The endpoint accepts POST requests at the path where the service mounts it. The body is JSON or a
// form. The members "username" and "password" are required. The members "name", "scopes" and
// "expires_at" are optional. If the body has no name, the endpoint takes the name of the token from
// the User-Agent header. If the user has a token with that name, the endpoint adds a number. The
// OpenAPI document of package tokenapi describes the endpoint as /login. The guide
// [docs/manage-tokens.md] has code for the function checkPassword.
//
// The response is the JSON of [tokenauth.Token] with the key as "key". For clients of Django REST
// Framework, the member "token" repeats the key. For clients of knox, the member "expiry" repeats
// the expiry.
//
// The tokens of logins have "login" as [tokenauth.Token].CreatedBy. If a user already has the
// maximum number of tokens, [Options].AtLimit decides.
//
// # Changing passwords
//
// A login takes time, and the password may change meanwhile. With [Options].Stamp, a login with the
// previous password leaves no live token if the service first commits the new password and then
// calls [tokenauth.Manager.RevokeAll].
//
// # Guessing passwords
//
// Failed attempts delay the next attempts; see [Throttle].
//
// # Other origins
//
// The endpoint reads and sets no cookie, so it accepts requests from pages of other origins. If a
// service calls the endpoint to check a form and then sets a cookie, the service must check the
// origin of that form itself, for example with [net/http.CrossOriginProtection].
//
// [docs/manage-tokens.md]: https://github.com/go-tokenauth/tokenauth/blob/main/docs/manage-tokens.md
package tokenlogin
