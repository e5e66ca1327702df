package tokenlogin

import (
	"crypto/sha256"
	"slices"
	"sync"
)

// places are the addresses from which each account has signed in most recently. Failures from these
// addresses are counted separately. Therefore strangers cannot lock the user out at these
// addresses.
type places struct {
	max int // maximum number of accounts

	mu   sync.Mutex
	last map[[sha256.Size]byte][][sha256.Size]byte
}

// maxPlaces is the maximum number of addresses per account. Therefore one account cannot displace
// the addresses of other accounts.
const maxPlaces = 8

func newPlaces() *places {
	return &places{max: maxEntries, last: map[[sha256.Size]byte][][sha256.Size]byte{}}
}

func (p *places) know(account, address string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Contains(p.last[sha256.Sum256([]byte(account))], sha256.Sum256([]byte(address)))
}

func (p *places) add(account, address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key, place := sha256.Sum256([]byte(account)), sha256.Sum256([]byte(address))
	last, known := p.last[key]
	if !known && len(p.last) >= p.max {
		for other := range p.last { // delete one arbitrary account
			delete(p.last, other)
			break
		}
	}
	last = slices.DeleteFunc(last, func(other [sha256.Size]byte) bool { return other == place })
	if len(last) == maxPlaces {
		last = slices.Delete(last, 0, 1)
	}
	p.last[key] = append(last, place)
}
