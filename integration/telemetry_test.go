package integration

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// This file has the code with OpenTelemetry that docs/observability.md shows, and tests of this
// code.

// docs: outcome

// recordOutcome adds the outcome of the authentication to the span and to the metrics of the
// request.
func recordOutcome(ctx context.Context, outcome string, token tokenauth.Token) {
	attr := attribute.String("tokenauth.outcome", outcome)
	labeler, _ := otelhttp.LabelerFromContext(ctx)
	labeler.Add(attr) // to http.server.request.duration; never add the token ID to a metric
	span := trace.SpanFromContext(ctx)
	span.SetAttributes(attr)
	if token.ID != "" {
		span.SetAttributes(attribute.String("tokenauth.token.id", token.ID))
	}
}

// recordAccepted is middleware for the handlers inside Require, or inside a similar method of the
// Authenticator.
func recordAccepted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token, ok := tokenauth.TokenFrom(r.Context()); ok { // inside Optional, there may be none
			recordOutcome(r.Context(), "accepted", token)
		}
		next.ServeHTTP(w, r)
	})
}

// recordEvents returns a function for Options.OnEvent. The function counts each event, adds the
// reason to the span of a refused request, and passes the event on to next.
func recordEvents(meter metric.Meter, next func(context.Context, tokenauth.Event)) (func(context.Context, tokenauth.Event), error) {
	events, err := meter.Int64Counter("tokenauth.events", metric.WithUnit("{event}"))
	return func(ctx context.Context, e tokenauth.Event) {
		kind, reason := attribute.String("tokenauth.kind", string(e.Kind)), attribute.String("tokenauth.reason", string(e.Reason))
		events.Add(ctx, 1, metric.WithAttributes(kind, reason))
		if e.Kind == tokenauth.EventRejected {
			recordOutcome(ctx, string(e.Reason), e.Token)
		}
		next(ctx, e)
	}, err
}

// docs: end

// withTelemetry returns a service that is put together as docs/observability.md shows.
func withTelemetry(store tokenauth.Store, traces trace.TracerProvider, metrics metric.MeterProvider, logEvents func(context.Context, tokenauth.Event), me http.Handler) (*tokenauth.Manager, http.Handler, error) {
	findUser := func(_ context.Context, id string) (string, error) { return "user " + id, nil }
	onEvent, err := recordEvents(metrics.Meter("acme"), logEvents)
	if err != nil {
		return nil, nil, err
	}
	tokens, err := tokenauth.New(store, "acme", &tokenauth.Options{OnEvent: onEvent})
	if err != nil {
		return nil, nil, err
	}
	auth, err := tokenauth.NewAuthenticator(tokens, findUser, nil)
	mux := http.NewServeMux()
	// docs: otelhttp
	mux.Handle("GET /users/{name}", auth.Require(recordAccepted(me)))
	handler := otelhttp.NewHandler(mux, "acme",
		otelhttp.WithTracerProvider(traces),
		otelhttp.WithMeterProvider(metrics),
		otelhttp.WithServerName("api.example.com:443"))
	// docs: end
	mux.Handle("GET /{$}", auth.Optional(recordAccepted(me)))
	return tokens, handler, err
}

// A traced is a service whose spans and metrics stay in memory.
type traced struct {
	store   *tokenauthtest.Store
	tokens  *tokenauth.Manager
	handler http.Handler
	spans   *tracetest.InMemoryExporter
	reader  *sdkmetric.ManualReader
}

func newTraced(t *testing.T) traced {
	t.Helper()
	s := traced{store: tokenauthtest.NewStore(tokenauth.NewMemoryStore()), spans: tracetest.NewInMemoryExporter(), reader: sdkmetric.NewManualReader()}
	traces := sdktrace.NewTracerProvider(sdktrace.WithSyncer(s.spans))
	metrics := sdkmetric.NewMeterProvider(sdkmetric.WithReader(s.reader))
	me := func(_ http.ResponseWriter, r *http.Request) {
		_, span := traces.Tracer("service").Start(r.Context(), "query")
		span.End()
	}
	var err error
	s.tokens, s.handler, err = withTelemetry(s.store, traces, metrics, func(context.Context, tokenauth.Event) {}, http.HandlerFunc(me))
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx := context.Background()
		require.NoError(t, errors.Join(s.tokens.Close(ctx), traces.Shutdown(ctx), metrics.Shutdown(ctx)))
	})
	return s
}

// attributes returns the attributes whose names start with tokenauth, as text.
func attributes(all []attribute.KeyValue) (texts []string) {
	for _, a := range all {
		if a.Key == "tokenauth.outcome" || a.Key == "tokenauth.token.id" {
			texts = append(texts, string(a.Key)+"="+a.Value.AsString())
		}
	}
	slices.Sort(texts)
	return texts
}

