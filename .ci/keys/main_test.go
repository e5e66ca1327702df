package main

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
)

// newKey returns a new key, as a Manager issues it.
func newKey(t *testing.T, prefix string) string {
	t.Helper()
	m, err := tokenauth.New(tokenauth.NewMemoryStore(), prefix, nil)
	require.NoError(t, err)
	key, _, err := m.Issue(t.Context(), tokenauth.Spec{UserID: "42", Name: "laptop"})
	require.NoError(t, err)
	return key.Reveal()
}

// A real key in a file must be reported. No string in this file may look like a key, because the
// command searches this file, too.
func TestSearchFindsKeys(t *testing.T) {
	t.Parallel()
	letters := strings.Repeat("aB3", 30)
	for _, key := range []string{
		"ghp_" + letters[:36], "AKIA" + strings.Repeat("Z7", 8), "sk_live_" + letters[:24], "xoxb-" + letters[:24],
		"-----BEGIN " + "RSA PRIVATE KEY-----", newKey(t, "shop"),
	} {
		found, err := search(fstest.MapFS{"docs/page.md": {Data: []byte("key: " + key + "\n")}})
		require.NoError(t, err)
		require.Len(t, found, 1, key[:4])
		require.Contains(t, found[0], "docs/page.md: ")
	}
}

// Examples, and files outside the repository, must not be reported.
func TestSearchIgnoresExamples(t *testing.T) {
	t.Parallel()
	key := newKey(t, "shop")
	found, err := search(fstest.MapFS{
		"page.md":            {Data: []byte(newKey(t, "acme") + "\n" + newKey(t, "acme_test") + "\n" + key[:len(key)-1])},
		"testdata/keys.json": {Data: []byte(key)},
		".git/config":        {Data: []byte(key)},
	})
	require.NoError(t, err)
	require.Empty(t, found)
}
