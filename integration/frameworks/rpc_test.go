package frameworks_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// The names that the generators of connect-go and grpc-go would generate.
const (
	servicePath                  = "/orders.v1.Orders/"
	OrdersMeProcedure            = servicePath + "Me"
	OrdersCreateProcedure        = servicePath + "Create"
	Orders_Create_FullMethodName = OrdersCreateProcedure
)

// A connectVersion is a major version of connect-go.
type connectVersion struct {
	middleware, interceptor func(*app) http.Handler
	client                  func(t *testing.T, h http.Handler, streams bool, protocol string) caller
	// If interceptorReadsFirst is true, connect-go decodes the message of a unary call before it
	// calls the interceptor, and sends the challenges of an interceptor as trailers.
	interceptorReadsFirst bool
}

func (v connectVersion) servers() map[string]func(*app) http.Handler {
	return map[string]func(*app) http.Handler{"middleware": v.middleware, "interceptor": v.interceptor}
}

var (
	connectVersions  = map[string]connectVersion{"v1": connectV1, "v2": connectV2}
	connectProtocols = []string{"connect", "grpc", "grpc-web"}
	kinds            = map[string]bool{"unary": false, "stream": true}
)

// A Connect service must serve valid keys and refuse all other requests, over each protocol and for
// each kind of call.
func TestConnectAuthenticates(t *testing.T) {
	t.Parallel()
	for version, v := range connectVersions {
		for by, server := range v.servers() {
			for _, protocol := range connectProtocols {
				for kind, streams := range kinds {
					t.Run(version+"/"+by+"/"+protocol+"/"+kind, func(t *testing.T) {
						t.Parallel()
						check(t, func(t *testing.T, a *app) caller {
							a.streams = streams
							call := v.client(t, server(a), streams, protocol)
							if by == "interceptor" && protocol == "grpc" && v.interceptorReadsFirst {
								return withoutChallenge(call)
							}
							return call
						})
					})
				}
			}
		}
	}
}

// withoutChallenge returns a caller that expects no challenge. It is for an interceptor of
// connect-go v1 with the gRPC protocol, which sends the metadata of errors as trailers. HTTP does
// not allow WWW-Authenticate in trailers (RFC 9110 section 6.5.1), so net/http drops it.
func withoutChallenge(call caller) caller {
	return func(t *testing.T, write bool, authorization ...string) result {
		got := call(t, write, authorization...)
		require.Empty(t, got.header.Values("WWW-Authenticate"), "the client now gets a challenge: change the docs")
		got.header = nil
		return got
	}
}

// serveHTTP2 is like serve, with HTTP/2, which the gRPC protocol requires.
func serveHTTP2(t *testing.T, h http.Handler) site {
	server := httptest.NewUnstartedServer(h)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	return site{server.URL, server.Client()}
}

// A client without Connect's library must get the same status and challenge as from any other HTTP
// service.
func TestConnectChallengesPlainHTTPClient(t *testing.T) {
	t.Parallel()
	for version, v := range connectVersions {
		for by, h := range v.servers() {
			t.Run(version+"/"+by, func(t *testing.T) {
				t.Parallel()
				response := post(t, h(newApp(t)), OrdersMeProcedure, "{}")
				require.Equal(t, 401, response.Code)
				require.Equal(t, "application/json", response.Header().Get("Content-Type"))
				require.Equal(t, "no-store", response.Header().Get("Cache-Control"))
				require.JSONEq(t, `{"code":"unauthenticated","message":"Unauthorized"}`, response.Body.String())
				checkChallenge(t, result{401, response.Header(), ""}, "")
			})
		}
	}
}

// A client without a key must not make the service decode a message. The middleware refuses the
// request before the service reads the message. An interceptor of connect-go v1 runs only
// afterwards.
func TestConnectRefusesBeforeReading(t *testing.T) {
	t.Parallel()
	for version, v := range connectVersions {
		require.Equal(t, 401, post(t, v.middleware(newApp(t)), OrdersMeProcedure, "no message").Code, version)
		late := map[bool]int{true: 400, false: 401}[v.interceptorReadsFirst]
		require.Equal(t, late, post(t, v.interceptor(newApp(t)), OrdersMeProcedure, "no message").Code,
			"the interceptor of %s changed: change the docs", version)
	}
}

