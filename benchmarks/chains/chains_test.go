package chains_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/benchmarks/chains"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/storecache"
)

// A chain that refuses its good requests, or lets bad ones in, would be measured
// doing something else than its name says.
func TestChains(t *testing.T) {
	t.Parallel()
	p := chains.NewPopulation(100, 10)
	all, err := p.Peers()
	require.NoError(t, err)
	require.Len(t, all, 6)
	all = append(all, p.Limit(), p.Bare(), p.Tokenauth("memory", p.Memory(), nil),
		p.Tokenauth("storecache", must.Get(storecache.New(p.Memory(), nil)), nil), p.Tokenauth("otter", chains.NewOtter(p.Memory()), nil))
	for _, c := range all {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			require.NoError(t, c.Check())
			request := c.Requester()
			for range 2 * len(c.Good) { // and again: some take the header away
				request()
			}
		})
	}
}

// Check itself must notice a handler that answers everybody alike.
func TestCheckFails(t *testing.T) {
	t.Parallel()
	p := chains.NewPopulation(3, 1)
	open := p.Bare()
	open.Bad = "Bearer anything"
	require.ErrorContains(t, open.Check(), "answered 200, not 401")
	closed := p.Limit()
	closed.Good[1] = closed.Bad
	require.ErrorContains(t, closed.Check(), "answered 401, not 200")
}
