package tokenlogin

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth/internal/challenge"
)

// A Throttle delays clients that guess passwords. It counts failed attempts in the memory of one
// process and uses a bounded amount of memory. A Throttle is safe for concurrent use. [NewThrottle]
// makes a Throttle.
//
// After several failures in a row, an account must wait, and the wait becomes longer after each
// further failure. During the wait, the response is 429 with Retry-After. After 100 failures in a
// row, the account is locked until 30 days have passed. A success ends the row of failures.
// Concurrent attempts do not allow more guesses: at most five attempts per account run at the same
// time, and further attempts wait for them.
//
// After several failures from one address, on any accounts, the address must wait too, until an
// hour has passed without a failure. Addresses in the same IPv6 /64 count as one address. A success
// does not reset the failures of an address, because other people may use the same address.
//
// Each account has a separate count of failures for each of the last eight addresses from which it
// signed in. Therefore strangers who fail at other addresses cannot lock the user out of these
// eight addresses. They can lock the user out of all other addresses.
//
// Usernames that differ only in letter case or in surrounding space are one account. The check
// function of the service must not accept other spellings for the same user.
//
// Only a few checks run at the same time. If an attempt waits more than 5 seconds for other
// attempts, the response is 503.
type Throttle struct {
	accounts  *counter
	addresses *counter
	places    *places
	checks    chan struct{} // semaphore that limits the running checks, because hashing occupies a processor
}

// NewThrottle returns a Throttle that has not counted any failures yet.
func NewThrottle() *Throttle {
	return &Throttle{
		accounts: newCounter(accountPolicy), addresses: newCounter(addressPolicy), places: newPlaces(),
		checks: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
	}
}

// queueTime is the longest time that an attempt waits for other attempts.
const queueTime = 5 * time.Second

// The reasons why an attempt ends before its password is checked.
var (
	errBusy      = errors.New("tokenlogin: too many concurrent logins")
	errUnchecked = errors.New("tokenlogin: password not checked")
)

// attempt calls verify, unless the account or the address must wait, and returns the ID of the
// user. All waits for other attempts, including those in verify, end within queueTime.
func (t *Throttle) attempt(ctx context.Context, username, address string, verify func(queue context.Context) (string, error)) (userID string, err error) {
	queue, cancel := context.WithTimeoutCause(ctx, queueTime, errBusy)
	defer cancel()
	account, address := strings.ToLower(username), addressOf(address)
	name := account
	if t.places.know(account, address) {
		name += "\x00" + address
	}
	if err := t.accounts.begin(queue, name); err != nil {
		return "", err
	}
	onAccount, onAddress := failed, failed // outcomes if verify panics
	defer func() { t.accounts.end(name, onAccount) }()
	if address != "" {
		if err := t.addresses.begin(queue, address); err != nil {
			onAccount = unknown
			return "", err
		}
		defer func() { t.addresses.end(address, onAddress) }()
	}
	userID, err = verify(queue)
	switch {
	case err == nil:
		onAccount, onAddress = passed, unknown
		if address != "" {
			t.places.add(account, address)
		}
	case isRefusal(err):
	// Count neither a failure nor a success. However, an attempt has failed if its client
	// disconnects during the check.
	case ctx.Err() == nil || errors.Is(err, errUnchecked):
		onAccount, onAddress = unknown, unknown
	}
	return userID, err
}

// isRefusal reports whether err means that the password is wrong.
func isRefusal(err error) bool {
	var p *challenge.Problem
	return errors.As(err, &p) && p.Status == http.StatusBadRequest
}

// peerAddress returns the address of the connection's peer, or "" if the peer is most likely a
// proxy.
func peerAddress(r *http.Request) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if ip := peer.Addr().Unmap(); err != nil || ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() {
		return ""
	}
	return r.RemoteAddr
}

// addressOf returns the part of an address for which failures are counted. For an IPv6 address,
// this is the /64 prefix, because providers give a whole /64 to each customer.
func addressOf(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		withPort, err := netip.ParseAddrPort(address)
		if err != nil {
			return address
		}
		ip = withPort.Addr()
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is6() {
		if prefix, err := ip.Prefix(64); err == nil {
			return prefix.String()
		}
	}
	return ip.String()
}
