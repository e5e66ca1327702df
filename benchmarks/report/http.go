package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/benchmarks/chains"
	"github.com/go-tokenauth/tokenauth/internal/testing/limit"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/storecache"
	"github.com/go-tokenauth/tokenauth/tokenapi"
)

// measureHits sends one good key again and again. Its last use is always pending.
func (r *report) measureHits(context.Context) error {
	p := chains.NewPopulation(1, 1)
	results, err := r.compare(cpuClock, []*chains.Chain{
		p.Limit(), p.Bare(),
		p.Tokenauth("tokenauth, memory store", p.Memory(), nil),
		p.Tokenauth("tokenauth, storecache over memory", must.Get(storecache.New(p.Memory(), nil)), nil),
		p.Tokenauth("tokenauth, otter over memory", chains.NewOtter(p.Memory()), nil),
		p.Tokenauth("tokenauth, memory store, a clock that costs nothing", p.Memory(), &tokenauth.Options{Now: standing(time.Now())}),
	})
	if err != nil {
		return err
	}
	memory, cache, noClock := results[2], results[3], results[5]
	r.set(lineHit, memory.times)
	r.set(lineHitAllocs, memory.cost.allocs)
	r.set(lineHitNoClock, noClock.times)
	r.set(lineCacheHit, cache.times)
	r.addChains(true, results[2:]...)
	r.chains = append(results[:2:2], r.chains...)
	beside, err := r.compare(cpuClock, []*chains.Chain{p.EchoKeyAuth(), p.Tokenauth("tokenauth, memory store", p.Memory(), nil)})
	if err != nil {
		return err
	}
	r.set(lineHitEcho, beside[1].times)
	return nil
}

// measureTouched compares hits whose last use is pending with such whose last use is
// not recorded. Some of many tokens share a place in what is pending.
func (r *report) measureTouched(context.Context) error {
	for _, n := range touchedTokens {
		p := chains.NewPopulation(n, 10)
		results, err := r.compare(cpuClock, []*chains.Chain{
			p.Tokenauth("without last use", p.Memory(), &tokenauth.Options{TouchEvery: -1}),
			p.Tokenauth("with last use", p.Memory(), nil),
		})
		if err != nil {
			return err
		}
		r.set(lineTouched(n), results[1].times)
	}
	return nil
}

// standing is a clock that costs nothing.
func standing(at time.Time) func() time.Time { return func() time.Time { return at } }

func (r *report) addChains(ours bool, results ...chainResult) {
	for _, c := range results {
		c.ours = ours
		r.chains = append(r.chains, c)
	}
}

func (r *report) measurePeers(context.Context) error {
	p := chains.NewPopulation(1, 1)
	peers, err := p.Peers()
	if err != nil {
		return err
	}
	results, err := r.compare(cpuClock, append([]*chains.Chain{p.Limit()}, peers...))
	if err != nil {
		return err
	}
	r.addChains(false, results[1:]...)
	return nil
}

// measureList asks the API for a page of tokens, beside what no page can do without.
func (r *report) measureList(ctx context.Context) error {
	p := chains.NewPopulation(100, 100)
	auth := chains.Authenticator(p.Memory())
	m := auth.Manager()
	user := p.Records[0].Token.UserID
	api := must.Get(tokenapi.New(auth, func(*http.Request) (string, error) { return user, nil }, nil))
	request, w := httptest.NewRequest(http.MethodGet, "/tokens?limit=100", nil), limit.Nobody{Headers: http.Header{}}
	least := func() {
		tokens, err := m.List(ctx, tokenauth.Query{UserID: user, Limit: 100})
		if err != nil || len(tokens) != 100 {
			panic("no page")
		}
		if _, err := json.Marshal(tokens); err != nil {
			panic(err)
		}
	}
	page := func() {
		clear(w.Headers)
		api.ServeHTTP(w, request)
		if w.Headers.Get("Content-Type") != "application/json" {
			panic("no page")
		}
	}
	page()
	r.set(lineList, inTurns(r.plan.each, cpuClock, least, page)[1].times)
	return nil
}

// rejects are what is refused without asking a store.
var rejects = []struct {
	name   string
	values func(good string) []string
}{
	{"no header", func(string) []string { return nil }},
	{"malformed header", func(string) []string { return []string{"Bearer a b"} }},
	{"another system's key", func(string) []string { return []string{"Bearer 9944b09199c62bcf9418ad846dd0e4bbdfc6ee4b"} }},
	{"bad checksum", func(good string) []string { return []string{"Bearer " + good[:len(good)-1] + other(good[len(good)-1])} }},
	{"wrong character", func(good string) []string { return []string{"Bearer " + good[:len(good)-1] + "!"} }},
	{"longer than 1 KiB", func(string) []string { return []string{"Bearer " + strings.Repeat("x", 8000)} }},
}

// other returns another character of keys.
func other(c byte) string {
	if c == '0' {
		return "1"
	}
	return "0"
}

// unreachable is a store that panics when it is asked.
type unreachable struct{ tokenauth.Store }

func (r *report) measureRejects(ctx context.Context) error {
	p := chains.NewPopulation(1, 1)
	auth := chains.Authenticator(unreachable{})
	calls := []func(){p.Limit().Requester()}
	most := 0.0
	for _, reject := range rejects {
		h := http.Header{}
		if values := reject.values(p.Keys[0]); values != nil {
			h["Authorization"] = values
		}
		decide := func() {
			if _, _, err := auth.Authenticate(ctx, h, tokenauth.Need{}); err == nil {
				panic("not rejected")
			}
		}
		calls = append(calls, decide)
		most = max(most, costOf(decide).allocs)
	}
	timings := inTurns(r.plan.each, cpuClock, calls...)
	for i, reject := range rejects {
		r.set(lineReject(reject.name), timings[i+1].times)
	}
	r.set(lineRejectAllocs, most)
	return nil
}
