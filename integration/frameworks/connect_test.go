package frameworks_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// docs: connect

var connectCodes = map[int]connect.Code{
	http.StatusBadRequest:          connect.CodeInvalidArgument,
	http.StatusUnauthorized:        connect.CodeUnauthenticated,
	http.StatusForbidden:           connect.CodePermissionDenied,
	http.StatusInternalServerError: connect.CodeInternal,
	http.StatusServiceUnavailable:  connect.CodeUnavailable,
}

// procedureNeeds are the scopes that procedures require. Other procedures require only a key.
var procedureNeeds = map[string]tokenauth.Need{OrdersCreateProcedure: {Scopes: []string{"orders:write"}}}

func needOf(r *http.Request) (tokenauth.Need, error) { return procedureNeeds[r.URL.Path], nil }

// connectError returns the error that the client receives for err.
func connectError(err error) *connect.Error {
	status := tokenauth.StatusCode(err)
	text := http.StatusText(status)
	if lack, ok := errors.AsType[*tokenauth.ScopeError](err); ok && status == http.StatusForbidden {
		text = lack.Error() // names the required scopes
	}
	return connect.NewError(connectCodes[status], errors.New(text))
}

// docs: end

func connectMux(a *app) (http.Handler, error) {
	tokens, findUser := a.kit.Manager, a.findUser
	// docs: connect's Authenticator
	errorWriter := connect.NewErrorWriter()
	auth, err := tokenauth.NewAuthenticator(tokens, findUser, &tokenauth.AuthenticatorOptions{
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			_ = errorWriter.Write(w, r, connectError(err)) // fails if the client has disconnected
		},
	})
	if err != nil {
		return nil, err
	}
	// docs: end
	path, service := connectService(a, auth)
	// docs: connect's routes
	mux := http.NewServeMux()
	mux.Handle(path, auth.RequireFunc(needOf)(service)) // path, service := ordersv1connect.NewOrdersHandler(…)
	// docs: end
	return mux, nil
}

// docs: connect's interceptor

type connectAuth struct {
	auth *tokenauth.Authenticator[*User]
}

func (a connectAuth) identify(ctx context.Context, procedure string, h http.Header) (context.Context, error) {
	user, token, err := a.auth.Authenticate(ctx, h, procedureNeeds[procedure])
	if err != nil {
		refusal := connectError(err)
		a.auth.WriteError(headersTo{refusal}, &http.Request{}, err) // sets WWW-Authenticate and Retry-After
		return nil, refusal
	}
	return a.auth.NewContext(ctx, user, token), nil
}

func (a connectAuth) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		ctx, err := a.identify(ctx, req.Spec().Procedure, req.Header())
		if err != nil {
			return nil, err
		}
		return next(ctx, req)
	}
}

func (a connectAuth) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		ctx, err := a.identify(ctx, conn.Spec().Procedure, conn.RequestHeader())
		if err != nil {
			return err
		}
		return next(ctx, conn)
	}
}

func (connectAuth) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// headersTo adds the headers of a response to the metadata of an error, and drops the body.
type headersTo struct{ refusal *connect.Error }

func (w headersTo) Header() http.Header       { return w.refusal.Meta() }
func (headersTo) Write(b []byte) (int, error) { return len(b), nil }
func (headersTo) WriteHeader(int)             {}

// docs: end

// The names that the generators of connect-go and grpc-go would generate.
const (
	servicePath                  = "/orders.v1.Orders/"
	OrdersMeProcedure            = servicePath + "Me"
	OrdersCreateProcedure        = servicePath + "Create"
	Orders_Create_FullMethodName = OrdersCreateProcedure
)

// connectService stands for a function that protoc-gen-connect-go generates. It returns one handler
// for all procedures. If a.streams is true, the procedures respond with streams.
func connectService(
	a *app, auth *tokenauth.Authenticator[*User], options ...connect.HandlerOption,
) (path string, service http.Handler) {
	hello := func(ctx context.Context) *wrapperspb.StringValue {
		user, _ := auth.User(ctx)
		token, _ := auth.Token(ctx)
		return wrapperspb.String(a.greet(user, token))
	}
	unary := func(ctx context.Context, _ *connect.Request[emptypb.Empty]) (*connect.Response[wrapperspb.StringValue], error) {
		return connect.NewResponse(hello(ctx)), nil
	}
	stream := func(ctx context.Context, _ *connect.Request[emptypb.Empty], s *connect.ServerStream[wrapperspb.StringValue]) error {
		return s.Send(hello(ctx))
	}
	mux := http.NewServeMux()
	for _, method := range []string{OrdersMeProcedure, OrdersCreateProcedure} {
		if a.streams {
			mux.Handle(method, connect.NewServerStreamHandler(method, stream, options...))
		} else {
			mux.Handle(method, connect.NewUnaryHandler(method, unary, options...))
		}
	}
	return servicePath, mux
}

