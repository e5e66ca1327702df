package storecache_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/storecache"
)

// A memory dump of a service must not contain the keys of past requests. A few recent keys may
// remain in memory, so the test allows less than a tenth of them.
// Cases C10, X7.
func TestHeapDumpContainsFewKeys(t *testing.T) {
	const n = 100
	kept := map[string]bool{} // a careless cache would keep the keys
	for _, careless := range []bool{false, true} {
		c, s := newCache(&storecache.Options{MaxStale: time.Hour})
		m := must.Get(tokenauth.New(c, "acme", &tokenauth.Options{MaxPerUser: -1}))
		masked := make([][]byte, n)
		use := func(i int) {
			key, _, err := m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: fmt.Sprint(i)})
			require.NoError(t, err)
			for range 2 {
				_, err = m.Authenticate(ctx, key.Reveal())
				require.NoError(t, err)
			}
			masked[i] = mask(strings.Clone(key.Reveal()))
			if careless {
				kept["access:"+key.Reveal()] = true
			}
		}
		for i := range n {
			use(i)
		}
		require.Equal(t, n, s.Count("Find"), "queries: all tokens are cached")
		dump := heapDump(t)
		found := 0
		for _, key := range masked {
			if strings.Contains(dump, string(mask(string(key)))) {
				found++
			}
		}
		runtime.KeepAlive(m)
		runtime.KeepAlive(kept)
		if careless {
			require.Equal(t, n, found, "the search finds keys that are in memory")
		} else {
			require.Less(t, found, n/10)
		}
	}
}

// mask inverts all bits of text, so that a masked key does not match the key itself. Masking twice
// restores the text.
func mask(text string) []byte {
	masked := slices.Clone([]byte(text))
	for i := range masked {
		masked[i] ^= 0xff
	}
	return masked
}

func heapDump(t *testing.T) string {
	t.Helper()
	runtime.GC()
	runtime.GC()
	file, err := os.Create(filepath.Join(t.TempDir(), "heap"))
	require.NoError(t, err)
	debug.WriteHeapDump(file.Fd())
	require.NoError(t, file.Close())
	dump, err := os.ReadFile(file.Name())
	require.NoError(t, err)
	return string(dump)
}
