package tokenauth_test

import (
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// Every generated key must be well-formed, and no two generated keys may be equal. With equal keys,
// one user could sign in as another user. Case K1.
//
// At each position of the random part of a key, all characters must be equally likely. Otherwise
// keys would be easier to guess. Case K2.
func TestK1K2GeneratedKeys(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^acme_[0-9A-Za-z]{38}$`)
	const keys, random = 100_000, 32
	seen := make(map[string]bool, keys)
	var counts [random][256]int
	for range keys {
		key := tokenauth.GenerateKey("acme")
		if prefix, err := tokenauth.CheckKey(key); err != nil || prefix != "acme" || !form.MatchString(key) {
			require.FailNow(t, "GenerateKey returned a malformed key")
		}
		seen[key] = true
		for i := range random {
			counts[i][key[len("acme_")+i]]++
		}
	}
	require.Len(t, seen, keys, "GenerateKey returned the same key twice")

	var all [256]int
	for i := range counts {
		require.Less(t, chiSquare(&counts[i]), chiSquareLimit, "the characters at position %d of the random part must be equally likely", i)
		for c, n := range counts[i] {
			all[c] += n
		}
	}
	require.Less(t, chiSquare(&all), chiSquareLimit, "the characters of the random parts must be equally likely")

	// The chi-square test must detect the biased generator that computes byte % 62.
	var biased [256]int
	for i := range keys {
		biased[base62[i%256%62]]++
	}
	require.Greater(t, chiSquare(&biased), chiSquareLimit)
}

// chiSquareLimit is the highest value of chiSquare that the tests accept. With 61 degrees of
// freedom, an unbiased generator exceeds this value only once in 10^9 tests.
const chiSquareLimit = 153.0

// chiSquare returns the chi-square statistic of the character counts. It is large if the characters
// are not equally likely.
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

// If the operating system provides no random data, Issue must not return a key, because an attacker
// could guess the key. In this situation, crypto/rand ends the process, so the test calls Issue in
// a child process. Case K3.
func TestK3NoRandomness(t *testing.T) {
	t.Parallel()
	const child = "TOKENAUTH_TEST_NO_RANDOMNESS"
	if os.Getenv(child) != "" {
		m := must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil))
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

// The Authenticator must reject a mistyped or truncated key, and a key of another service, without
// a call of the store. Cases K4, K5, K6.
func TestK4K5K6DamagedKeys(t *testing.T) {
	t.Parallel()
	store := newStore()
	m := newManager(store, nil)
	key, _ := issue(t, m, tokenauth.Spec{UserID: "42", Name: "laptop"})
	h := must.Get(tokenauth.NewAuthenticator(m, anyUser, nil)).Require(whoami)
	require.Equal(t, 200, get(h, "Bearer "+key).Code)
	asked := store.Count("Find")

	for name, damaged := range map[string][]string{
		"K4 one character changed": changed(key),
		"K4 case changed":          caseChanged(key),
		"K4 neighbors swapped":     swapped(key),
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
	require.Equal(t, asked, store.Count("Find"), "number of Find calls: the Authenticator must not look up a malformed key")
}

// changed returns all texts that differ from key in exactly one character. The other character is
// from base62 or one of "_-.".
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

// caseChanged returns copies of key in which the case of one letter or of all letters is changed.
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

// swapped returns copies of key in which two adjacent characters are swapped.
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

// If a presented key is well-formed but unknown, the Authenticator must call Find exactly once and
// reject the key. Case K7.
func TestK7UnknownKey(t *testing.T) {
	t.Parallel()
	store := newStore()
	h := must.Get(tokenauth.NewAuthenticator(newManager(store, nil), anyUser, nil)).Require(whoami)
	w := get(h, "Bearer "+tokenauth.GenerateKey("acme"))
	require.Equal(t, 401, w.Code)
	require.Contains(t, w.Header().Get("WWW-Authenticate"), `error="invalid_token"`)
	require.Equal(t, 1, store.Count("Find"))
}

// New must return an error for an invalid prefix. Otherwise the service would issue keys that no
// service accepts. Case K8.
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
		_, err := tokenauth.New(store, prefix, nil)
		require.Error(t, err, prefix)
		_, err = tokenauth.New(store, "acme", &tokenauth.Options{FormerPrefixes: []string{"ok", prefix}})
		require.Error(t, err, prefix)
	}
}

// If a developer passes a key as the prefix by mistake, the error must not contain the key. The
// error may be logged, and people who read the log could sign in with the key.
func TestPrefixErrorDoesNotRepeatThePrefix(t *testing.T) {
	t.Parallel()
	key := tokenauth.GenerateKey("acme")
	_, err := tokenauth.New(tokenauth.NewMemoryStore(), key, nil)
	require.Error(t, err)
	require.NotContains(t, err.Error(), key)
	_, err = tokenauth.New(tokenauth.NewMemoryStore(), "acme", &tokenauth.Options{FormerPrefixes: []string{key}})
	require.Error(t, err)
	require.NotContains(t, err.Error(), key)
}

// After a service has changed its prefix, it must still accept keys with its former prefixes.
// Otherwise its users would have to replace all keys.
func TestFormerPrefixes(t *testing.T) {
	t.Parallel()
	store := tokenauth.NewMemoryStore()
	before := watched(must.Get(tokenauth.New(store, "acmeold", nil)))
	oldKey, _ := issue(t, before, tokenauth.Spec{UserID: "42", Name: "old"})

	after := newManager(store, &tokenauth.Options{FormerPrefixes: []string{"older", "acmeold"}})
	newKey, _ := issue(t, after, tokenauth.Spec{UserID: "42", Name: "new"})
	require.True(t, strings.HasPrefix(newKey, "acme_"), "a new key must start with the current prefix")
	require.Equal(t, []bool{true, true}, accepts(after, oldKey, newKey))
	require.Equal(t, []bool{false, true}, accepts(newManager(store, nil), oldKey, newKey))
	require.Equal(t, []bool{true, false}, accepts(before, oldKey, newKey))
}
