package leak

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/internal/keyform"
)

const (
	plantOf = "LEAK_PLANT" // environment variable that names the plant of the child process
	secret  = "planted_secret"
)

var (
	digest = sha256.Sum256([]byte(secret))
	other  = sha256.Sum256([]byte("other"))
	kept   any // keeps files reachable, because the garbage collector closes unreachable files
)

// plants are the leaks that the test causes in a child process. want is a part of the message that
// Main must print.
var plants = map[string]struct {
	plant func()
	want  string // empty if Main must report no leak
}{
	"nothing":              {func() {}, ""},
	"another text":         {func() { fmt.Println("another_secret") }, ""},
	"a well-formed key":    {func() { fmt.Println("key=" + keyform.Generate("acme")) }, "found a well-formed key"},
	"a key after a letter": {func() { fmt.Printf("%q", "\n"+keyform.Generate("acme")) }, "found a well-formed key"},
	"a digest alone":       {func() { Default.Digest(other); fmt.Printf("%x", other) }, "found a digest in hex"},
	"on stdout":            {func() { fmt.Println("x", secret, "y") }, "found a key in clear, ending in cret"},
	"on stderr":            {func() { fmt.Fprintln(os.Stderr, "x", secret, "y") }, "found a key in clear"},
	"in two reads":         {func() { fmt.Print(strings.Repeat(" ", 32<<10-4), secret) }, "found a key in clear"}, // io.Copy reads 32 KiB at a time
	"in the log":           {func() { log.Print(secret) }, "found a key in clear"},
	"in a debug line":      {func() { slog.Debug("x", "key", secret) }, "found a key in clear"},
	"in a response":        {func() { _, _ = fmt.Fprint(&Default, secret) }, "found a key in clear"},
	"in hex":               {func() { fmt.Printf("%x", digest) }, "found a digest in hex"},
	"in capital hex":       {func() { fmt.Printf("%X", digest) }, "found a digest in hex"},
	"in base64":            {func() { fmt.Print(base64.StdEncoding.EncodeToString(digest[:])) }, "found a digest in base64"},
	"in base64 for URLs":   {func() { fmt.Print(base64.RawURLEncoding.EncodeToString(digest[:])) }, "found a digest in base64"},
	"as numbers":           {func() { fmt.Print(struct{ D [32]byte }{digest}) }, "found a digest as numbers"},
	"as it is":             {func() { fmt.Printf("%s", digest[:]) }, "found a digest as raw bytes"},
	"a goroutine":          {func() { go func() { select {} }() }, "left goroutine "},
	"an open file":         {func() { kept, _ = os.Open(os.DevNull) }, ": " + os.DevNull},
	"an open listener":     {func() { kept, _ = net.Listen("tcp", "127.0.0.1:0") }, ": socket:["},
	"one about to end":     {func() { go time.Sleep(time.Millisecond) }, ""},
	"an ignored one":       {func() { Ignore("leak.endless"); go endless() }, ""},
}

func endless() { select {} }

type runner func()

func (r runner) Run() int { r(); return 0 }

func TestMain(m *testing.M) {
	if p, ok := plants[os.Getenv(plantOf)]; ok {
		patience = 50 * time.Millisecond
		if p.want == "" {
			patience = time.Minute
		}
		Default.Secret(secret)
		Main(runner(p.plant))
	}
	Main(m)
}

// Main must report each leak in plants. If Main missed leaks, the tests of all packages would pass
// with such leaks.
func TestMainFindsWhatIsPlanted(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	require.NoError(t, err)
	for name, p := range plants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			command := exec.CommandContext(t.Context(), self)
			command.Env = append(os.Environ(), plantOf+"="+name)
			output, err := command.CombinedOutput()
			if p.want == "" {
				require.NoError(t, err, string(output))
				return
			}
			var exit *exec.ExitError
			require.True(t, errors.As(err, &exit) && exit.ExitCode() == 1, "%v\n%s", err, output)
			require.Contains(t, string(output), "leak: FAIL: ")
			require.Contains(t, string(output), p.want)
		})
	}
}
