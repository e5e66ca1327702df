package keyform_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/keyform"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// The format of keys must never change. If this test fails, this version rejects keys that earlier
// versions issued, or accepts keys that earlier versions rejected.
func TestVectorsKeepTheirResults(t *testing.T) {
	t.Parallel()
	for _, v := range fixture.Vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			prefix, err := tokenauth.CheckKey(v.Key)
			store := fixture.NewStore()
			m := fixture.NewManager(store, &tokenauth.Options{FormerPrefixes: []string{"tokenauthtest", "a", "a1"}})
			if !v.Valid {
				require.ErrorIs(t, err, tokenauth.ErrInvalidKey, v.Reason)
				require.Empty(t, prefix)
				_, err = m.Authenticate(t.Context(), v.Key)
				require.ErrorIs(t, err, tokenauth.ErrInvalidKey, v.Reason)
				require.Zero(t, store.Count("Find"), "number of Find calls: the Manager must not look up a malformed key")
				return
			}
			require.NoError(t, err)
			require.Equal(t, v.Prefix, prefix)
			d := tokenauth.DigestOf(v.Key)
			require.Equal(t, v.SHA256, hex.EncodeToString(d[:]))

			m = must.Get(tokenauth.New(fixture.FixedFind{Record: fixture.RecordOf(d)}, v.Prefix, nil))
			token, err := m.Authenticate(t.Context(), v.Key)
			require.NoError(t, err)
			require.Equal(t, "42", token.UserID)
		})
	}
}

// The example in docs/key-format.md must be a key with that checksum and that digest, because
// developers follow this page to implement the key format in other languages.
func TestExampleOfKeyFormatPageIsCorrect(t *testing.T) {
	t.Parallel()
	page := keyFormatPage(t)
	row := func(name string) string {
		t.Helper()
		cell := regexp.MustCompile(`(?m)^\| ` + name + ` \| .(\w+)`).FindStringSubmatch(page)
		require.Len(t, cell, 2, name)
		return cell[1]
	}
	body, key := row("before the checksum"), row("key")
	prefix, err := tokenauth.CheckKey(key)
	require.NoError(t, err)
	require.Equal(t, "acme", prefix)
	require.Equal(t, key, body+row("checksum"))
	require.Equal(t, row("checksum"), checksum(body))
	require.Equal(t, row("CRC-32"), fmt.Sprintf("0x%08x", crc32.ChecksumIEEE([]byte(body))))
	digest := tokenauth.DigestOf(key)
	require.Equal(t, row("digest"), hex.EncodeToString(digest[:]))
	require.Contains(t, page, "`"+base62+"`")
}

func keyFormatPage(t testing.TB) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/key-format.md")
	require.NoError(t, err)
	return string(page)
}

// checksum returns the checksum of body, the part of a key before the checksum. It follows the
// description in docs/key-format.md.
func checksum(body string) string {
	sum, check := crc32.ChecksumIEEE([]byte(body)), ""
	for ; sum > 0; sum /= 62 {
		check = base62[sum%62:][:1] + check
	}
	return strings.Repeat("0", 6-len(check)) + check
}

// docs/key-format.md contains a regular expression for secret scanners. The expression must match
// every key, and must not match hashes or other text. Case K13.
func TestScannerExpressionMatchesKeysOnly(t *testing.T) {
	t.Parallel()
	block := regexp.MustCompile("(?s)```regex\n(.*?)\n```").FindStringSubmatch(keyFormatPage(t))
	require.Len(t, block, 2)
	scanner := regexp.MustCompile(block[1])

	for _, prefix := range []string{"a", "acme", "acme_test", "a__b", "tokenauthtest_000020"} {
		for range 100 {
			key := keyform.Generate(prefix)
			for _, around := range []string{"", " ", "\n", `"`, "'", "=", ":", "/", ",", ">", "-", "."} {
				if scanner.FindString(around+key+around) != key {
					require.FailNow(t, "the regular expression does not find a key", "prefix %s, key between two %q", prefix, around)
				}
			}
		}
	}
	hash := sha256.Sum256([]byte("any"))
	digits := hex.EncodeToString(hash[:])
	for kind, text := range map[string]string{
		"40 hex":           digits[:40],
		"64 hex":           digits,
		"prefix and hex":   "acme_" + digits,
		"number|text":      "12|" + keyform.Generate("a")[2:],
		"longer text":      "12|" + strings.Repeat("aB3", 16),
		"prefixed text":    "12|acme_" + strings.Repeat("aB3", 16),
		"UUID":             "00000000-0000-4000-8000-000000000000",
		"snake case":       "a_very_long_name_of_a_variable_that_somebody_has_chosen",
		"constant":         "SOME_CONSTANT_OF_A_PROGRAM_THAT_IS_RATHER_LONG",
		"longer than any":  keyform.Generate("acme") + "0",
		"shorter than any": keyform.Generate("acme")[:42],
	} {
		require.False(t, scanner.MatchString(text), kind)
	}
	for _, v := range fixture.Vectors(t) {
		require.True(t, !v.Valid || scanner.FindString(v.Key) == v.Key, v.Name)
		require.False(t, v.Reason == "foreign" && scanner.MatchString(v.Key), v.Name)
	}
}

// CheckKey must accept only one spelling of each key. Otherwise the same key could have two
// spellings with different digests.
func FuzzCheckKey(f *testing.F) {
	for _, v := range fixture.Vectors(f) {
		f.Add(v.Key)
	}
	f.Add(keyform.Generate("acme"))
	f.Add("acme_\xff\xfe")
	f.Fuzz(func(t *testing.T, key string) {
		prefix, err := tokenauth.CheckKey(key)
		require.Equal(t, tokenauth.Digest(sha256.Sum256([]byte(key))), tokenauth.DigestOf(key))
		if err != nil {
			require.ErrorIs(t, err, tokenauth.ErrInvalidKey)
			require.Empty(t, prefix)
			return
		}
		tail := key[len(prefix):]
		require.Regexp(t, `^_[0-9A-Za-z]{38}$`, tail)
		require.Equal(t, key, prefix+tail[:33]+checksum(prefix+tail[:33]))
		m := must.Get(tokenauth.New(fixture.FixedFind{Record: fixture.RecordOf(tokenauth.DigestOf(key))}, prefix, nil))
		_, err = m.Authenticate(t.Context(), key)
		require.NoError(t, err)
	})
}