// An operator who looks at the span of a request must find the token and the reason of a refusal,
// but never the key.
func TestSpansHaveTokenAndReason(t *testing.T) {
	t.Parallel()
	s := newTraced(t)
	key, token := issue(t, s.tokens, "laptop")
	tests := []struct {
		name    string
		prepare func() error
		key     string
		status  int
		want    []string
	}{
		{"accepted", func() error { return nil }, key, 200, []string{"tokenauth.outcome=accepted", "tokenauth.token.id=" + token.ID}},
		{"no key", func() error { return nil }, "", 401, nil},
		{"unknown key", func() error { return nil }, "junk", 401, []string{"tokenauth.outcome=malformed"}},
		{"revoked token", func() error { return s.tokens.Revoke(t.Context(), "42", token.ID) }, key, 401,
			[]string{"tokenauth.outcome=revoked", "tokenauth.token.id=" + token.ID}},
		{"the store fails", func() error { s.store.Fail(errors.New("connection refused")); return nil }, key, 503,
			[]string{"tokenauth.outcome=store_failed"}},
	}
	for _, tt := range tests {
		require.NoError(t, tt.prepare(), tt.name)
		s.spans.Reset()
		require.Equal(t, tt.status, send(s.handler, "GET", "/users/ada?secret=1", tt.key), tt.name)
		spans := s.spans.GetSpans()
		_, _ = fmt.Fprintf(&leak.Default, "%+v", spans)
		require.NotContains(t, fmt.Sprintf("%+v", spans), "secret")
		server := spans[len(spans)-1]
		require.Equal(t, "GET /users/{name}", server.Name, tt.name)
		require.Equal(t, tt.want, attributes(server.Attributes), tt.name)
		if tt.status == 200 {
			require.Len(t, spans, 2)
			require.Equal(t, server.SpanContext.SpanID(), spans[0].Parent.SpanID(), "the handler's context must have the span of the request")
		}
	}
	s.store.Fail(nil)
}

// counts returns the number of requests by route and outcome, and the number of events by metric,
// kind and reason. No metric may have the ID of the token.
func (s traced) counts(t *testing.T, token tokenauth.Token) (requests map[string]uint64, events map[string]int64) {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, s.reader.Collect(t.Context(), &all))
	_, _ = fmt.Fprintf(&leak.Default, "%+v", all)
	require.NotContains(t, fmt.Sprintf("%+v", all), token.ID)
	requests, events = map[string]uint64{}, map[string]int64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Histogram[float64]:
				if m.Name == "http.server.request.duration" {
					for _, p := range data.DataPoints {
						outcome, _ := p.Attributes.Value("tokenauth.outcome")
						route, _ := p.Attributes.Value("http.route")
						requests[route.AsString()+" "+outcome.AsString()] = p.Count
					}
				}
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					kind, _ := p.Attributes.Value("tokenauth.kind")
					reason, _ := p.Attributes.Value("tokenauth.reason")
					events[m.Name+" "+kind.AsString()+" "+reason.AsString()] = p.Value
				}
			}
		}
	}
	return requests, events
}

// The metrics of the page must tell accepted requests from refused ones, and clients must not be
// able to add series.
func TestTelemetryMeasuresOutcomes(t *testing.T) {
	t.Parallel()
	s := newTraced(t)
	key, token := issue(t, s.tokens, "laptop")
	for _, path := range []string{"/users/ada", "/users/grace"} {
		require.Equal(t, 200, send(s.handler, "GET", "http://"+path[7:]+".example"+path, key))
	}
	require.Equal(t, 401, send(s.handler, "GET", "/users/ada", "junk"))

	requests, events := s.counts(t, token)
	require.Equal(t, map[string]uint64{"/users/{name} accepted": 2, "/users/{name} malformed": 1}, requests)
	require.Equal(t, map[string]int64{"tokenauth.events issued ": 1, "tokenauth.events rejected malformed": 1}, events)
}

// A request without a key inside Optional has no accepted key, so neither its span nor the metrics
// may have the outcome "accepted".
func TestTelemetryRecordsNoOutcomeOfRequestWithoutKey(t *testing.T) {
	t.Parallel()
	s := newTraced(t)
	key, token := issue(t, s.tokens, "laptop")
	require.Equal(t, 200, send(s.handler, "GET", "/", ""))
	spans := s.spans.GetSpans()
	require.Empty(t, attributes(spans[len(spans)-1].Attributes))
	require.Equal(t, 200, send(s.handler, "GET", "/", key))
	requests, _ := s.counts(t, token)
	require.Equal(t, map[string]uint64{"/{$} ": 1, "/{$} accepted": 1}, requests)
}

// A client that sends CONNECT requests must not be able to add series. For a pattern without a
// method, net/http can set Request.Pattern to the path of such a request.
func TestConnectRequestsAddNoRoutes(t *testing.T) {
	t.Parallel()
	s := newTraced(t)
	_, token := issue(t, s.tokens, "laptop")
	for _, path := range []string{"/users/ada", "/users/grace", "/"} {
		require.Equal(t, 405, send(s.handler, http.MethodConnect, path, ""), path)
	}
	requests, _ := s.counts(t, token)
	require.Equal(t, map[string]uint64{" ": 3}, requests)

	mux := http.NewServeMux()
	mux.HandleFunc("/users/{name}/", func(http.ResponseWriter, *http.Request) {})
	r := httptest.NewRequest(http.MethodConnect, "/users/ada", nil)
	mux.ServeHTTP(httptest.NewRecorder(), r)
	require.Equal(t, "/users/ada/", r.Pattern, "docs/observability.md warns of patterns without a method")
}
