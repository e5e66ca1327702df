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
func KeepAttempts(h http.Handler, n int) { h.(*login).accounts.max, h.(*login).addresses.max = n, n }

// Attempts returns how many accounts and addresses it remembers.
func Attempts(h http.Handler) (accounts, addresses int) {
	return len(h.(*login).accounts.entries), len(h.(*login).addresses.entries)
}

var (
	AddressOf    = addressOf
	FormatCursor = formatCursor
)
