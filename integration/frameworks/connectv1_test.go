package frameworks_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// docs: connect v1

var connectV1Codes = map[int]connect.Code{
	http.StatusBadRequest:          connect.CodeInvalidArgument,
	http.StatusUnauthorized:        connect.CodeUnauthenticated,
	http.StatusForbidden:           connect.CodePermissionDenied,
	http.StatusInternalServerError: connect.CodeInternal,
	http.StatusServiceUnavailable:  connect.CodeUnavailable,
}

func needOf(r *http.Request) (tokenauth.Need, error) { return procedureNeeds[r.URL.Path], nil }

// connectV1Error returns the error that the client receives for err.
func connectV1Error(err error) *connect.Error {
	status := tokenauth.StatusCode(err)
	text := http.StatusText(status)
	if lack, ok := errors.AsType[*tokenauth.ScopeError](err); ok && status == http.StatusForbidden {
		text = lack.Error() // names the required scopes
	}
	return connect.NewError(connectV1Codes[status], errors.New(text))
}

// docs: end

func connectV1Mux(a *app) (http.Handler, error) {
	tokens, findUser := a.kit.Manager, a.findUser
	// docs: connect v1's Authenticator
	errorWriter := connect.NewErrorWriter()
	auth, err := tokenauth.NewAuthenticator(tokens, findUser, &tokenauth.AuthenticatorOptions{
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			_ = errorWriter.Write(w, r, connectV1Error(err)) // fails if the client has disconnected
		},
	})
	if err != nil {
		return nil, err
	}
	// docs: end
	path, service := connectV1Service(a, auth)
	// docs: connect v1's routes
	mux := http.NewServeMux()
	mux.Handle(path, auth.RequireFunc(needOf)(service)) // path, service := ordersv1connect.NewOrdersHandler(…)
	// docs: end
	return mux, nil
}

// connectV1Auth is an interceptor that authenticates each call.
type connectV1Auth struct {
	auth *tokenauth.Authenticator[*User]
}

func (a connectV1Auth) identify(ctx context.Context, procedure string, h http.Header) (context.Context, error) {
	user, token, err := a.auth.Authenticate(ctx, h, procedureNeeds[procedure])
	if err != nil {
		refusal := connectV1Error(err)
		a.auth.WriteError(headersTo{refusal}, &http.Request{}, err) // sets WWW-Authenticate and Retry-After
		return nil, refusal
	}
	return a.auth.NewContext(ctx, user, token), nil
}

func (a connectV1Auth) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		ctx, err := a.identify(ctx, req.Spec().Procedure, req.Header())
		if err != nil {
			return nil, err
		}
		return next(ctx, req)
	}
}

func (a connectV1Auth) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		ctx, err := a.identify(ctx, conn.Spec().Procedure, conn.RequestHeader())
		if err != nil {
			return err
		}
		return next(ctx, conn)
	}
}

func (connectV1Auth) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// headersTo adds the headers of a response to the metadata of an error, and drops the body.
type headersTo struct{ refusal *connect.Error }

func (w headersTo) Header() http.Header       { return w.refusal.Meta() }
func (headersTo) Write(b []byte) (int, error) { return len(b), nil }
func (headersTo) WriteHeader(int)             {}

// connectV1Service stands for a function that protoc-gen-connect-go generates. It returns one
// handler for all procedures. If a.streams is true, the procedures respond with streams.
func connectV1Service(
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

func connectV1Intercepted(a *app) http.Handler {
	path, service := connectV1Service(a, a.auth, connect.WithInterceptors(connectV1Auth{a.auth}))
	mux := http.NewServeMux()
	mux.Handle(path, service)
	return mux
}

var connectV1 = connectVersion{
	middleware:  func(a *app) http.Handler { return must.Get(connectV1Mux(a)) },
	interceptor: connectV1Intercepted,
	client: func(t *testing.T, h http.Handler, streams bool, protocol string) caller {
		option := map[string]connect.ClientOption{
			"connect":  connect.WithClientOptions(),
			"grpc":     connect.WithGRPC(),
			"grpc-web": connect.WithGRPCWeb(),
		}[protocol]
		return connectV1Client(t, h, streams, option)
	},
	interceptorReadsFirst: true,
}

func connectV1Client(t *testing.T, h http.Handler, streams bool, option connect.ClientOption) caller {
	s := serveHTTP2(t, h)
	return func(t *testing.T, write bool, authorization ...string) result {
		method := OrdersMeProcedure
		if write {
			method = OrdersCreateProcedure
		}
		client := connect.NewClient[emptypb.Empty, wrapperspb.StringValue](s.client, s.url+method, option)
		request := connect.NewRequest(&emptypb.Empty{})
		request.Header()["Authorization"] = authorization
		if !streams {
			response, err := client.CallUnary(t.Context(), request)
			if err != nil {
				return connectV1Result(t, err)
			}
			return result{200, response.Header(), response.Msg.Value}
		}
		stream, err := client.CallServerStream(t.Context(), request)
		require.NoError(t, err)
		defer stream.Close()
		if !stream.Receive() {
			return connectV1Result(t, stream.Err())
		}
		return result{200, stream.ResponseHeader(), stream.Msg().Value}
	}
}

// connectV1Result returns the result for an error. It maps the Connect code to the HTTP status.
func connectV1Result(t *testing.T, err error) result {
	t.Helper()
	var refusal *connect.Error
	require.ErrorAs(t, err, &refusal)
	for status, code := range connectV1Codes {
		if code == refusal.Code() {
			return result{status, refusal.Meta(), refusal.Message()}
		}
	}
	require.Fail(t, "no status has this code", "%v", err)
	return result{}
}
