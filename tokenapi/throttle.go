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

// attempt returns the user that verify tells, if one may be tried now.
func (t *Throttle) attempt(ctx context.Context, username, address string, verify func() (string, error)) (userID string, err error) {
	account, address, now := strings.ToLower(username), addressOf(address), time.Now()
	row := account
	if t.places.know(account, address) {
		row += "\x00" + address
	}
	onAccount, wait := t.accounts.begin(row, now)
	var onAddress attempt
	if wait == 0 && address != "" {
		if onAddress, wait = t.addresses.begin(address, now); wait > 0 {
			t.accounts.undo(onAccount, now)
		}
	}
	if wait > 0 {
		return "", retry(http.StatusTooManyRequests, "Too many failed attempts. Try again later.", wait)
	}
	userID, err = verify()
	var refused *problem
	switch {
	case err == nil:
		t.accounts.reset(row)
		t.addresses.undo(onAddress, time.Now())
		if address != "" {
			t.places.add(account, address)
		}
	case errors.As(err, &refused) && refused.cause != nil && ctx.Err() == nil: // no verdict, and not for the client's hanging up
		t.accounts.undo(onAccount, time.Now())
		t.addresses.undo(onAddress, time.Now())
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
