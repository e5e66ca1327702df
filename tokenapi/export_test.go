package tokenapi

import (
	"maps"
	"net/http"
	"slices"
	"time"
)

// DecodeJSON decodes a body that may have these members, and tells which were given.
func DecodeJSON(body []byte) (name string, scopes []string, expiresAt time.Time, seconds int64, err error) {
	var e expiry
	err = decodeJSON(body, members{"name": &name, "scopes": &scopes, "expires_at": &e, "grace_seconds": &seconds})
	return name, scopes, e.at, seconds, err
}

// Routes returns the methods of each path that New or NewStaff serves.
func Routes(h http.Handler) map[string][]string {
	routes := map[string][]string{}
	for path, methods := range h.(*handler).routes {
		routes[path] = slices.Sorted(maps.Keys(methods))
	}
	return routes
}

// Document is the OpenAPI document.
var Document = document

// KeepAttempts makes a login handler remember fewer accounts and addresses.
func KeepAttempts(h http.Handler, n int) {
	t := h.(*login).options.Throttle
	t.accounts.max, t.addresses.max, t.places.max = n, n, n
}

// Attempts returns how many rows of accounts, addresses and accounts with places it
// remembers.
func Attempts(h http.Handler) []int {
	t := h.(*login).options.Throttle
	return []int{len(t.accounts.entries), len(t.addresses.entries), len(t.places.last)}
}

var (
	AddressOf    = addressOf
	FormatCursor = formatCursor
)
