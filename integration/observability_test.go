package integration

import (
	"context"
	"log/slog"
	"net/http"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
)

// counted is the code that docs/observability.md shows.
func counted(store tokenauth.Store, logger *slog.Logger) (*prometheus.CounterVec, *tokenauth.Manager, error) {
	events := promauto.NewCounterVec(prometheus.CounterOpts{Name: "tokenauth_events_total"}, []string{"kind", "reason"})
	log := tokenauth.LogEvents(logger)
	tokens, err := tokenauth.New(store, "acme", &tokenauth.Options{
		OnEvent: func(ctx context.Context, e tokenauth.Event) {
			events.WithLabelValues(string(e.Kind), string(e.Reason)).Inc()
			log(ctx, e)
		},
	})
	return events, tokens, err
}

// The code in docs/observability.md must compile, and count events.
func TestPrometheusCountsEvents(t *testing.T) {
	prometheus.DefaultRegisterer = prometheus.NewRegistry() // that of the process takes a name once
	events, tokens, err := counted(tokenauth.NewMemoryStore(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	_, err = tokens.Authenticate(t.Context(), "no key")
	require.Equal(t, http.StatusUnauthorized, tokenauth.StatusCode(err))
	require.Equal(t, 1.0, testutil.ToFloat64(events.WithLabelValues("rejected", "malformed")))
}
