package integration

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// This file has the code with Prometheus that docs/observability.md shows, and tests of this code.

func withLog(store tokenauth.Store) (*tokenauth.Manager, error) {
	// docs: log
	tokens, err := tokenauth.New(store, "acme", &tokenauth.Options{OnEvent: tokenauth.LogEvents(slog.Default())})
	// docs: end
	return tokens, err
}

// docs: events

// countEvents returns a function for Options.OnEvent that counts each event and passes it on to
// next.
func countEvents(reg prometheus.Registerer, next func(context.Context, tokenauth.Event)) func(context.Context, tokenauth.Event) {
	events := promauto.With(reg).NewCounterVec(
		prometheus.CounterOpts{Name: "tokenauth_events_total", Help: "Changes of tokens and rejected requests."}, []string{"kind", "reason"})
	for _, reason := range []tokenauth.Reason{ // rate() does not see the first event of a series that does not start at 0
		tokenauth.ReasonMalformed, tokenauth.ReasonUnknown, tokenauth.ReasonExpired, tokenauth.ReasonIdle, tokenauth.ReasonRevoked,
		tokenauth.ReasonReplaced, tokenauth.ReasonNoUser, tokenauth.ReasonStoreFailed, tokenauth.ReasonUserLookupFailed, tokenauth.ReasonNeedFailed,
	} {
		events.WithLabelValues(string(tokenauth.EventRejected), string(reason))
	}
	events.WithLabelValues(string(tokenauth.EventFlushFailed), "")
	return func(ctx context.Context, e tokenauth.Event) {
		events.WithLabelValues(string(e.Kind), string(e.Reason)).Inc()
		next(ctx, e)
	}
}

// docs: end

// docs: requests

// measured returns a function that adds a route to mux. It counts accepted requests, and measures
// the duration of all requests. The function's parameter require is a method of the Authenticator.
func measured(reg prometheus.Registerer, mux *http.ServeMux) func(pattern string, require func(http.Handler) http.Handler, next http.Handler) {
	accepted := promauto.With(reg).NewCounterVec(
		prometheus.CounterOpts{Name: "tokenauth_accepted_requests_total", Help: "Requests with an accepted key."}, []string{"route"})
	duration := promauto.With(reg).NewHistogramVec(
		prometheus.HistogramOpts{Name: "http_request_duration_seconds", Help: "Duration of requests, with authentication."}, []string{"route", "code"})
	return func(pattern string, require func(http.Handler) http.Handler, next http.Handler) {
		route := prometheus.Labels{"route": pattern}
		accepted.With(route) // starts at 0
		counted := func(w http.ResponseWriter, r *http.Request) {
			if _, ok := tokenauth.TokenFrom(r.Context()); ok { // inside Optional, there may be none
				accepted.With(route).Inc()
			}
			next.ServeHTTP(w, r)
		}
		handler := require(http.HandlerFunc(counted))
		mux.Handle(pattern, promhttp.InstrumentHandlerDuration(duration.MustCurryWith(route), handler))
	}
}

// docs: end

// docs: store

// A timedStore measures the duration of Find, which each request with a key calls.
type timedStore struct {
	tokenauth.Store
	duration *prometheus.HistogramVec
}

func (s timedStore) Find(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
	defer prometheus.NewTimer(s.duration.WithLabelValues("Find")).ObserveDuration()
	return s.Store.Find(ctx, d)
}

// docs: end

// withMetrics returns a service that is put together as docs/observability.md shows.
func withMetrics(reg *prometheus.Registry, store tokenauth.Store, logger *slog.Logger, order http.Handler) (*tokenauth.Manager, http.Handler, error) {
	// docs: manager
	duration := promauto.With(reg).NewHistogramVec(
		prometheus.HistogramOpts{Name: "tokenauth_store_duration_seconds", Help: "Duration of calls of the token store."}, []string{"method"})
	tokens, err := tokenauth.New(timedStore{store, duration}, "acme", &tokenauth.Options{
		OnEvent: countEvents(reg, tokenauth.LogEvents(logger)),
	})
	// docs: end
	if err != nil {
		return nil, nil, err
	}
	findUser := func(_ context.Context, id string) (string, error) { return "user " + id, nil }
	auth, err := tokenauth.NewAuthenticator(tokens, findUser, nil)
	mux := http.NewServeMux()
	// docs: routes
	handle := measured(reg, mux)
	handle("POST /orders/{id}", auth.RequireScopes("orders:write"), order)
	// docs: end
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	return tokens, mux, err
}

// A metered is a service with metrics, and a store that can fail.
type metered struct {
	store   *tokenauthtest.Store
	tokens  *tokenauth.Manager
	handler http.Handler
	reg     *prometheus.Registry
}

