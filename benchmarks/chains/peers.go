package chains

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/go-chi/jwtauth/v5"
	"github.com/golang-jwt/jwt/v5"
	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/maypok86/otter/v2"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/request/bearertoken"
	"k8s.io/apiserver/pkg/authentication/token/cache"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/go-tokenauth/tokenauth"
)

// keepFor is how long the caches keep what they found, storecache's default.
const keepFor = 10 * time.Second

// Peers returns what services use instead of this library.
func (p *Population) Peers() ([]*Chain, error) {
	chains := []*Chain{p.EchoKeyAuth(), p.K8sCache()}
	for _, new := range []func() (*Chain, error){newHS256, newEdDSA, newJWTAuth, newSCS} {
		c, err := new()
		if err != nil {
			return nil, err
		}
		chains = append(chains, c)
	}
	return chains, nil
}

type userKey struct{}

// serve finds the user and puts it into the context of a handler that reads it back.
func serve(w http.ResponseWriter, r *http.Request, userID string) {
	u, err := findUser(r.Context(), userID)
	if err != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	readUser(w, r.WithContext(context.WithValue(r.Context(), userKey{}, u)))
}

func readUser(_ http.ResponseWriter, r *http.Request) {
	if u, ok := r.Context().Value(userKey{}).(*User); !ok || u == nil {
		panic("no user")
	}
}

func bearerOf(r *http.Request) string {
	key, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return key
}

// EchoKeyAuth is echo's middleware over a map of digests.
func (p *Population) EchoKeyAuth() *Chain {
	tokens := p.tokens()
	e := echo.New()
	e.Use(middleware.KeyAuthWithConfig(middleware.KeyAuthConfig{
		Validator: func(key string, c echo.Context) (bool, error) {
			token := tokens[sha256.Sum256([]byte(key))]
			if token == nil {
				return false, nil
			}
			u, err := findUser(c.Request().Context(), token.UserID)
			c.Set("user", u)
			return err == nil, err
		},
		ErrorHandler: func(_ error, c echo.Context) error { return c.NoContent(http.StatusUnauthorized) },
	}))
	e.GET("/", func(c echo.Context) error {
		if u, ok := c.Get("user").(*User); !ok || u == nil {
			panic("no user")
		}
		return nil
	})
	return p.chain("echo KeyAuth, a map of digests", e)
}

// K8sCache is the token cache of Kubernetes before a map of digests.
func (p *Population) K8sCache() *Chain {
	tokens := p.tokens()
	find := authenticator.TokenFunc(func(_ context.Context, key string) (*authenticator.Response, bool, error) {
		token := tokens[sha256.Sum256([]byte(key))]
		if token == nil {
			return nil, false, nil
		}
		return &authenticator.Response{User: &user.DefaultInfo{Name: token.UserID}}, true, nil
	})
	auth := bearertoken.New(cache.New(find, false, keepFor, 0))
	return p.chain("Kubernetes token cache, a map of digests", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		value := r.Header["Authorization"] // which it takes away
		answer, ok, err := auth.AuthenticateRequest(r)
		r.Header["Authorization"] = value
		if !ok || err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		serve(w, r, answer.User.GetName())
	}))
}

func newHS256() (*Chain, error) {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	return newJWT("golang-jwt, HS256", jwt.SigningMethodHS256, secret, secret)
}

func newEdDSA() (*Chain, error) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	return newJWT("golang-jwt, EdDSA", jwt.SigningMethodEdDSA, private, public)
}

func newJWT(name string, method jwt.SigningMethod, signWith, verifyWith any) (*Chain, error) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var claims jwt.RegisteredClaims
		_, err := jwt.ParseWithClaims(bearerOf(r), &claims, func(*jwt.Token) (any, error) { return verifyWith, nil },
			jwt.WithValidMethods([]string{method.Alg()}))
		if err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		serve(w, r, claims.Subject)
	})
	claims := jwt.RegisteredClaims{Subject: "42", ExpiresAt: jwt.NewNumericDate(time.Now().AddDate(1, 0, 0))}
	signed, err := jwt.NewWithClaims(method, claims).SignedString(signWith)
	return signedChain(name, handler, signed), err
}

func newJWTAuth() (*Chain, error) {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	auth := jwtauth.New("HS256", secret, nil)
	_, signed, err := auth.Encode(map[string]any{"sub": "42", "exp": time.Now().AddDate(1, 0, 0)})
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _, err := jwtauth.FromContext(r.Context())
		if err != nil {
			panic(err)
		}
		serve(w, r, token.Subject())
	})
	return signedChain("jwtauth, HS256", jwtauth.Verifier(auth)(jwtauth.Authenticator(auth)(handler)), signed), err
}

// signedChain has a bad request with the signature cut short.
func signedChain(name string, h http.Handler, signed string) *Chain {
	value := "Bearer " + signed
	return &Chain{Name: name, Handler: h, Header: "Authorization", Good: []string{value}, Bad: value[:max(0, len(value)-4)]}
}

func newSCS() (*Chain, error) {
	sessions := scs.New()
	w := httptest.NewRecorder()
	sessions.LoadAndSave(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		sessions.Put(r.Context(), "user", "42")
	})).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	cookies := w.Result().Cookies()
	if len(cookies) != 1 {
		return nil, errors.New("scs: no session")
	}
	name := cookies[0].Name + "="
	return &Chain{
		Name: "scs LoadAndSave, memory store", Header: "Cookie", Good: []string{name + cookies[0].Value}, Bad: name + "unknown",
		Handler: sessions.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			serve(w, r, sessions.GetString(r.Context(), "user"))
		})),
	}, nil
}

// Otter is the cache otter in front of a store, where storecache would be. No write
// invalidates it.
type Otter struct {
	tokenauth.Store
	cache  *otter.Cache[tokenauth.Digest, *tokenauth.Record]
	loader otter.Loader[tokenauth.Digest, *tokenauth.Record]
}

// NewOtter returns a cache as large as storecache's.
func NewOtter(s tokenauth.Store) *Otter {
	return &Otter{s, otter.Must(&otter.Options[tokenauth.Digest, *tokenauth.Record]{
		MaximumSize:      10_000,
		ExpiryCalculator: otter.ExpiryWriting[tokenauth.Digest, *tokenauth.Record](keepFor),
	}), otter.LoaderFunc[tokenauth.Digest, *tokenauth.Record](s.Find)}
}

// Find implements [tokenauth.Store].
func (o *Otter) Find(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
	return o.cache.Get(ctx, d, o.loader)
}