func connectIntercepted(a *app) http.Handler {
	path, service := connectService(a, a.auth, connect.WithInterceptors(connectAuth{a.auth}))
	mux := http.NewServeMux()
	mux.Handle(path, service)
	return mux
}

var connectServers = map[string]func(*app) http.Handler{
	"middleware":  func(a *app) http.Handler { return must.Get(connectMux(a)) },
	"interceptor": connectIntercepted,
}

// A Connect service must serve valid keys and refuse all other requests, over each protocol and for
// each kind of call.
func TestConnectAuthenticates(t *testing.T) {
	t.Parallel()
	protocols := map[string]connect.ClientOption{
		"connect":  connect.WithClientOptions(),
		"grpc":     connect.WithGRPC(),
		"grpc-web": connect.WithGRPCWeb(),
	}
	for by, server := range connectServers {
		for protocol, option := range protocols {
			for kind, streams := range kinds {
				t.Run(by+"/"+protocol+"/"+kind, func(t *testing.T) {
					t.Parallel()
					check(t, func(t *testing.T, a *app) caller {
						a.streams = streams
						call := connectClient(t, server(a), streams, option)
						if by == "interceptor" && protocol == "grpc" {
							return withoutChallenge(call)
						}
						return call
					})
				})
			}
		}
	}
}

// withoutChallenge returns a caller that expects no challenge. It is for an interceptor with the
// gRPC protocol, which sends the metadata of errors as trailers. HTTP does not allow
// WWW-Authenticate in trailers (RFC 9110 section 6.5.1), so net/http drops it.
func withoutChallenge(call caller) caller {
	return func(t *testing.T, write bool, authorization ...string) result {
		got := call(t, write, authorization...)
		require.Empty(t, got.header.Values("WWW-Authenticate"), "the client now gets a challenge: change the docs")
		got.header = nil
		return got
	}
}

var kinds = map[string]bool{"unary": false, "stream": true}

func connectClient(t *testing.T, h http.Handler, streams bool, option connect.ClientOption) caller {
	server := httptest.NewUnstartedServer(h)
	server.EnableHTTP2 = true // the gRPC protocol requires HTTP/2
	server.StartTLS()
	t.Cleanup(server.Close)
	return func(t *testing.T, write bool, authorization ...string) result {
		method := OrdersMeProcedure
		if write {
			method = OrdersCreateProcedure
		}
		client := connect.NewClient[emptypb.Empty, wrapperspb.StringValue](server.Client(), server.URL+method, option)
		request := connect.NewRequest(&emptypb.Empty{})
		request.Header()["Authorization"] = authorization
		if !streams {
			response, err := client.CallUnary(t.Context(), request)
			if err != nil {
				return connectResult(t, err)
			}
			return result{200, response.Header(), response.Msg.Value}
		}
		stream, err := client.CallServerStream(t.Context(), request)
		require.NoError(t, err)
		defer stream.Close()
		if !stream.Receive() {
			return connectResult(t, stream.Err())
		}
		return result{200, stream.ResponseHeader(), stream.Msg().Value}
	}
}

// connectResult returns the result for an error. It maps the Connect code to the HTTP status.
func connectResult(t *testing.T, err error) result {
	t.Helper()
	var refusal *connect.Error
	require.ErrorAs(t, err, &refusal)
	for status, code := range connectCodes {
		if code == refusal.Code() {
			return result{status, refusal.Meta(), refusal.Message()}
		}
	}
	require.Fail(t, "no status has this code", "%v", err)
	return result{}
}

// A client without Connect's library must get the same status and challenge as from any other HTTP
// service.
func TestConnectChallengesPlainHTTPClient(t *testing.T) {
	t.Parallel()
	for by, h := range connectServers {
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			response := post(t, h(newApp(t)), "{}")
			require.Equal(t, 401, response.Code)
			require.Equal(t, "application/json", response.Header().Get("Content-Type"))
			require.Equal(t, "no-store", response.Header().Get("Cache-Control"))
			require.JSONEq(t, `{"code":"unauthenticated","message":"Unauthorized"}`, response.Body.String())
			checkChallenge(t, result{401, response.Header(), ""}, "")
		})
	}
}

// A client without a key must not make the service read and decode a message. The middleware
// refuses the request before the service reads the message. An interceptor runs only afterwards.
func TestConnectMiddlewareRefusesBeforeReading(t *testing.T) {
	t.Parallel()
	const malformed = "no message"
	require.Equal(t, 401, post(t, must.Get(connectMux(newApp(t))), malformed).Code)
	late := post(t, connectIntercepted(newApp(t)), malformed)
	require.Equal(t, 400, late.Code, "the interceptor now refuses before reading: change the docs")
}

func post(t *testing.T, h http.Handler, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(t.Context(), "POST", OrdersMeProcedure, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}
