package tokenauth_test

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// A counting store counts the calls of Find.
type counting struct {
	tokenauth.Store
	finds atomic.Int32
}

func newCounting() *counting { return &counting{Store: tokenauth.NewMemoryStore()} }

func (s *counting) Find(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
	s.finds.Add(1)
	return s.Store.Find(ctx, d)
}

// Case K1. Every generated key must be well-formed, and no two keys may be equal. With
// equal keys, one user could sign in as another.
//
// Case K2. All characters must be equally likely. Otherwise keys are easier to guess.
func TestK1K2GeneratedKeys(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^acme_[0-9A-Za-z]{38}$`)
	const keys, random = 100_000, 32
	seen := make(map[string]bool, keys)
	var counts [random][256]int
	for range keys {
		key := tokenauth.GenerateKey("acme")
		if prefix, err := tokenauth.CheckKey(key); err != nil || prefix != "acme" || !form.MatchString(key) {
			require.FailNow(t, "a generated key is malformed")
		}
		seen[key] = true
		for i := range random {
			counts[i][key[len("acme_")+i]]++
		}
	}
	require.Len(t, seen, keys, "two generated keys are equal")

	var all [256]int
	for i := range counts {
		require.Less(t, chiSquare(&counts[i]), chiSquareLimit, "biased characters at position %d", i)
		for c, n := range counts[i] {
			all[c] += n
		}
	}
	require.Less(t, chiSquare(&all), chiSquareLimit, "biased characters over all positions")

	var biased [256]int // a biased generator, byte % 62, must fail the test
	for i := range keys {
		biased[base62[i%256%62]]++
	}
	require.Greater(t, chiSquare(&biased), chiSquareLimit)
}

// An unbiased generator exceeds chiSquareLimit once in 10^9 tests, with 61 degrees of
// freedom.
const chiSquareLimit = 153.0

func chiSquare(counts *[256]int) (sum float64) {
	total := 0
	for _, n := range counts {
		total += n
	}
	expected := float64(total) / float64(len(base62))
	for i := range len(base62) {
		d := float64(counts[base62[i]]) - expected
		sum += d * d / expected
	}
	return sum
}

// Case K3. Without randomness, a key could be guessed. In this case, crypto/rand ends the
// process, so the test runs a child process.
func TestK3NoRandomness(t *testing.T) {
	t.Parallel()
	const child = "TOKENAUTH_TEST_NO_RANDOMNESS"
	if os.Getenv(child) != "" {
		m := tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil)
		rand.Reader = iotest.ErrReader(errors.New("no randomness"))
		key, _, err := m.Issue(t.Context(), tokenauth.Spec{UserID: "42", Name: "laptop"})
		println("survived with", key.Reveal(), err)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestK3NoRandomness$")
	cmd.Env = append(os.Environ(), child+"=1")
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "fatal error: crypto/rand: failed to read random data")
	require.NotContains(t, string(out), "survived")
	require.NotContains(t, string(out), "acme_")
}

// Cases K4, K5, K6. The Authenticator must reject a mistyped, truncated or foreign key
// without a query.
func TestK4K5K6DamagedKeys(t *testing.T) {
	t.Parallel()
	store := newCounting()
	m := newManager(store, nil)
	key, _ := issue(t, m, tokenauth.Spec{UserID: "42", Name: "laptop"})
	h := tokenauth.NewAuthenticator(m, anyUser, nil).Require(whoami)
	require.Equal(t, 200, get(h, "Bearer "+key).Code)
	asked := store.finds.Load()

	for name, damaged := range map[string][]string{
		"K4 one character changed": changed(key),
		"K4 case changed":          caseChanged(key),
		"K4 neighbours swapped":    swapped(key),
		"K5 cut":                   cut(key),
		"K5 extended":              {key + "0", key + key[len(key)-6:], key + key, "0" + key, key + "=", key + "/"},
		"K6 another prefix": {
			tokenauth.GenerateKey("other"), tokenauth.GenerateKey("acm"), tokenauth.GenerateKey("acme_test"),
			tokenauth.GenerateKey("a"), "ACME" + key[4:], "Acme" + key[4:], key[5:], "acme" + key[5:],
		},
	} {
		require.NotEmpty(t, damaged, name)
		for _, k := range damaged {
			w := get(h, "Bearer "+k)
			require.Equal(t, 401, w.Code, name)
			require.Contains(t, w.Header().Get("WWW-Authenticate"), `error="invalid_token"`, name)
		}
	}
	require.Equal(t, asked, store.finds.Load(), "lookups: a malformed key must not reach the store")
}

// changed returns all texts that differ from key in one character.
func changed(key string) (all []string) {
	for i := range len(key) {
		for _, c := range base62 + "_-." {
			if k := key[:i] + string(c) + key[i+1:]; k != key {
				all = append(all, k)
			}
		}
	}
	return all
}

func caseChanged(key string) (all []string) {
	for i := range len(key) {
		for _, c := range []string{strings.ToUpper(key[i : i+1]), strings.ToLower(key[i : i+1])} {
			if k := key[:i] + c + key[i+1:]; k != key {
				all = append(all, k)
			}
		}
	}
	return append(all, strings.ToUpper(key), strings.ToLower(key))
}

func swapped(key string) (all []string) {
	for i := range len(key) - 1 {
		if key[i] != key[i+1] {
			all = append(all, key[:i]+key[i+1:i+2]+key[i:i+1]+key[i+2:])
		}
	}
	return all
}

// cut returns every proper prefix and suffix of key.
func cut(key string) (all []string) {
	for i := 1; i < len(key); i++ {
		all = append(all, key[:i], key[i:])
	}
	return all
}

// Case K7. The Authenticator looks up an unknown but well-formed key exactly once.
func TestK7UnknownKey(t *testing.T) {
	t.Parallel()
	store := newCounting()
	h := tokenauth.NewAuthenticator(newManager(store, nil), anyUser, nil).Require(whoami)
	w := get(h, "Bearer "+tokenauth.GenerateKey("acme"))
	require.Equal(t, 401, w.Code)
	require.Contains(t, w.Header().Get("WWW-Authenticate"), `error="invalid_token"`)
	require.EqualValues(t, 1, store.finds.Load())
}

// Case K8. New must panic for an invalid prefix, because no service would accept keys with
// this prefix.
func TestK8Prefixes(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 20)
	for _, prefix := range []string{"a", "acme", "acme_test", "a__b", "a1", long} {
		m := newManager(tokenauth.NewMemoryStore(), &tokenauth.Options{FormerPrefixes: []string{prefix}})
		require.NotNil(t, m, prefix)
		got, err := tokenauth.CheckKey(tokenauth.GenerateKey(prefix))
		require.NoError(t, err, prefix)
		require.Equal(t, prefix, got)
	}
	for _, prefix := range []string{
		"", "1a", "_a", "a_", "_", "A", "aCme", "ac me", " acme", "acme ", "ac|me", "ac-me", "ac.me",
		"acmé", "acme\n", "acme\x00", "a\xff", long + "a", strings.Repeat("a", 300),
	} {
		store := tokenauth.NewMemoryStore()
		require.Panics(t, func() { tokenauth.New(store, prefix, nil) }, prefix)
		former := &tokenauth.Options{FormerPrefixes: []string{"ok", prefix}}
		require.Panics(t, func() { tokenauth.New(store, "acme", former) }, prefix)
	}
}

// A service that changes its prefix must still accept the keys with its former prefixes.
func TestFormerPrefixes(t *testing.T) {
	t.Parallel()
	store := tokenauth.NewMemoryStore()
	before := watched(tokenauth.New(store, "acmeold", nil))
	oldKey, _ := issue(t, before, tokenauth.Spec{UserID: "42", Name: "old"})

	after := newManager(store, &tokenauth.Options{FormerPrefixes: []string{"older", "acmeold"}})
	newKey, _ := issue(t, after, tokenauth.Spec{UserID: "42", Name: "new"})
	require.True(t, strings.HasPrefix(newKey, "acme_"), "a new key has the current prefix")
	require.Equal(t, []bool{true, true}, accepts(after, oldKey, newKey))
	require.Equal(t, []bool{false, true}, accepts(newManager(store, nil), oldKey, newKey))
	require.Equal(t, []bool{true, false}, accepts(before, oldKey, newKey))
}
