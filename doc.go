// Package tokenauth gives the users of a web service API tokens: many named ones
// for each user, one for each client, so that changing or revoking one client's
// key never touches another's.
package tokenauth