// An unknown procedure reaches the middleware, but not an interceptor. A client without a key
// can therefore find out from a service with an interceptor which procedures exist.
func TestConnectUnknownProcedureSkipsInterceptor(t *testing.T) {
	t.Parallel()
	const unknown = servicePath + "Unknown"
	for version, v := range connectVersions {
		require.Equal(t, 401, post(t, v.middleware(newApp(t)), unknown, "{}").Code, version)
		require.Contains(t, []int{404, 501}, post(t, v.interceptor(newApp(t)), unknown, "{}").Code, version)
	}
}

// A client must not get around a scope by another spelling of the procedure, by a GET request or by
// a compressed message.
func TestConnectRequiresScopeForEachSpelling(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	bearer := a.bearer(t, "laptop")
	for version, v := range connectVersions {
		for by, server := range v.servers() {
			h := server(a)
			for _, target := range []string{
				OrdersCreateProcedure, "/" + OrdersCreateProcedure, OrdersCreateProcedure + "/", servicePath + "create",
				servicePath + "Cre%61te", servicePath + "./Create", OrdersCreateProcedure + "?connect=v1&encoding=json&message={}",
			} {
				for _, method := range []string{"GET", "POST", "CONNECT"} {
					r := httptest.NewRequestWithContext(t.Context(), "POST", target, strings.NewReader("{}"))
					r.Method = method
					r.Header.Set("Content-Type", "application/json")
					r.Header.Set("Authorization", bearer)
					w := httptest.NewRecorder()
					h.ServeHTTP(w, r)
					require.NotEqual(t, 200, w.Code, "%s %s %s %s", version, by, method, target)
				}
			}
		}
	}
	require.Zero(t, a.calls.Load())
}

// The docs say where http.StripPrefix must stand. In the other place, needOf finds no procedure.
func TestConnectMiddlewareNeedsPathOfProcedure(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	_, service := connectV1Service(a, a.auth)
	for status, h := range map[int]http.Handler{
		403: http.StripPrefix("/api", a.auth.RequireFunc(needOf)(service)),
		200: a.auth.RequireFunc(needOf)(http.StripPrefix("/api", service)),
	} {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/api"+OrdersCreateProcedure, strings.NewReader("{}"))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", a.bearer(t, http.StatusText(status)))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.Equal(t, status, w.Code)
	}
}

// The docs say that the deadline of a client can make an interceptor report a failure of the store.
func TestConnectDeadlineOfClientLooksLikeFailure(t *testing.T) {
	t.Parallel()
	for version, v := range connectVersions {
		for by, server := range v.servers() {
			failures := 0
			onEvent := func(_ context.Context, e tokenauth.Event) {
				if e.Reason == tokenauth.ReasonStoreFailed {
					failures++
				}
			}
			a := &app{kit: tokenauthtest.New(t, &tokenauth.Options{Scopes: []string{"orders:write"}, OnEvent: onEvent})}
			a.auth = must.Get(tokenauth.NewAuthenticator(a.kit.Manager, a.findUser, nil))
			r := httptest.NewRequestWithContext(t.Context(), "POST", OrdersMeProcedure, strings.NewReader("\x00\x00\x00\x00\x00"))
			r.Proto, r.ProtoMajor = "HTTP/2.0", 2
			r.Header.Set("Content-Type", "application/grpc")
			r.Header.Set("Grpc-Timeout", "1n")
			r.Header.Set("Authorization", a.bearer(t, "laptop"))
			server(a).ServeHTTP(httptest.NewRecorder(), r)
			require.Equal(t, by == "interceptor", failures == 1, "%s %s: change the docs", version, by)
		}
	}
}

func post(t *testing.T, h http.Handler, procedure, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(t.Context(), "POST", procedure, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// If a method requires a scope that does not exist, the service must refuse every request and
// report an internal error.
func TestRPCWithUnknownScopeReturnsInternalError(t *testing.T) {
	t.Parallel()
	starts := map[string]func(*testing.T, *app) caller{"gRPC": grpcClient}
	for version, v := range connectVersions {
		for by, server := range v.servers() {
			starts[version+" "+by] = func(t *testing.T, a *app) caller { return v.client(t, server(a), false, "grpc") }
		}
	}
	for name, start := range starts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAppWith(t, "orders:read")
			call := start(t, a)
			authorization := a.bearer(t, "laptop")
			require.Equal(t, http.StatusInternalServerError, call(t, true, authorization).status)
			require.Zero(t, a.calls.Load(), "the handler must not run")
			require.Equal(t, http.StatusOK, call(t, false, authorization).status)
		})
	}
}
