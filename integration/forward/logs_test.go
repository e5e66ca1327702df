package forward

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/integration/servers"
)

// The logs of a reverse proxy must not contain a key, whatever becomes of the request.
func TestLogsHaveNoKeys(t *testing.T) {
	t.Parallel()
	eachSetup(t, func(t *testing.T, s setup) {
		for _, dead := range []string{"", endpointAddress, serviceAddress} {
			edited := s
			if dead != "" {
				edited = s.with(dead, nobodyAddress)
			}
			a := started(t, edited)
			key := a.bearer()
			for _, lines := range [][]string{
				{"GET /me", key}, {"GET /unknown", key}, {"POST /orders", key}, {"GET /me", key, key},
				{"GET /me", strings.Replace(key, "Bearer", "Basic QQ==, Bearer", 1)}, {"GET /me?500", key},
			} {
				a.send(t, lines...)
			}
			logs := a.logs(t)
			require.Contains(t, logs, "/unknown")
			require.NotContains(t, logs, strings.Fields(key)[2])
		}
	})
}

// docs/reverse-proxies.md warns against the levels info and debug, at which nginx logs the values
// of a repeated header Authorization.
func TestNginxLogsRepeatedKeysAtLevelInfo(t *testing.T) {
	t.Parallel()
	s := nginx
	s.start = func(site func(string) string) (*servers.ProxyServer, error) {
		return servers.Nginx(site, "error_log stderr info;")
	}
	a := started(t, s)
	require.Equal(t, 400, a.send(t, "GET /me", "Authorization: Bearer planted-one", "Authorization: Bearer planted-two").status)
	logs := a.logs(t)
	require.Contains(t, logs, "Bearer planted-one")
	require.Contains(t, logs, "Bearer planted-two")
}

// docs/reverse-proxies.md says that Caddy logs the values of all request headers except
// Authorization, and how to omit a header.
func TestCaddyLogsOtherHeaders(t *testing.T) {
	t.Parallel()
	a := started(t, caddy)
	a.send(t, "GET /me", "Authorization: Bearer planted-one", "X-API-Key: planted-two")
	logs := a.logs(t)
	require.NotContains(t, logs, "Bearer planted-one")
	require.Contains(t, logs, "planted-two")

	a = started(t, caddy.with("\tlog\n", readFile(t, "Caddyfile.log")))
	a.send(t, "GET /me", "Authorization: Bearer planted-one", "X-API-Key: planted-two")
	logs = a.logs(t)
	require.Contains(t, logs, `"uri":"/me"`)
	require.NotContains(t, logs, "planted-two")
}