func newMetered(t *testing.T) metered {
	t.Helper()
	order := func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("id") == "taken" {
			w.WriteHeader(http.StatusConflict)
		}
	}
	m := metered{store: tokenauthtest.NewStore(tokenauth.NewMemoryStore()), reg: prometheus.NewPedanticRegistry()}
	var err error
	m.tokens, m.handler, err = withMetrics(m.reg, m.store, slog.New(slog.DiscardHandler), http.HandlerFunc(order))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.tokens.Close(context.Background())) })
	return m
}

// issue issues a token and returns its key.
func issue(t *testing.T, tokens *tokenauth.Manager, name string, scopes ...string) (string, tokenauth.Token) {
	t.Helper()
	key, token, err := tokens.Issue(t.Context(), tokenauth.Spec{UserID: "42", Name: name, Scopes: scopes})
	require.NoError(t, err)
	return revealed(key), token
}

// send sends a request with a key, and returns the status.
func send(handler http.Handler, method, path, key string) int {
	r := httptest.NewRequest(method, path, nil)
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w.Code
}

// page returns the metrics as Prometheus reads them.
func (m metered) page(t *testing.T) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	body, err := io.ReadAll(w.Body)
	require.NoError(t, err)
	_, _ = leak.Default.Write(body)
	return string(body)
}

// A successful request causes no event. The metrics of the page must count it nevertheless, and
// must have the reason of each refused request.
func TestPrometheusCountsAcceptedAndRefusedRequests(t *testing.T) {
	t.Parallel()
	m := newMetered(t)
	key, token := issue(t, m.tokens, "laptop", "orders:write")
	reader, _ := issue(t, m.tokens, "reader")
	require.Equal(t, 200, send(m.handler, "POST", "/orders/1", key))
	require.Equal(t, 200, send(m.handler, "POST", "/orders/2", key))
	require.Equal(t, 409, send(m.handler, "POST", "/orders/taken", key))
	require.Equal(t, 401, send(m.handler, "POST", "/orders/1", ""))
	require.Equal(t, 403, send(m.handler, "POST", "/orders/1", reader))
	require.NoError(t, m.tokens.Revoke(t.Context(), "42", token.ID))
	require.Equal(t, 401, send(m.handler, "POST", "/orders/1", key))
	m.store.Fail(errors.New("connection refused"))
	require.Equal(t, 503, send(m.handler, "POST", "/orders/1", key))
	m.store.Fail(nil)

	page := m.page(t)
	for _, line := range []string{
		`tokenauth_accepted_requests_total{route="POST /orders/{id}"} 3`,
		`http_request_duration_seconds_count{code="200",route="POST /orders/{id}"} 2`,
		`http_request_duration_seconds_count{code="409",route="POST /orders/{id}"} 1`,
		`http_request_duration_seconds_count{code="401",route="POST /orders/{id}"} 2`,
		`http_request_duration_seconds_count{code="403",route="POST /orders/{id}"} 1`,
		`http_request_duration_seconds_count{code="503",route="POST /orders/{id}"} 1`,
		`tokenauth_events_total{kind="issued",reason=""} 2`,
		`tokenauth_events_total{kind="revoked",reason=""} 1`,
		`tokenauth_events_total{kind="rejected",reason="scope_missing"} 1`,
		`tokenauth_events_total{kind="rejected",reason="revoked"} 1`,
		`tokenauth_events_total{kind="rejected",reason="store_failed"} 1`,
		`tokenauth_store_duration_seconds_count{method="Find"} 6`,
	} {
		require.Contains(t, page, line+"\n")
	}
	require.NotContains(t, page, token.ID, "an ID must not be a label")
}

// The default logger must get the events, at the levels that the page shows.
func TestLogEventsOfPage(t *testing.T) {
	var lines bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&lines, nil)))
	defer slog.SetDefault(before)
	tokens, err := withLog(tokenauth.NewMemoryStore())
	require.NoError(t, err)
	_, token := issue(t, tokens, "laptop")
	_, err = tokens.Authenticate(t.Context(), "junk")
	require.ErrorIs(t, err, tokenauth.ErrInvalidKey)
	_, _ = leak.Default.Write(lines.Bytes())
	require.Contains(t, lines.String(), `level=INFO msg="token issued" user=42 token=`+token.ID+" name=laptop\n")
	require.Contains(t, lines.String(), `level=WARN msg="token rejected" reason=malformed`+"\n")
}

