// Package chains contains the handlers that the benchmarks measure: this library on several stores,
// and the libraries that it is compared with. Each chain authenticates a request and then calls a
// handler that reads the user from the context.
package chains

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"time"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/keyform"
	"github.com/go-tokenauth/tokenauth/internal/testing/limit"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// A Chain is a handler, and the header values of requests for it.
type Chain struct {
	Name    string
	Handler http.Handler
	Header  string   // name of the header that authenticates a request
	Good    []string // header values that the handler accepts
	Bad     string   // a header value that the handler rejects; empty if it rejects none
}

// Check returns an error if the handler rejects good requests or accepts bad ones. The benchmark of
// such a handler would measure the wrong code path.
func (c *Chain) Check() error {
	for want, values := range map[int][]string{
		http.StatusOK: {c.Good[0], c.Good[len(c.Good)/2], c.Good[len(c.Good)-1]}, http.StatusUnauthorized: {c.Bad},
	} {
		for _, value := range values {
			if value == "" {
				continue
			}
			w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
			r.Header.Set(c.Header, value)
			c.Handler.ServeHTTP(w, r)
			if w.Code != want {
				return fmt.Errorf("%s: status %d, want %d", c.Name, w.Code, want)
			}
		}
	}
	return nil
}

// Requester returns a function that sends one good request. Each call of this function uses the
// next good header value. The function is not safe for concurrent use.
func (c *Chain) Requester() func() {
	r := httptest.NewRequest("GET", "/", nil)
	value := make([]string, 1)
	r.Header[c.Header] = value
	w := limit.Nobody{Headers: http.Header{}}
	i := 0
	return func() {
		clear(w.Headers)
		value[0] = c.Good[i]
		if i++; i == len(c.Good) {
			i = 0
		}
		c.Handler.ServeHTTP(w, r)
	}
}

// A Population is a set of tokens with their keys.
type Population struct {
	Keys     []string
	Records  []tokenauth.Record
	FindUser func(ctx context.Context, id string) (*User, error) // for the chains of this library
}

// NewPopulation returns n tokens, with perUser tokens per user. The order of Keys differs from the
// order of Records, so that the processor cannot prefetch the record of the next key.
func NewPopulation(n, perUser int, scopes ...string) *Population {
	p := &Population{Keys: make([]string, n), Records: make([]tokenauth.Record, n), FindUser: findUser}
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
	for records := range slices.Chunk(p.Records, 1000) {
		if err := s.Create(ctx, records...); err != nil {
			return err
		}
	}
	return nil
}

// Memory returns a memory store that contains the tokens.
func (p *Population) Memory() *tokenauth.MemoryStore {
	s := tokenauth.NewMemoryStore()
	if err := p.Fill(context.Background(), s); err != nil {
		panic(err) // Create fails only if NewPopulation returns invalid records
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

// Limit returns the handler of the baseline, which package internal/testing/limit defines.
func (p *Population) Limit() *Chain { return p.chain("limit", limit.Handler(p.tokens())) }

// Bare returns a handler without authentication.
func (p *Population) Bare() *Chain {
	c := p.chain("no authentication", limit.Bare)
	c.Bad = ""
	return c
}

// A User is the service's own type of a user.
type User struct{ ID string }

var someone = &User{ID: "42"}

func findUser(_ context.Context, id string) (*User, error) {
	if id == "" {
		return nil, errors.New("no user ID")
	}
	return someone, nil
}

// Authenticator returns an Authenticator of this library on the store s.
func (p *Population) Authenticator(s tokenauth.Store, opts *tokenauth.Options) *tokenauth.Authenticator[*User] {
	return must.Get(tokenauth.NewAuthenticator(must.Get(tokenauth.New(s, prefix, opts)), p.FindUser, nil))
}

// Tokenauth returns the middleware of this library on the store s, which contains the tokens.
func (p *Population) Tokenauth(name string, s tokenauth.Store, opts *tokenauth.Options) *Chain {
	auth := p.Authenticator(s, opts)
	return p.chain(name, auth.Require(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if u, ok := auth.User(r.Context()); !ok || u == nil {
			panic("no user")
		}
	})))
}
