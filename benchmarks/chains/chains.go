// Package chains holds what answers a request in the benchmarks: this library on
// several stores, and its peers, each with a handler that reads the user back.
package chains

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/keyform"
	"github.com/go-tokenauth/tokenauth/internal/testing/limit"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// A Chain is a handler, and requests that it answers.
type Chain struct {
	Name    string
	Handler http.Handler
	Header  string   // the one that authenticates a request
	Good    []string // its values that are let in
	Bad     string   // one that is refused
}

// Check makes sure that good requests are let in and others not: else a benchmark
// would measure a failing path.
func (c *Chain) Check() error {
	for want, values := range map[int][]string{
		http.StatusOK: {c.Good[0], c.Good[len(c.Good)/2], c.Good[len(c.Good)-1]}, http.StatusUnauthorized: {c.Bad},
	} {
		for _, value := range values {
			if value == "" {
				continue // a bare handler refuses nothing
			}
			w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
			r.Header.Set(c.Header, value)
			c.Handler.ServeHTTP(w, r)
			if w.Code != want {
				return fmt.Errorf("%s: answered %d, not %d", c.Name, w.Code, want)
			}
		}
	}
	return nil
}

// nobody is a ResponseWriter that costs nothing.
type nobody struct{ header http.Header }

func (w nobody) Header() http.Header         { return w.header }
func (w nobody) Write(b []byte) (int, error) { return len(b), nil }
func (w nobody) WriteHeader(int)             {}

// Requester returns a function that sends good requests in turns. Each goroutine
// needs one of its own.
func (c *Chain) Requester() func() {
	r := httptest.NewRequest("GET", "/", nil)
	value := make([]string, 1)
	r.Header[c.Header] = value
	w := nobody{http.Header{}}
	i := 0
	return func() {
		clear(w.header)
		value[0] = c.Good[i]
		if i++; i == len(c.Good) {
			i = 0
		}
		c.Handler.ServeHTTP(w, r)
	}
}

// A Population is tokens and their keys.
type Population struct {
	Keys    []string
	Records []tokenauth.Record
}

// NewPopulation returns n tokens, so many for each user. Neighbours in Keys are not
// neighbours in Records, so that the processor's caches can't foresee them.
func NewPopulation(n, perUser int, scopes ...string) *Population {
	p := &Population{Keys: make([]string, n), Records: make([]tokenauth.Record, n)}
	created := time.Now().UTC().Truncate(time.Microsecond).Add(-time.Hour)
	for i := range n {
		key := keyform.Generate(prefix)
		p.Keys[i*7919%n] = key
		p.Records[i] = tokenauth.Record{Digest: tokenauth.DigestOf(key), Token: tokenauth.Token{
			ID: fmt.Sprintf("T%025d", i), UserID: fmt.Sprint(i / perUser), Name: fmt.Sprint(i), Scopes: scopes,
			Hint: key[len(key)-4:], Generation: 1, CreatedAt: created, ExpiresAt: created.AddDate(1, 0, 0),
		}}
	}
	return p
}

const prefix = "acme"

func (p *Population) chain(name string, h http.Handler) *Chain {
	c := &Chain{Name: name, Handler: h, Header: "Authorization", Bad: "Bearer " + keyform.Generate(prefix)}
	for _, key := range p.Keys {
		c.Good = append(c.Good, "Bearer "+key)
	}
	return c
}

// Fill creates the tokens in a store.
func (p *Population) Fill(ctx context.Context, s tokenauth.Store) error {
	const atOnce = 1000
	for i := 0; i < len(p.Records); i += atOnce {
		if err := s.Create(ctx, p.Records[i:min(i+atOnce, len(p.Records))]...); err != nil {
			return err
		}
	}
	return nil
}

// Memory returns a memory store of the tokens.
func (p *Population) Memory() *tokenauth.MemoryStore {
	s := tokenauth.NewMemoryStore()
	if err := p.Fill(context.Background(), s); err != nil {
		panic(err) // it has no way to fail but a mistake here
	}
	return s
}

func (p *Population) tokens() map[tokenauth.Digest]*tokenauth.Token {
	m := make(map[tokenauth.Digest]*tokenauth.Token)
	for i := range p.Records {
		m[p.Records[i].Digest] = new(p.Records[i].Token)
	}
	return m
}

// Limit returns the chain that all others are compared with.
func (p *Population) Limit() *Chain { return p.chain("limit", limit.Handler(p.tokens())) }

// Bare returns a handler without authentication.
func (p *Population) Bare() *Chain {
	c := p.chain("no authentication", limit.Bare)
	c.Bad = ""
	return c
}

// A User is what a service knows of a user. All chains find it by the same function.
type User struct{ ID string }

var someone = &User{ID: "42"}

func findUser(_ context.Context, id string) (*User, error) {
	if id == "" {
		return nil, errors.New("no user ID")
	}
	return someone, nil
}

// Authenticator returns this library's, with its default options.
func Authenticator(s tokenauth.Store) *tokenauth.Authenticator[*User] {
	return must.Get(tokenauth.NewAuthenticator(must.Get(tokenauth.New(s, prefix, nil)), findUser, nil))
}

// Tokenauth returns this library on a store that holds the tokens.
func (p *Population) Tokenauth(name string, s tokenauth.Store, opts *tokenauth.Options) *Chain {
	auth := must.Get(tokenauth.NewAuthenticator(must.Get(tokenauth.New(s, prefix, opts)), findUser, nil))
	return p.chain(name, auth.Require(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if u, ok := auth.User(r.Context()); !ok || u == nil {
			panic("no user")
		}
	})))
}
