package chains_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/benchmarks/chains"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/storecache"
)

// If a chain rejects good requests or accepts bad ones, its benchmark measures the wrong code path.
func TestChainsAcceptGoodAndRejectBadRequests(t *testing.T) {
	t.Parallel()
	p := chains.NewPopulation(100, 10)
	all := p.Peers()
	require.Len(t, all, 6)
	all = append(all, p.Limit(), p.Bare(), p.Tokenauth("memory", p.Memory(), nil),
		p.Tokenauth("storecache", must.Get(storecache.New(p.Memory(), nil)), nil), p.Tokenauth("otter", chains.NewOtter(p.Memory()), nil))
	for _, c := range all {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			require.NoError(t, c.Check())
			request := c.Requester()
			for range 2 * len(c.Good) { // twice, because some chains delete the header
				request()
			}
		})
	}
}

// If Check missed a handler that sends the same response to all requests, a benchmark would report
// the time of that handler.
func TestCheckRejectsUniformHandlers(t *testing.T) {
	t.Parallel()
	p := chains.NewPopulation(3, 1)
	open := p.Bare()
	open.Bad = "Bearer anything"
	require.ErrorContains(t, open.Check(), "status 200, want 401")
	closed := p.Limit()
	closed.Good[1] = closed.Bad
	require.ErrorContains(t, closed.Check(), "status 401, want 200")
}
