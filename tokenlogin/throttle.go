package tokenlogin

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/syntax"
)

// A Throttle delays clients that guess passwords. It counts failed attempts in the memory of one
// process and uses a bounded amount of memory. A Throttle is safe for concurrent use. [NewThrottle]
// makes a Throttle.
//
// After several failures in a row, an account must wait, and the wait becomes longer after each
// further failure. During the wait, the response is 429 with Retry-After. After 100 failures in a
// row, the account is locked until 30 days have passed, or until the service calls
// [Throttle.Unlock]. A success ends the row of failures. Concurrent attempts do not allow more
// guesses: at most five attempts per account run at the same time, and further attempts wait for
// them.
//
// After several failures from one address, on any accounts, the address must wait too, until an
// hour has passed without a failure. Addresses in the same IPv6 /64 count as one address. A success
// does not reset the failures of an address, because other people may use the same address.
//
// The last eight addresses from which an account signed in are the known places of the account.
// Each of them has a separate count of failures for the account, and an attempt from there need not
// wait for its address. Therefore strangers who fail at other addresses, or at the same address on
// other accounts, cannot lock the user out of known places. They can lock the user out of all other
// addresses. At a known place, only one attempt of the account runs at the same time.
//
// Only a few checks run at the same time. If attempts wait, those from known places run first, and
// after four of them one other attempt runs. Therefore strangers without a password delay a user at
// a known place only by the checks that already run. Strangers with accounts of their own are at
// known places too: each account and known place of theirs can delay the user by one check. All
// other attempts wait in the order of their arrival. If an attempt waits more than 5 seconds for
// other attempts, the response is 503.
//
// Usernames that differ only in letter case, control characters, invisible characters or
// surrounding space are one account. The check function of the service must not accept other
// spellings for the same user. Otherwise each spelling allows the full number of guesses. Therefore
// the service must compare usernames exactly, for example with the collation utf8mb4_bin. Other
// collations may ignore accents, or the width of letters.
type Throttle struct {
	accounts  *counter
	addresses *counter
	places    *places
	checks    queue
}

// NewThrottle returns a Throttle that has not counted any failures yet.
func NewThrottle() *Throttle {
	return &Throttle{
		accounts: newCounter(accountPolicy), addresses: newCounter(addressPolicy), places: newPlaces(),
		checks: queue{free: max(1, runtime.GOMAXPROCS(0)/2)},
	}
}

// Unlock forgets the failures of an account, at all addresses, and its known places. Its user, and
// anybody else, can then attempt to sign in without a wait for the account. Unlock does not forget
// the failures of addresses. It is meant for staff who have identified the user by other means.
func (t *Throttle) Unlock(username string) {
	account := accountOf(username)
	t.accounts.reset(account)
	t.places.forget(account)
}

// queueTime is the longest time that an attempt waits for other attempts.
const queueTime = 5 * time.Second

// errBusy is the reason why an attempt ends before its password is checked.
var errBusy = errors.New("tokenlogin: too many concurrent logins")

// attempt calls check, unless the account or the address must wait, and then issue, unless check
// returns an error. It returns the error of check or issue. Only check occupies a turn of the
// queue. All waits for other attempts end within queueTime.
func (t *Throttle) attempt(ctx context.Context, username, address string, check, issue func() error) error {
	wait, cancel := context.WithTimeoutCause(ctx, queueTime, errBusy)
	defer cancel()
	account, place := subject{name: accountOf(username)}, subject{name: placeOf(address)}
	known := t.places.know(account.name, place.name)
	if known {
		account.place = place.name
	}
	result := unknown
	if err := t.accounts.begin(wait, account); err != nil {
		return err
	}
	defer func() { t.accounts.end(account, result) }()
	if address != "" {
		if known {
			t.addresses.join(place)
		} else if err := t.addresses.begin(wait, place); err != nil {
			return err
		}
		defer func() { t.addresses.end(place, min(result, unknown)) }() // a success does not reset an address
	}
	err := t.checks.run(wait, known, func() error {
		result = failed // also if check panics
		return check()
	})
	if err != nil {
		if err != errRefused && ctx.Err() == nil { // an attempt has failed if its client disconnects during the check
			result = unknown
		}
		return err
	}
	result = unknown // also if issue panics
	err = issue()
	switch {
	case err == nil:
		result = passed
		if address != "" {
			t.places.add(account.name, place.name)
		}
	case err == errRefused:
		result = failed
	case tokenauth.StatusCode(err) < http.StatusInternalServerError: // the password is right, but for example the name is taken
		result = passed
	}
	return err
}

// accountOf returns the hash of a username. Spellings that a database is likely to accept for the
// same user have the same hash. The change to upper case comes first, because several lower-case
// letters may have one upper-case letter.
func accountOf(username string) digest {
	visible := strings.TrimSpace(syntax.WithoutUnsafe(username))
	return sha256.Sum256([]byte(strings.ToLower(strings.ToUpper(visible))))
}

// placeOf returns the hash of the counted part of an address.
func placeOf(address string) digest { return sha256.Sum256([]byte(addressOf(address))) }

var (
	// sharedAddresses is the range of addresses that providers share among customers (RFC 6598).
	sharedAddresses = netip.MustParsePrefix("100.64.0.0/10")
	// translated is the range of IPv6 addresses whose last four bytes are an IPv4 address (RFC 6052).
	translated = netip.MustParsePrefix("64:ff9b::/96")
)

// peerAddress returns the address of the connection's peer, or "" if the peer is most likely a
// proxy.
func peerAddress(r *http.Request) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	ip := plain(peer.Addr())
	if err != nil || ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || sharedAddresses.Contains(ip) {
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
	ip = plain(ip)
	if ip.Is6() {
		if prefix, err := ip.Prefix(64); err == nil {
			return prefix.String()
		}
	}
	return ip.String()
}

// plain returns the IPv4 address that an IPv6 address embeds, or else the address without its zone.
// Without plain, all IPv4 addresses behind a NAT64 translator would share one /64 prefix.
func plain(ip netip.Addr) netip.Addr {
	ip = ip.Unmap().WithZone("")
	if !translated.Contains(ip) {
		return ip
	}
	bytes := ip.As16()
	return netip.AddrFrom4([4]byte(bytes[12:]))
}
