package tokenimport_test

import (
	"encoding/hex"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
	"github.com/go-tokenauth/tokenauth/tokenimport"
)

func statusOf(h http.Handler, authorization string) int {
	status, _ := send(h, authorization)
	return status
}

const (
	someHex     = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	someSecret  = "Tx7jpp3ZZBYzG7teDYAEvL9uMyVdG7sNqqd04aCS" // 40 letters and digits, from no real system
	withCheck   = someSecret + "9e0a4d2b"
	sanctumsOwn = "12|" + withCheck
)

// A string that is not a key must cost no query. Each key that the other system accepts must be
// looked up. Otherwise its clients would be locked out.
// Cases K4, K6, K10.
func TestFormatsRecognizeKeysBeforeQuery(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		format tokenauth.LegacyFormat
		keys   []string
		junk   []string
	}{
		"drf": {tokenimport.DRFFormat(), []string{someHex[:40]}, []string{
			someHex[:39], someHex[:41], someHex, strings.ToUpper(someHex[:40]), "g" + someHex[:39], sanctumsOwn,
		}},
		"knox 4": {tokenimport.KnoxFormat(tokenimport.Knox4, ""), []string{someHex, someHex[:32], strings.Repeat(someHex, 8)}, []string{
			someHex[:63], someHex[:30], strings.Repeat(someHex, 9), strings.ToUpper(someHex), "acme_" + someHex, "g" + someHex[1:], sanctumsOwn,
		}},
		"knox 5": {tokenimport.KnoxFormat(tokenimport.Knox5, ""), []string{someHex, someHex[:32], strings.Repeat(someHex, 8)}, []string{
			someHex[:63], someHex[:30], strings.Repeat(someHex, 9), strings.ToUpper(someHex), "acme_" + someHex, "g" + someHex[1:], sanctumsOwn,
		}},
		"knox 5 with a prefix": {tokenimport.KnoxFormat(tokenimport.Knox5, "acme-"), []string{someHex, "acme-" + someHex}, []string{
			"acme-", "acme-" + someHex[1:], "acme_" + someHex, "acme-acme-" + someHex, "ACME-" + someHex,
		}},
		// A key from before the prefix was set may begin with the prefix by chance.
		"knox 5 with a prefix of digits": {tokenimport.KnoxFormat(tokenimport.Knox5, "0"), []string{someHex, "0" + someHex}, []string{
			"0", "1" + someHex,
		}},
		"sanctum": {tokenimport.SanctumFormat(""), []string{
			sanctumsOwn, withCheck, "12|" + someSecret, someSecret, someSecret + someSecret, "1|" + someSecret + someSecret,
			"9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d|" + withCheck, "01ARZ3NDEKTSV4RRFFQ69G5FAV|" + withCheck,
		}, []string{
			"|" + withCheck, "12|", "|", "||", "12|" + withCheck + "|", "12||" + withCheck, "a_b|" + withCheck, strings.Repeat("1", 37) + "|" + withCheck,
			withCheck[:47], withCheck + "0", someSecret + "9e0a4d2c", someSecret + "9E0A4D2B", "x" + withCheck[1:], "12|acme_" + withCheck, "-" + someSecret[1:], someHex,
		}},
		"sanctum with a prefix": {tokenimport.SanctumFormat("acme_"), []string{
			"12|acme_" + withCheck, "acme_" + withCheck, sanctumsOwn, "12|" + someSecret,
		}, []string{"acme_12|" + withCheck, "12|acme_" + someSecret, "12|acme_acme_" + withCheck, "12|ACME_" + withCheck, "12|acme_"}},
		// A secret without the prefix may begin with the prefix by chance.
		"sanctum with a prefix of letters": {tokenimport.SanctumFormat("Tx"), []string{sanctumsOwn, "12|Tx" + withCheck}, []string{"12|" + withCheck[2:]}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := tokenauthtest.NewStore(tokenauth.NewMemoryStore())
			h := protected(must.Get(tokenauth.New(store, "native", &tokenauth.Options{Legacy: []tokenauth.LegacyFormat{c.format}})))
			for _, key := range c.keys {
				before := store.Count("Find")
				require.Equal(t, 401, statusOf(h, "Token "+key))
				require.Equal(t, before+1, store.Count("Find"), "not looked up: %s", key)
			}
			before := store.Count("Find")
			for _, key := range c.junk {
				require.Equal(t, 401, statusOf(h, "Token "+key), key)
				require.Equal(t, before, store.Count("Find"), "looked up: %s", key)
			}
		})
	}
}

