package frameworks_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
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

// connectError returns the error that the client receives for err.
func connectError(err error) *connect.Error {
	status := tokenauth.StatusCode(err)
	text := http.StatusText(status)
	if lack, ok := errors.AsType[*tokenauth.ScopeError](err); ok && status == http.StatusForbidden {
		text = lack.Error() // names the required scopes
	}
	return connect.NewError(connectCodes[status], text).WithCause(err) // clients do not receive the cause
}

// authenticate returns an interceptor that refuses each call without an accepted key.
func authenticate(auth *tokenauth.Authenticator[*User]) connect.ServerInterceptor {
	return func(next connect.ServerFunc) connect.ServerFunc {
		return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
			info, _ := connect.CallInfoForServerContext(ctx)
			header := http.Header{"Authorization": info.RequestHeader().Values("Authorization")}
			user, token, err := auth.Authenticate(ctx, header, procedureNeeds[spec.Procedure])
			if err == nil {
				return next(auth.NewContext(ctx, user, token), spec, stream)
			}
			refusal := headersOnly{}
			auth.WriteError(refusal, &http.Request{}, err) // sets WWW-Authenticate and Retry-After
			for name, values := range refusal {
				info.ResponseHeader().SetValues(name, values)
			}
			return connectError(err)
		}
	}
}

// headersOnly keeps the headers of a response, and drops the body.
type headersOnly http.Header

func (h headersOnly) Header() http.Header       { return http.Header(h) }
func (headersOnly) Write(b []byte) (int, error) { return len(b), nil }
func (headersOnly) WriteHeader(int)             {}

// docs: end

func connectIntercepted(a *app) http.Handler {
	auth := a.auth
	// docs: connect's server
	server := connect.NewServer(authenticate(auth)) // ordersv1connect.RegisterOrdersHandler(server, …)
	mux := http.NewServeMux()
	// docs: end
	server.Register(connectMethods(a, auth)...)
	connecthttp.Mount(mux, server)
	return mux
}

// connectMiddleware is the middleware of connect-go v1 with the error writer of v2.
func connectMiddleware(a *app) http.Handler {
	errorWriter := connecthttp.NewErrorWriter()
	auth := must.Get(tokenauth.NewAuthenticator(a.kit.Manager, a.findUser, &tokenauth.AuthenticatorOptions{
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			_ = errorWriter.Write(w, r, connectError(err))
		},
	}))
	server := connect.NewServer()
	server.Register(connectMethods(a, auth)...)
	mux := http.NewServeMux()
	connecthttp.Mount(mux, server)
	return auth.RequireFunc(needOf)(mux)
}

// connectMethods stands for the methods that a function which protoc-gen-connect-go generates
// registers.
func connectMethods(a *app, auth *tokenauth.Authenticator[*User]) (methods []connect.Method) {
	handler := func(ctx context.Context, _ connect.Spec, stream connect.ServerStream) error {
		if err := stream.Receive(&emptypb.Empty{}); err != nil {
			return err
		}
		user, _ := auth.User(ctx)
		token, _ := auth.Token(ctx)
		return stream.Send(wrapperspb.String(a.greet(user, token)))
	}
	for _, procedure := range []string{OrdersMeProcedure, OrdersCreateProcedure} {
		methods = append(methods, connect.Method{Spec: connectSpec(procedure, a.streams), Handler: handler})
	}
	return methods
}

func connectSpec(procedure string, streams bool) connect.Spec {
	spec := connect.Spec{Procedure: procedure, StreamType: connect.StreamTypeUnary}
	if streams {
		spec.StreamType = connect.StreamTypeServer
	}
	return spec
}

var connectV2 = connectVersion{
	middleware:  connectMiddleware,
	interceptor: connectIntercepted,
	client: func(t *testing.T, h http.Handler, streams bool, protocol string) caller {
		options := map[string][]connecthttp.Option{
			"grpc":     {connecthttp.WithGRPC()},
			"grpc-web": {connecthttp.WithGRPCWeb()},
		}[protocol]
		s := serveHTTP2(t, h)
		client := connect.NewClient(connecthttp.NewTransport(s.client, s.url, options...))
		return func(t *testing.T, write bool, authorization ...string) result {
			return connectCall(t, client, write, streams, authorization)
		}
	},
}

func connectCall(t *testing.T, client *connect.Client, write, streams bool, authorization []string) result {
	spec := connectSpec(OrdersMeProcedure, streams)
	if write {
		spec = connectSpec(OrdersCreateProcedure, streams)
	}
	ctx, info := connect.NewClientContext(t.Context())
	info.RequestHeader().SetValues("Authorization", authorization)
	var response wrapperspb.StringValue
	var err error
	if streams {
		stream, failure := client.CallServerStream(ctx, spec, &emptypb.Empty{})
		require.NoError(t, failure)
		err = stream.Receive(&response)
		require.NoError(t, stream.Close())
	} else {
		err = client.CallUnary(ctx, spec, &emptypb.Empty{}, &response)
	}
	header := http.Header{}
	for name, values := range info.ResponseHeader().All() {
		header[name] = values
	}
	if err == nil {
		return result{200, header, response.Value}
	}
	var refusal *connect.Error
	require.ErrorAs(t, err, &refusal)
	for status, code := range connectCodes {
		if code == refusal.Code() {
			return result{status, header, refusal.Message()}
		}
	}
	require.Fail(t, "no status has this code", "%v", err)
	return result{}
}

// Interceptors before authenticate must see refusals with their cause, for example to log it. The
// client must not receive the cause.
func TestConnectInterceptorSeesRefusal(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	seen := make(chan error, 1)
	log := func(next connect.ServerFunc) connect.ServerFunc {
		return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
			err := next(ctx, spec, stream)
			seen <- err
			return err
		}
	}
	server := connect.NewServer(log, authenticate(a.auth))
	server.Register(connectMethods(a, a.auth)...)
	mux := http.NewServeMux()
	connecthttp.Mount(mux, server)
	call := connectV2.client(t, mux, false, "grpc")
	got := call(t, false, "Bearer test_wrong")
	require.ErrorIs(t, <-seen, tokenauth.ErrInvalidKey)
	require.Equal(t, result{401, got.header, "Unauthorized"}, got)
}

// The docs say how a service with connect-go v2 refuses unknown procedures without a key.
func TestConnectUnknownHandlerRunsInterceptor(t *testing.T) {
	t.Parallel()
	server := connect.NewServer(authenticate(newApp(t).auth))
	server.Register(connectMethods(newApp(t), newApp(t).auth)...)
	server.SetUnknownHandler(func(context.Context, connect.Spec, connect.ServerStream) error { return nil })
	mux := http.NewServeMux()
	connecthttp.Mount(mux, server)
	require.Equal(t, 401, post(t, mux, servicePath+"Unknown", "{}").Code)
}
