package tokenlogin

import (
	"slices"
	"sync"
)

// places are the known places of each account: the addresses from which the account has signed in
// most recently.
type places struct {
	max int // maximum number of accounts

	mu   sync.Mutex
	last map[digest][]digest
}

// maxPlaces is the maximum number of addresses per account. Therefore one account cannot displace
// the addresses of other accounts.
const maxPlaces = 8

func newPlaces() *places {
	return &places{max: maxEntries, last: map[digest][]digest{}}
}

func (p *places) know(account, place digest) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Contains(p.last[account], place)
}

// forget makes all places of an account unknown.
func (p *places) forget(account digest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.last, account)
}

func (p *places) add(account, place digest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last, known := p.last[account]
	if !known && len(p.last) >= p.max {
		for other := range p.last { // delete one arbitrary account
			delete(p.last, other)
			break
		}
	}
	last = slices.DeleteFunc(last, func(other digest) bool { return other == place })
	if len(last) == maxPlaces {
		last = slices.Delete(last, 0, 1)
	}
	p.last[account] = append(last, place)
}
