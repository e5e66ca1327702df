package forward

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

const pageFile = "../../docs/reverse-proxies.md"

var configBlock = regexp.MustCompile("(?sm)^```(?:nginx|caddyfile)\n(.*?)^```$")

// The page must show the configurations that the tests of this package run, because readers copy
// them.
func TestPageShowsConfigurations(t *testing.T) {
	t.Parallel()
	var shown []string
	for _, match := range configBlock.FindAllStringSubmatch(readFile(t, pageFile), -1) {
		shown = append(shown, match[1])
	}
	var want []string
	for _, file := range []string{"nginx.conf", "Caddyfile", "Caddyfile.log"} {
		want = append(want, readFile(t, file))
	}
	require.Equal(t, want, shown)
}