// A key with a vertical bar must be looked up only if the service accepts keys of Sanctum.
// Case H15.
func TestOnlySanctumFormatAcceptsVerticalBar(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		legacy []tokenauth.LegacyFormat
		finds  int
	}{
		"without Sanctum's format":   {nil, 0},
		"with the others' formats":   {[]tokenauth.LegacyFormat{tokenimport.DRFFormat(), tokenimport.KnoxFormat(tokenimport.Knox5, "")}, 0},
		"with Sanctum's format":      {[]tokenauth.LegacyFormat{tokenimport.SanctumFormat("")}, 1},
		"with Sanctum's format last": {[]tokenauth.LegacyFormat{tokenimport.DRFFormat(), tokenimport.SanctumFormat("")}, 1},
	} {
		store := tokenauthtest.NewStore(tokenauth.NewMemoryStore())
		h := protected(must.Get(tokenauth.New(store, "native", &tokenauth.Options{Legacy: c.legacy})))
		require.Equal(t, 401, statusOf(h, "Bearer "+sanctumsOwn), name)
		require.Equal(t, c.finds, store.Count("Find"), name)
	}
}

// KnoxFormat must panic for an unknown version, and for a prefix of a version without prefixes.
// Otherwise every client would get 401, and nobody would know why.
func TestKnoxFormatPanicsOnBadVersionOrPrefix(t *testing.T) {
	t.Parallel()
	require.Panics(t, func() { tokenimport.KnoxFormat(3, "") })
	require.Panics(t, func() { tokenimport.KnoxFormat(0, "") })
	require.Panics(t, func() { tokenimport.KnoxFormat(tokenimport.Knox4, "acme_") })
}

// The format of DRF must accept 40 lower-case hexadecimal digits and nothing else.
func FuzzDRFCanonical(f *testing.F) {
	for _, seed := range []string{"", someHex[:40], someHex, strings.ToUpper(someHex[:40]), sanctumsOwn, "\x00", "é"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, presented string) {
		text, ok := tokenimport.DRFFormat().Canonical(presented)
		if ok {
			require.Equal(t, presented, text)
		}
		require.Equal(t, regexp.MustCompile(`^[0-9a-f]{40}$`).MatchString(presented) && !strings.HasSuffix(presented, "\n"), ok)
	})
}

// The formats of knox must accept only hexadecimal digits, with or without the prefix. Each version
// must hash a key differently.
func FuzzKnoxCanonical(f *testing.F) {
	for _, seed := range []string{"", someHex, "acme_" + someHex, someHex[:40], "acme_", "acme_acme_" + someHex, sanctumsOwn, "\x00", "é"} {
		f.Add(seed, "acme_")
	}
	f.Fuzz(func(t *testing.T, presented, prefix string) {
		text4, ok4 := tokenimport.KnoxFormat(tokenimport.Knox4, "").Canonical(presented)
		text5, ok5 := tokenimport.KnoxFormat(tokenimport.Knox5, prefix).Canonical(presented)
		if ok4 {
			require.True(t, ok5, "a key without the prefix")
			require.NotEqual(t, text4, text5, "the versions hash differently")
		}
		for text, ok := range map[string]bool{text4: ok4, text5: ok5} {
			if ok {
				require.Regexp(t, `^[0-9a-f]{128}$`, text)
				require.NotEqual(t, presented, text)
			}
		}
		if ok5 {
			digits := strings.TrimPrefix(presented, prefix)
			_, err := hex.DecodeString(digits)
			_, errWhole := hex.DecodeString(presented)
			require.True(t, err == nil || errWhole == nil)
		}
	})
}

// The format of Sanctum must use only the secret of a key, with or without the ID before it.
func FuzzSanctumCanonical(f *testing.F) {
	for _, seed := range []string{"", sanctumsOwn, withCheck, "1|acme_" + withCheck, someSecret, someSecret + someSecret, "||", "é|\x00"} {
		f.Add(seed, "acme_")
	}
	f.Fuzz(func(t *testing.T, presented, prefix string) {
		text, ok := tokenimport.SanctumFormat(prefix).Canonical(presented)
		if !ok || strings.Contains(prefix, "|") { // with a bar in the prefix, the text before a bar is no ID
			return
		}
		require.True(t, strings.HasSuffix(presented, text))
		id, found := strings.CutSuffix(presented[:len(presented)-len(text)], "|")
		require.Equal(t, found, id != "")
		require.Regexp(t, `^([0-9A-Za-z]{40}|[0-9A-Za-z]{48}|[0-9A-Za-z]{80})$`, last(text, prefix))
		again, ok := tokenimport.SanctumFormat(prefix).Canonical(text)
		require.True(t, ok, "a secret without the ID must be accepted")
		require.Equal(t, text, again)
	})
}

// last returns text without the prefix if text is too long for a secret without a prefix.
func last(text, prefix string) string {
	if len(text) == 48+len(prefix) {
		return strings.TrimPrefix(text, prefix)
	}
	return text
}
