package keyform_test

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
	"github.com/go-tokenauth/tokenauth/internal/keyform"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// Every generated key must be well-formed, and no two generated keys may be equal. With equal keys,
// one user could sign in as another user. Case K1.
//
// At each position of the random part of a key, all characters must be equally likely. Otherwise
// keys would be easier to guess. Case K2.
func TestGeneratedKeysAreUniqueAndUniform(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^acme_[0-9A-Za-z]{38}$`)
	const keys, random = 100_000, 32
	seen := make(map[string]bool, keys)
	var counts [random][256]int
	for range keys {
		key := keyform.Generate("acme")
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
func TestIssueFailsWithoutRandomness(t *testing.T) {
	t.Parallel()
	const child = "TOKENAUTH_TEST_NO_RANDOMNESS"
	if os.Getenv(child) != "" {
		m := must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil))
		rand.Reader = iotest.ErrReader(errors.New("no randomness"))
		key, _, err := m.Issue(t.Context(), tokenauth.Spec{UserID: "42", Name: "laptop"})
		println("survived with", key.Reveal(), err)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestIssueFailsWithoutRandomness$")
	cmd.Env = append(os.Environ(), child+"=1")
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "fatal error: crypto/rand: failed to read random data")
	require.NotContains(t, string(out), "survived")
	require.NotContains(t, string(out), "acme_")
}

// The Authenticator must reject a mistyped or truncated key, and a key of another service, without
// a call of the store. Cases K4, K5, K6.
func TestDamagedKeysCauseNoQuery(t *testing.T) {
	t.Parallel()
	store := fixture.NewStore()
	m := fixture.NewManager(store, nil)
	key, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "42", Name: "laptop"})
	h := must.Get(tokenauth.NewAuthenticator(m, fixture.AnyUser, nil)).Require(fixture.Whoami)
	require.Equal(t, 200, fixture.Get(h, "Bearer "+key).Code)
	asked := store.Count("Find")

	for name, damaged := range map[string][]string{
		"one character changed": changed(key),
		"case changed":          caseChanged(key),
		"neighbors swapped":     fixture.Swapped(key),
		"cut":                   cut(key),
		"extended":              {key + "0", key + key[len(key)-6:], key + key, "0" + key, key + "=", key + "/"},
		"another prefix": {
			keyform.Generate("other"), keyform.Generate("acm"), keyform.Generate("acme_test"),
			keyform.Generate("a"), "ACME" + key[4:], "Acme" + key[4:], key[5:], "acme" + key[5:],
		},
	} {
		require.NotEmpty(t, damaged, name)
		for _, k := range damaged {
			w := fixture.Get(h, "Bearer "+k)
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

// cut returns every proper prefix and suffix of key.
func cut(key string) (all []string) {
	for i := 1; i < len(key); i++ {
		all = append(all, key[:i], key[i:])
	}
	return all
}

// If a presented key is well-formed but unknown, the Authenticator must call Find exactly once and
// reject the key. Case K7.
func TestUnknownKeyCausesOneQuery(t *testing.T) {
	t.Parallel()
	store := fixture.NewStore()
	h := must.Get(tokenauth.NewAuthenticator(fixture.NewManager(store, nil), fixture.AnyUser, nil)).Require(fixture.Whoami)
	w := fixture.Get(h, "Bearer "+keyform.Generate("acme"))
	require.Equal(t, 401, w.Code)
	require.Contains(t, w.Header().Get("WWW-Authenticate"), `error="invalid_token"`)
	require.Equal(t, 1, store.Count("Find"))
}
