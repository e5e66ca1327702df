package tokenlogin

import "net/http"

// KeepAttempts sets the maximum number of accounts, and of addresses, whose failures a login
// endpoint stores.
func KeepAttempts(h http.Handler, n int) {
	t := h.(*login).options.Throttle
	t.accounts.max, t.addresses.max, t.places.max = n, n, n
}

// Attempts returns three numbers for a login endpoint: accounts with failures, addresses with
// failures, and accounts with known addresses.
func Attempts(h http.Handler) []int {
	t := h.(*login).options.Throttle
	return []int{len(t.accounts.entries), len(t.addresses.entries), len(t.places.last)}
}

// AddressOf returns the part of an address for which failures are counted.
var AddressOf = addressOf
