package tokenauth_test

import (
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// drf is the LegacyFormat for keys of Django REST Framework, which are 40 lower-case hex digits.
var drf = tokenauth.LegacyFormat{Origin: "drf", Canonical: func(presented string) (string, bool) {
	return presented, len(presented) == 40 && strings.Trim(presented, "0123456789abcdef") == ""
}}

// anyKey is a LegacyFormat that accepts every string. Its origin is "any".
var anyKey = tokenauth.LegacyFormat{Origin: "any", Canonical: func(presented string) (string, bool) {
	return presented, true
}}

func newLegacyManager(store tokenauth.Store, formats ...tokenauth.LegacyFormat) *tokenauth.Manager {
	return newManager(store, &tokenauth.Options{Legacy: formats})
}

// hexKey returns a key in the format of Django REST Framework, derived from name.
func hexKey(name string) string {
	d := tokenauth.DigestOf(name)
	key := hex.EncodeToString(d[:20])
	leak.Default.Secret(key)
	return key
}

// importKey imports key for the user "42" with the given origin. It returns the imported token.
func importKey(t testing.TB, m *tokenauth.Manager, origin, key string) tokenauth.Token {
	t.Helper()
	tokens, err := m.Import(t.Context(), tokenauth.ImportSpec{
		UserID: "42", Name: "from " + origin + " " + key[len(key)-4:], Origin: origin,
		Digest: tokenauth.DigestOf(key), Hint: key[len(key)-4:],
	})
	require.NoError(t, noted(err))
	return tokens[0]
}

// A key that was imported from another system must authenticate unchanged. Otherwise every client
// would need a new key after the move. Case K10.
func TestK10LegacyKey(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store tokenauth.Store) {
		m := newLegacyManager(store, drf)
		key := hexKey(t.Name())
		imported := importKey(t, m, "drf", key)
		h := must.Get(tokenauth.NewAuthenticator(m, anyUser, nil)).Require(whoami)
		for _, scheme := range []string{"Token ", "token ", "Bearer "} {
			w := get(h, scheme+key)
			require.Equal(t, 200, w.Code, scheme)
			require.Equal(t, "42", w.Body.String())
		}
		token, err := m.Authenticate(t.Context(), key)
		require.NoError(t, err)
		require.Equal(t, imported, token)
		require.Zero(t, token.Generation)

		require.Equal(t, 401, get(h, "Token "+hexKey("another")).Code)
		require.NoError(t, m.Revoke(t.Context(), "42", token.ID))
		require.Equal(t, 401, get(h, "Token "+key).Code)
	})
}

// A key that matches neither the native format nor a LegacyFormat must be rejected without a query
// to the store.
func TestLegacyFormatRefuses(t *testing.T) {
	t.Parallel()
	store := newStore()
	h := must.Get(tokenauth.NewAuthenticator(newLegacyManager(store, drf), anyUser, nil)).Require(whoami)
	key := hexKey("known")
	for name, presented := range map[string]string{
		"upper case": strings.ToUpper(key), "short": key[1:], "long": key + "0", "no hex": "g" + key[1:],
		"64 hex": key + key[:24], "number and text": "12|" + key, "quoted": `"` + key + `"`,
	} {
		require.Equal(t, 401, get(h, "Token "+presented).Code, name)
	}
	for name, presented := range map[string]string{"NUL": key + "\x00", "not ASCII": key + "é", "two": key + "," + key} {
		require.Equal(t, 400, get(h, "Token "+presented).Code, name)
	}
	require.Zero(t, store.Count("Find"), "a malformed key must not cause a query to the store")
}

// The Manager must not pass a string to a LegacyFormat if the string cannot be a key. For example,
// a string with a space or a comma cannot be a key.
func TestLegacyFormatSeesOnlyKeys(t *testing.T) {
	t.Parallel()
	greedy := tokenauth.LegacyFormat{Origin: "greedy", Canonical: func(presented string) (string, bool) {
		require.NotRegexp(t, `[^!-~]|,|^$`, presented)
		return presented, true
	}}
	m := newLegacyManager(tokenauth.NewMemoryStore(), greedy)
	for _, presented := range []string{"", " ", "a b", "a,b", "a\x00", "a\n", "é", "\xff", "\x7f", "a|b", "!~"} {
		_, err := m.Authenticate(t.Context(), presented)
		require.ErrorIs(t, err, tokenauth.ErrInvalidKey, "%q", presented)
	}
}

// An operator may repeat an import after a failure, or to add new tokens. Import must accept specs
// of tokens that are already imported. It must not make a token valid again that was revoked after
// its import. Case K11.
func TestK11ImportAgain(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store tokenauth.Store) {
		m := newLegacyManager(store, drf)
		spec := func(key, name string) tokenauth.ImportSpec {
			return tokenauth.ImportSpec{UserID: "42", Name: name, Origin: "drf", Digest: tokenauth.DigestOf(key)}
		}
		keys := []string{hexKey(t.Name() + "a"), hexKey(t.Name() + "b"), hexKey(t.Name() + "c")}
		specs := []tokenauth.ImportSpec{spec(keys[0], "a"), spec(keys[1], "b"), spec(keys[2], "c")}
		first, err := m.Import(t.Context(), specs[:2]...)
		require.NoError(t, err)
		again, err := m.Import(t.Context(), specs...)
		require.NoError(t, err)
		require.Equal(t, first[0].ID, again[0].ID)
		stored, err := m.Get(t.Context(), "42", first[0].ID)
		require.NoError(t, err)
		require.Equal(t, first[0], stored, "the second import must not change a token of the first import")
		require.Equal(t, []bool{true, true, true}, accepts(m, keys...))

		require.NoError(t, m.Revoke(t.Context(), "42", first[0].ID))
		_, err = m.Import(t.Context(), specs...)
		require.NoError(t, err)
		require.Equal(t, []bool{false, true, true}, accepts(m, keys...))

		_, _, err = m.Rotate(t.Context(), "42", first[1].ID, 0)
		require.NoError(t, err)
		_, err = m.Import(t.Context(), specs...)
		require.ErrorIs(t, noted(err), tokenauth.ErrKeyTaken)
		require.Equal(t, []bool{false, false, true}, accepts(m, keys...))

		_, err = m.Import(t.Context(), spec("free", "free"), spec("clash", "c"))
		require.ErrorIs(t, noted(err), tokenauth.ErrNameTaken)
		tokens, err := m.List(t.Context(), tokenauth.Query{UserID: "42"})
		require.NoError(t, err)
		require.Len(t, tokens, 2, "a refused import must store nothing")
	})
}

