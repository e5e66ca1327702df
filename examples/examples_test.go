// Package examples_test runs the examples that have no tests of their own.
package examples_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/internal/leaktest"
)

var curlLine = regexp.MustCompile(`^curl -H 'Authorization: (Bearer acme_[0-9A-Za-z]{38})' (http://127\.0\.0\.1:\d+)/me\n$`)

func TestQuickstart(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "quickstart")
	output, err := exec.Command("go", "build", "-o", binary, "./quickstart").CombinedOutput()
	require.NoError(t, err, string(output))

	command := exec.Command(binary, "-addr", "127.0.0.1:0")
	command.Stderr = &leaktest.Default
	stdout, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait() // the error tells that it was killed
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	found := curlLine.FindStringSubmatch(line)
	require.Len(t, found, 3, "the first line is not the curl command")
	authorization, url := found[1], found[2]
	leaktest.Default.Secret(authorization[len("Bearer "):])

	tests := []struct {
		name, method, path, authorization string
		status                            int
		body                              string
	}{
		{"the printed line works", "GET", "/me", authorization, 200, "GET /me for Ada\n"},
		{"the token lacks the scope", "POST", "/orders", authorization, 403, ""},
		{"without the key", "GET", "/me", "", 401, ""},
		{"with a wrong key", "POST", "/orders", "Bearer acme_x", 401, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), tt.method, url+tt.path, nil)
			require.NoError(t, err)
			if tt.authorization != "" {
				r.Header.Set("Authorization", tt.authorization)
			}
			response, err := http.DefaultClient.Do(r)
			require.NoError(t, err)
			defer func() { _ = response.Body.Close() }()
			body, err := io.ReadAll(response.Body)
			require.NoError(t, err)
			_, _ = fmt.Fprint(&leaktest.Default, response.Header, string(body))
			require.Equal(t, tt.status, response.StatusCode)
			if tt.body != "" {
				require.Equal(t, tt.body, string(body))
			}
		})
	}
}
