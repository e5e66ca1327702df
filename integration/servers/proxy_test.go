package servers_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/integration/servers"
)

func helloNginx(addr string) string {
	return "server { listen " + addr + "; location / { return 200 hello; } }"
}

func helloCaddy(addr string) string { return "http://" + addr + " {\nlog\nrespond hello\n}" }

func nginx() (*servers.ProxyServer, error) { return servers.Nginx(helloNginx) }

func caddy() (*servers.ProxyServer, error) { return servers.Caddy(helloCaddy) }

// A test may kill, stop and freeze a reverse proxy. Afterwards, it must serve requests again, and
// its logs must be complete.
func TestProxiesRestart(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func() (*servers.ProxyServer, error){"nginx": nginx, "caddy": caddy} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := started(t, start)
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
			get := func(path string) error {
				response, err := client.Get("http://" + s.Addr() + path)
				if err == nil {
					err = response.Body.Close()
				}
				return err
			}
			for path, end := range map[string]func() error{"/killed": s.Kill, "/stopped": s.Stop} {
				require.NoError(t, get(path))
				require.NoError(t, end())
				require.Error(t, get("/refused"))
				require.NoError(t, s.Start())
			}
			require.NoError(t, get("/last"))
			require.NoError(t, s.Freeze())
			client.Timeout = 300 * time.Millisecond
			require.Error(t, get("/frozen"))
			require.NoError(t, s.Stop())
			logs, err := s.Logs()
			require.NoError(t, err)
			for _, path := range []string{"/killed", "/stopped", "/last"} {
				require.Contains(t, logs, path)
			}
		})
	}
}

// A reverse proxy that does not start must report the reason, and leave no folder.
func TestFailedProxiesReportReason(t *testing.T) {
	dir := tempDir(t)
	_, err := servers.Nginx(helloNginx, "no_such_setting;")
	skipIfMissing(t, err)
	require.ErrorContains(t, err, `unknown directive "no_such_setting"`)
	_, err = servers.Caddy(func(addr string) string { return "http://" + addr + " {\nno_such_setting\n}" })
	skipIfMissing(t, err)
	require.ErrorContains(t, err, "unrecognized directive: no_such_setting")
	requireNothingLeft(t, dir)
}