// A request without a key inside Optional has no accepted key, so it must not be counted as
// accepted.
func TestPrometheusDoesNotCountRequestWithoutKeyAsAccepted(t *testing.T) {
	t.Parallel()
	kit, reg, mux := tokenauthtest.New(t, nil), prometheus.NewPedanticRegistry(), http.NewServeMux()
	auth, err := tokenauth.NewAuthenticator(kit.Manager, func(_ context.Context, id string) (string, error) { return id, nil }, nil)
	require.NoError(t, err)
	measured(reg, mux)("GET /{$}", auth.Optional, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	m := metered{handler: promhttp.HandlerFor(reg, promhttp.HandlerOpts{})}
	require.Equal(t, 200, send(mux, "GET", "/", ""))
	require.Contains(t, m.page(t), `tokenauth_accepted_requests_total{route="GET /{$}"} 0`+"\n")
	require.Equal(t, 200, send(mux, "GET", "/", kit.Issue("42").Reveal()))
	require.Contains(t, m.page(t), `tokenauth_accepted_requests_total{route="GET /{$}"} 1`+"\n")
	require.Contains(t, m.page(t), `http_request_duration_seconds_count{code="200",route="GET /{$}"} 2`+"\n")
}

var (
	alertRules = regexp.MustCompile("(?s)```yaml\n(.*?)```")
	metricName = regexp.MustCompile(`\b(tokenauth|http)_\w+`)
	selector   = regexp.MustCompile(`(\w+)\{(.*?)\}`)
	matcher    = regexp.MustCompile(`(\w+)=~?"(.*?)"`)
	kindOrWhy  = regexp.MustCompile(`(EventKind|Reason)\s+= "(\w+)"`)
	statusCode = regexp.MustCompile(`(?m)^\t\{\w+, (\d{3}), |status: (\d{3})`)
)

// rulesOfPage returns the alert rules of docs/observability.md.
func rulesOfPage(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../docs/observability.md")
	require.NoError(t, err)
	rules := alertRules.FindSubmatch(text)
	require.NotNil(t, rules, "docs/observability.md has no alert rules")
	return string(rules[1])
}

// valuesOfLibrary returns the values that the library has for the labels kind, reason and code. It
// reads them from the source code, because the library does not export lists of them.
func valuesOfLibrary(t *testing.T) map[string][]string {
	t.Helper()
	values := map[string][]string{"code": {"200"}}
	text, err := os.ReadFile("../events.go")
	require.NoError(t, err)
	for _, found := range kindOrWhy.FindAllStringSubmatch(string(text), -1) {
		label := map[string]string{"EventKind": "kind", "Reason": "reason"}[found[1]]
		values[label] = append(values[label], found[2])
	}
	text, err = os.ReadFile("../errors.go")
	require.NoError(t, err)
	for _, found := range statusCode.FindAllStringSubmatch(string(text), -1) {
		values["code"] = append(values["code"], found[1]+found[2])
	}
	require.Len(t, values["kind"], 9)
	require.Len(t, values["reason"], 14)
	require.Subset(t, values["code"], []string{"400", "401", "403", "404", "409", "500", "503"})
	return values
}

// An alert on a metric or a label value that does not exist never fires.
func TestAlertsOfPageUseMetricsAndValuesThatExist(t *testing.T) {
	t.Parallel()
	rules, library, m := rulesOfPage(t), valuesOfLibrary(t), newMetered(t)
	key, _ := issue(t, m.tokens, "laptop", "orders:write")
	require.Equal(t, 200, send(m.handler, "POST", "/orders/1", key))
	page := m.page(t)
	names := metricName.FindAllString(rules, -1)
	require.NotEmpty(t, names)
	for _, name := range names {
		require.True(t, strings.Contains(page, "\n"+name+"{"), name)
	}
	checked := 0
	for _, found := range matcher.FindAllStringSubmatch(rules, -1) {
		for _, value := range strings.Split(found[2], "|") {
			if of, ok := library[found[1]]; ok {
				require.Contains(t, of, value, found[0])
			} else {
				require.Contains(t, page, found[1]+`="`+value+`"`, found[0])
			}
			checked++
		}
	}
	require.Greater(t, checked, 10)
}

// Prometheus does not see the increase of a counter whose first value is 1. Each counter of an
// alert must therefore exist, with the value 0, before the first request.
func TestCountersOfAlertsStartAtZero(t *testing.T) {
	t.Parallel()
	page, counters := newMetered(t).page(t), 0
	for _, found := range selector.FindAllStringSubmatch(rulesOfPage(t), -1) {
		if found[1] != "tokenauth_events_total" {
			continue
		}
		labels := map[string]string{"reason": ""}
		for _, m := range matcher.FindAllStringSubmatch(found[2], -1) {
			labels[m[1]] = m[2]
		}
		for _, reason := range strings.Split(labels["reason"], "|") {
			require.Contains(t, page, `tokenauth_events_total{kind="`+labels["kind"]+`",reason="`+reason+`"} 0`+"\n", found[0])
			counters++
		}
	}
	require.Equal(t, 11, counters)
	require.Contains(t, page, `tokenauth_accepted_requests_total{route="POST /orders/{id}"} 0`+"\n")
}
