package tokenapi

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"time"
)

// A Throttle keeps those waiting who guess passwords, as [NewLogin] says, and lets few
// checks run at once. What it counts is one process's own, in bounded memory, and ends
// with it. It is safe for concurrent use. Make it by [NewThrottle].
type Throttle struct {
	accounts  *counter
	addresses *counter
	places    *places
	checks    chan struct{} // those that run: hashing takes all of a processor
}

// NewThrottle returns a Throttle that has counted nothing.
func NewThrottle() *Throttle {
	return &Throttle{
		accounts: newCounter(accountPolicy), addresses: newCounter(addressPolicy), places: newPlaces(),
		checks: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
	}
}

const queueTime = 5 * time.Second

// Why an attempt was given up before its password was looked at.
var (
	errBusy      = errors.New("tokenapi: too many sign-ins at once, of one account, of one address or in all")
	errUnchecked = errors.New("not checked")
)

// attempt returns the user that verify tells, if one may be tried now. All that it waits
// for before the check, verify's own queue too, must come within queueTime.
func (t *Throttle) attempt(ctx context.Context, username, address string, verify func(queue context.Context) (string, error)) (userID string, err error) {
	queue, cancel := context.WithTimeoutCause(ctx, queueTime, errBusy)
	defer cancel()
	account, address := strings.ToLower(username), addressOf(address)
	row := account
	if t.places.know(account, address) {
		row += "\x00" + address
	}
	if err := t.accounts.begin(queue, row); err != nil {
		return "", err
	}
	onAccount, onAddress := failed, failed // also where verify panics
	defer func() { t.accounts.end(row, onAccount) }()
	if address != "" {
		if err := t.addresses.begin(queue, address); err != nil {
			onAccount = unknown
			return "", err
		}
		defer func() { t.addresses.end(address, onAddress) }()
	}
	userID, err = verify(queue)
	var refused *problem
	switch {
	case err == nil:
		onAccount, onAddress = passed, unknown
		if address != "" {
			t.places.add(account, address)
		}
	case !errors.As(err, &refused) || refused.cause == nil: // a verdict
	case ctx.Err() == nil || errors.Is(refused.cause, errUnchecked): // none, and not since the client hung up on one
		onAccount, onAddress = unknown, unknown
	}
	return userID, err
}

func peerAddress(r *http.Request) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if ip := peer.Addr().Unmap(); err != nil || ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() {
		return ""
	}
	return r.RemoteAddr
}

// addressOf returns what of an address counts: of IPv6 the part that is given to
// one customer, who has the rest to choose from.
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
