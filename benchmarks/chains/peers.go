package chains

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
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
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// keepFor is the time for which the caches keep an entry. It equals the default of storecache.
const keepFor = 10 * time.Second

// Peers returns the chains of the libraries that services use instead of this one.
func (p *Population) Peers() []*Chain {
	public, private, _ := ed25519.GenerateKey(nil) // fails only if the system has no random numbers
	return []*Chain{
		p.EchoKeyAuth(), p.K8sCache(), HS256(),
		newJWT("golang-jwt, EdDSA", jwt.SigningMethodEdDSA, private, public), newJWTAuth(), newSCS(),
	}
}

type userKey struct{}

// serve finds the user, adds the user to the context, and calls a handler that reads the user.
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

// EchoKeyAuth returns the middleware KeyAuth of echo, which looks up the token in a map of digests.
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

// K8sCache returns a handler with the token cache of Kubernetes. The cache reads a map of digests.
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
		value := r.Header["Authorization"] // AuthenticateRequest deletes the header
		response, ok, err := auth.AuthenticateRequest(r)
		r.Header["Authorization"] = value
		if !ok || err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		serve(w, r, response.User.GetName())
	}))
}

// HS256 returns a middleware that verifies JSON Web Tokens with golang-jwt.
func HS256() *Chain {
	secret := []byte(rand.Text())
	return newJWT("golang-jwt, HS256", jwt.SigningMethodHS256, secret, secret)
}

func newJWT(name string, method jwt.SigningMethod, signWith, verifyWith any) *Chain {
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
	return signedChain(name, handler, must.Get(jwt.NewWithClaims(method, claims).SignedString(signWith)))
}

func newJWTAuth() *Chain {
	auth := jwtauth.New("HS256", []byte(rand.Text()), nil)
	_, signed, err := auth.Encode(map[string]any{"sub": "42", "exp": time.Now().AddDate(1, 0, 0)})
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _, err := jwtauth.FromContext(r.Context())
		if err != nil {
			panic(err)
		}
		serve(w, r, token.Subject())
	})
	return signedChain("jwtauth, HS256", jwtauth.Verifier(auth)(jwtauth.Authenticator(auth)(handler)), must.Get(signed, err))
}

// signedChain returns a chain whose bad header value has a truncated signature.
func signedChain(name string, h http.Handler, signed string) *Chain {
	value := "Bearer " + signed
	return &Chain{Name: name, Handler: h, Header: "Authorization", Good: []string{value}, Bad: value[:max(0, len(value)-4)]}
}

func newSCS() *Chain {
	sessions := scs.New()
	w := httptest.NewRecorder()
	sessions.LoadAndSave(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		sessions.Put(r.Context(), "user", "42")
	})).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	cookie := w.Result().Cookies()[0]
	return &Chain{
		Name: "scs LoadAndSave, memory store", Header: "Cookie", Good: []string{cookie.Name + "=" + cookie.Value}, Bad: cookie.Name + "=unknown",
		Handler: sessions.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			serve(w, r, sessions.GetString(r.Context(), "user"))
		})),
	}
}

// Otter is a Store that caches the records of another Store with otter instead of storecache.
// Writes do not invalidate the entries of the cache.
type Otter struct {
	tokenauth.Store
	cache  *otter.Cache[tokenauth.Digest, *tokenauth.Record]
	loader otter.Loader[tokenauth.Digest, *tokenauth.Record]
}

// NewOtter returns a cache with the same maximum size as storecache.
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
