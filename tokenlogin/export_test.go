package tokenlogin

import (
	"context"
	"net/http"

	"github.com/go-tokenauth/tokenauth"
)

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

// SetChecks sets the number of checks that a Throttle without running attempts allows to run at the
// same time.
func SetChecks(t *Throttle, n int) { t.checks.free = n }

// NewQueue returns a queue that allows one check at a time.
func NewQueue() *queue { return &queue{free: 1} }

// Enter calls enter.
func (q *queue) Enter(ctx context.Context, known bool) error { return q.enter(ctx, known) }

// Leave calls leave.
func (q *queue) Leave() { q.leave() }

// Fail makes an attempt with a wrong password, without the delay of its response. It returns the
// status of the response.
func (t *Throttle) Fail(ctx context.Context, username, address string) int {
	return tokenauth.StatusCode(t.attempt(ctx, username, address, func() error { return errRefused }, nil))
}
