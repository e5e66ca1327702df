package frameworks_test

import (
	"context"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/go-tokenauth/tokenauth"
)

// docs: grpc

var methodNeeds = map[string]tokenauth.Need{Orders_Create_FullMethodName: {Scopes: []string{"orders:write"}}}

type grpcAuth struct {
	auth *tokenauth.Authenticator[*User]
}

func (a grpcAuth) identify(ctx context.Context, method string) (context.Context, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	header := http.Header{"Authorization": md.Get("authorization")} // all values, because two are refused
	user, token, err := a.auth.Authenticate(ctx, header, methodNeeds[method])
	switch tokenauth.StatusCode(err) {
	case http.StatusOK:
		return a.auth.NewContext(ctx, user, token), nil
	case http.StatusBadRequest:
		return nil, status.Error(codes.InvalidArgument, "malformed or repeated credentials")
	case http.StatusUnauthorized:
		return nil, status.Error(codes.Unauthenticated, "no valid key")
	case http.StatusForbidden:
		return nil, status.Error(codes.PermissionDenied, err.Error()) // a *ScopeError, which names the required scopes
	case http.StatusInternalServerError:
		return nil, status.Error(codes.Internal, "misconfigured") // methodNeeds has a scope that does not exist
	}
	return nil, status.Error(codes.Unavailable, "authentication is not available")
}

func (a grpcAuth) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	ctx, err := a.identify(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	return next(ctx, req)
}

func (a grpcAuth) stream(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	ctx, err := a.identify(s.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	return next(srv, identifiedStream{s, ctx})
}

type identifiedStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s identifiedStream) Context() context.Context { return s.ctx }

// docs: end

func grpcServer(a *app) *grpc.Server {
	auth := a.auth
	// docs: grpc's server
	intercept := grpcAuth{auth}
	server := grpc.NewServer(grpc.UnaryInterceptor(intercept.unary), grpc.StreamInterceptor(intercept.stream))
	// docs: end
	server.RegisterService(ordersService(a.streams), a)
	return server
}

// ordersService stands for a service description that protoc-gen-go-grpc generates. If streams is
// true, the methods respond with streams.
func ordersService(streams bool) *grpc.ServiceDesc {
	d := &grpc.ServiceDesc{ServiceName: "orders.v1.Orders", HandlerType: (*any)(nil)}
	for _, name := range []string{"Me", "Create"} {
		if streams {
			d.Streams = append(d.Streams, grpc.StreamDesc{StreamName: name, ServerStreams: true, Handler: streamHandler})
		} else {
			d.Methods = append(d.Methods, grpc.MethodDesc{MethodName: name, Handler: unaryHandler(servicePath + name)})
		}
	}
	return d
}

func streamHandler(srv any, s grpc.ServerStream) error {
	if err := s.RecvMsg(&emptypb.Empty{}); err != nil {
		return err
	}
	return s.SendMsg(grpcHello(s.Context(), srv.(*app)))
}

func unaryHandler(method string) grpc.MethodHandler {
	return func(srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
		request := &emptypb.Empty{}
		if err := decode(request); err != nil {
			return nil, err
		}
		info := &grpc.UnaryServerInfo{Server: srv, FullMethod: method}
		return intercept(ctx, request, info, func(ctx context.Context, _ any) (any, error) {
			return grpcHello(ctx, srv.(*app)), nil
		})
	}
}

func grpcHello(ctx context.Context, a *app) *wrapperspb.StringValue {
	user, _ := a.auth.User(ctx)
	token, _ := a.auth.Token(ctx)
	return wrapperspb.String(a.greet(user, token))
}

// A gRPC service must serve valid keys and refuse all other requests, for each kind of call.
func TestGRPCAuthenticates(t *testing.T) {
	t.Parallel()
	for kind, streams := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			check(t, func(t *testing.T, a *app) caller {
				a.streams = streams
				return grpcClient(t, a)
			})
		})
	}
}

func grpcClient(t *testing.T, a *app) caller {
	conn := grpcConn(t, a)
	return func(t *testing.T, write bool, authorization ...string) result {
		method := OrdersMeProcedure
		if write {
			method = OrdersCreateProcedure
		}
		ctx := metadata.NewOutgoingContext(t.Context(), metadata.MD{"authorization": authorization})
		var response wrapperspb.StringValue
		if !a.streams {
			return grpcResult(t, &response, conn.Invoke(ctx, method, &emptypb.Empty{}, &response))
		}
		stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, method)
		require.NoError(t, err)
		require.NoError(t, stream.SendMsg(&emptypb.Empty{}))
		require.NoError(t, stream.CloseSend())
		return grpcResult(t, &response, stream.RecvMsg(&response))
	}
}

func grpcConn(t *testing.T, a *app) *grpc.ClientConn {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpcServer(a)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		require.NoError(t, <-done)
	})
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

var grpcStatuses = map[codes.Code]int{
	codes.OK:               http.StatusOK,
	codes.InvalidArgument:  http.StatusBadRequest,
	codes.Unauthenticated:  http.StatusUnauthorized,
	codes.PermissionDenied: http.StatusForbidden,
	codes.Internal:         http.StatusInternalServerError,
	codes.Unavailable:      http.StatusServiceUnavailable,
}

func grpcResult(t *testing.T, response *wrapperspb.StringValue, err error) result {
	t.Helper()
	code, known := grpcStatuses[status.Code(err)]
	require.True(t, known, "no status has this code: %v", err)
	if err != nil {
		return result{status: code, text: status.Convert(err).Message()}
	}
	return result{status: code, text: response.GetValue()}
}