// The Manager must not accept a native key as a legacy key, or a legacy key of another origin. It
// must not accept a digest as a key. Otherwise an attacker who can read or write the old system's
// table could sign in. Case K12.
func TestK12KindsOfKeysNeverCross(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store tokenauth.Store) {
		m := newLegacyManager(store, drf, anyKey)
		native, _ := issue(t, m, tokenauth.Spec{UserID: "42", Name: "native"})
		legacy := hexKey(t.Name())
		importKey(t, m, "drf", legacy)
		planted := tokenauth.GenerateKey("acme")
		importKey(t, m, "drf", planted)
		foreign := hexKey(t.Name() + " of knox")
		importKey(t, m, "knox", foreign)
		opaque := "opaque/" + legacy
		importKey(t, m, "any", opaque)

		require.Equal(t, []bool{true, true, true}, accepts(m, native, legacy, opaque))
		digest := func(key string) string { d := tokenauth.DigestOf(key); return hex.EncodeToString(d[:]) }
		for name, key := range map[string]string{
			"a native key whose digest was imported":  planted,
			"a key of another origin":                 foreign,
			"a native key's digest":                   digest(native),
			"a native key's digest, as bytes":         string(decoded(t, digest(native))),
			"a legacy key's digest":                   digest(legacy),
			"a legacy key's digest, cut to 40 digits": digest(legacy)[:40],
			"a legacy key in upper case":              strings.ToUpper(legacy),
		} {
			require.Equal(t, []bool{false}, accepts(m, key), name)
		}
		// If no LegacyFormat has the origin of an imported token, the Manager rejects the token's
		// key.
		require.Equal(t, []bool{true, false, false}, accepts(newManager(store, nil), native, legacy, opaque))
		require.Equal(t, []bool{true, false, false}, accepts(newLegacyManager(store, anyKey), native, legacy, planted))
	})
}

func decoded(t testing.TB, digits string) []byte {
	t.Helper()
	b, err := hex.DecodeString(digits)
	require.NoError(t, err)
	return b
}

// If Canonical of a LegacyFormat returns the key of a token that Issue created, the Manager must
// reject the request. Case K12.
func TestK12LegacyFormatOpensNoNativeToken(t *testing.T) {
	t.Parallel()
	store := tokenauth.NewMemoryStore()
	native, token := issue(t, newManager(store, nil), tokenauth.Spec{UserID: "42", Name: "native"})
	unwrap := tokenauth.LegacyFormat{Origin: "any", Canonical: func(presented string) (string, bool) {
		return strings.CutPrefix(presented, "wrapped:")
	}}
	m := newLegacyManager(store, unwrap)
	require.Equal(t, []bool{true, false}, accepts(m, native, "wrapped:"+native))

	key, _, err := m.Rotate(t.Context(), "42", token.ID, time.Hour)
	require.NoError(t, err)
	require.Equal(t, []bool{true, true}, accepts(m, native, key.Reveal()))
	require.Equal(t, []bool{false, false}, accepts(m, "wrapped:"+native, "wrapped:"+key.Reveal()))
}

// After Rotate of an imported token, the legacy key must work until the grace period ends. The new
// key must work immediately.
func TestK12RotateImportedToken(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store tokenauth.Store) {
		clock := newClock()
		m := newManager(store, &tokenauth.Options{Legacy: []tokenauth.LegacyFormat{drf}, Now: clock.Now})
		legacy := hexKey(t.Name())
		imported := importKey(t, m, "drf", legacy)
		key, token, err := m.Rotate(t.Context(), "42", imported.ID, time.Hour)
		require.NoError(t, err)
		require.Equal(t, 1, token.Generation)
		require.Equal(t, "drf", token.Origin)

		require.Equal(t, []bool{true, true}, accepts(m, legacy, key.Reveal()))
		clock.Set(start.Add(time.Hour - time.Microsecond))
		require.Equal(t, []bool{true, true}, accepts(m, legacy, key.Reveal()))
		clock.Set(start.Add(time.Hour))
		require.Equal(t, []bool{false, true}, accepts(m, legacy, key.Reveal()))

		// The new key is a native key, so it must still work after the service removes the
		// LegacyFormat.
		require.Equal(t, []bool{false, true}, accepts(newManager(store, nil), legacy, key.Reveal()))
	})
}

// Import must refuse an expiry within the first microsecond of the year 1. Rounding it down would
// yield the zero time, and the token would never expire.
func TestImportOfTheFirstInstant(t *testing.T) {
	t.Parallel()
	m := newManager(tokenauth.NewMemoryStore(), nil)
	_, err := m.Import(ctx, tokenauth.ImportSpec{UserID: "u", Name: "n", Origin: "drf", Digest: tokenauth.DigestOf("x"), ExpiresAt: time.Time{}.Add(1)})
	require.ErrorIs(t, noted(err), tokenauth.ErrInvalidSpec)
}
