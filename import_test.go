package tokenauth_test

import (
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/keyform"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// anyKey is a LegacyFormat that accepts every string. Its origin is "any".
var anyKey = tokenauth.LegacyFormat{Origin: "any", Canonical: func(presented string) (string, bool) {
	return presented, true
}}

// A key that was imported from another system must authenticate unchanged. Otherwise every client
// would need a new key after the move. Case K10.
func TestLegacyKeyAuthenticates(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		m := fixture.NewLegacyManager(store, fixture.DRF)
		key := fixture.HexKey(t.Name())
		imported := fixture.ImportKey(t, m, "drf", key)
		h := must.Get(tokenauth.NewAuthenticator(m, fixture.AnyUser, nil)).Require(fixture.Whoami)
		for _, scheme := range []string{"Token ", "token ", "Bearer "} {
			w := fixture.Get(h, scheme+key)
			require.Equal(t, 200, w.Code, scheme)
			require.Equal(t, "42", w.Body.String())
		}
		token, err := m.Authenticate(t.Context(), key)
		require.NoError(t, err)
		require.Equal(t, imported, token)
		require.Zero(t, token.Generation)

		require.Equal(t, 401, fixture.Get(h, "Token "+fixture.HexKey("another")).Code)
		require.NoError(t, m.Revoke(t.Context(), "42", token.ID))
		require.Equal(t, 401, fixture.Get(h, "Token "+key).Code)
	})
}

// A key that matches neither the native format nor a LegacyFormat must be rejected without a query
// to the store.
func TestUnknownFormatCausesNoQuery(t *testing.T) {
	t.Parallel()
	store := fixture.NewStore()
	h := must.Get(tokenauth.NewAuthenticator(fixture.NewLegacyManager(store, fixture.DRF), fixture.AnyUser, nil)).Require(fixture.Whoami)
	key := fixture.HexKey("known")
	for name, presented := range map[string]string{
		"upper case": strings.ToUpper(key), "short": key[1:], "long": key + "0", "no hex": "g" + key[1:],
		"64 hex": key + key[:24], "number and text": "12|" + key, "quoted": `"` + key + `"`,
	} {
		require.Equal(t, 401, fixture.Get(h, "Token "+presented).Code, name)
	}
	for name, presented := range map[string]string{"NUL": key + "\x00", "not ASCII": key + "é", "two": key + "," + key} {
		require.Equal(t, 400, fixture.Get(h, "Token "+presented).Code, name)
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
	m := fixture.NewLegacyManager(tokenauth.NewMemoryStore(), greedy)
	for _, presented := range []string{"", " ", "a b", "a,b", "a\x00", "a\n", "é", "\xff", "\x7f", "a|b", "!~"} {
		_, err := m.Authenticate(t.Context(), presented)
		require.ErrorIs(t, err, tokenauth.ErrInvalidKey, "%q", presented)
	}
}

// An operator may repeat an import after a failure, or to add new tokens. Import must accept specs
// of tokens that are already imported. It must not make a token valid again that was revoked after
// its import. Case K11.
func TestImportIsRepeatable(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		m := fixture.NewLegacyManager(store, fixture.DRF)
		spec := func(key, name string) tokenauth.ImportSpec {
			return tokenauth.ImportSpec{UserID: "42", Name: name, Origin: "drf", Digest: tokenauth.DigestOf(key)}
		}
		keys := []string{fixture.HexKey(t.Name() + "a"), fixture.HexKey(t.Name() + "b"), fixture.HexKey(t.Name() + "c")}
		specs := []tokenauth.ImportSpec{spec(keys[0], "a"), spec(keys[1], "b"), spec(keys[2], "c")}
		first, err := m.Import(t.Context(), specs[:2]...)
		require.NoError(t, err)
		again, err := m.Import(t.Context(), specs...)
		require.NoError(t, err)
		require.Equal(t, first[0].ID, again[0].ID)
		stored, err := m.Get(t.Context(), "42", first[0].ID)
		require.NoError(t, err)
		require.Equal(t, first[0], stored, "the second import must not change a token of the first import")
		require.Equal(t, []bool{true, true, true}, fixture.Accepts(m, keys...))

		require.NoError(t, m.Revoke(t.Context(), "42", first[0].ID))
		_, err = m.Import(t.Context(), specs...)
		require.NoError(t, err)
		require.Equal(t, []bool{false, true, true}, fixture.Accepts(m, keys...))

		_, _, err = m.Rotate(t.Context(), "42", first[1].ID, 0)
		require.NoError(t, err)
		_, err = m.Import(t.Context(), specs...)
		require.ErrorIs(t, fixture.Noted(err), tokenauth.ErrKeyTaken)
		require.Equal(t, []bool{false, false, true}, fixture.Accepts(m, keys...))

		_, err = m.Import(t.Context(), spec("free", "free"), spec("clash", "c"))
		require.ErrorIs(t, fixture.Noted(err), tokenauth.ErrNameTaken)
		tokens, err := m.List(t.Context(), tokenauth.Query{UserID: "42"})
		require.NoError(t, err)
		require.Len(t, tokens, 2, "a refused import must store nothing")
	})
}

// The Manager must not accept a native key as a legacy key, or a legacy key of another origin. It
// must not accept a digest as a key. Otherwise an attacker who can read or write the old system's
// table could sign in. Case K12.
func TestKindsOfKeysNeverCross(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		m := fixture.NewLegacyManager(store, fixture.DRF, anyKey)
		native, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "42", Name: "native"})
		legacy := fixture.HexKey(t.Name())
		fixture.ImportKey(t, m, "drf", legacy)
		planted := keyform.Generate("acme")
		fixture.ImportKey(t, m, "drf", planted)
		foreign := fixture.HexKey(t.Name() + " of knox")
		fixture.ImportKey(t, m, "knox", foreign)
		opaque := "opaque/" + legacy
		fixture.ImportKey(t, m, "any", opaque)

		require.Equal(t, []bool{true, true, true}, fixture.Accepts(m, native, legacy, opaque))
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
			require.Equal(t, []bool{false}, fixture.Accepts(m, key), name)
		}
		// If no LegacyFormat has the origin of an imported token, the Manager rejects the token's
		// key.
		require.Equal(t, []bool{true, false, false}, fixture.Accepts(fixture.NewManager(store, nil), native, legacy, opaque))
		require.Equal(t, []bool{true, false, false}, fixture.Accepts(fixture.NewLegacyManager(store, anyKey), native, legacy, planted))
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
func TestLegacyFormatOpensNoNativeToken(t *testing.T) {
	t.Parallel()
	store := tokenauth.NewMemoryStore()
	native, token := fixture.Issue(t, fixture.NewManager(store, nil), tokenauth.Spec{UserID: "42", Name: "native"})
	unwrap := tokenauth.LegacyFormat{Origin: "any", Canonical: func(presented string) (string, bool) {
		return strings.CutPrefix(presented, "wrapped:")
	}}
	m := fixture.NewLegacyManager(store, unwrap)
	require.Equal(t, []bool{true, false}, fixture.Accepts(m, native, "wrapped:"+native))

	key, _, err := m.Rotate(t.Context(), "42", token.ID, time.Hour)
	require.NoError(t, err)
	require.Equal(t, []bool{true, true}, fixture.Accepts(m, native, key.Reveal()))
	require.Equal(t, []bool{false, false}, fixture.Accepts(m, "wrapped:"+native, "wrapped:"+key.Reveal()))
}

// After Rotate of an imported token, the legacy key must work until the grace period ends. The new
// key must work immediately. Case K12.
func TestRotatedImportedTokenKeepsLegacyKeyDuringGrace(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		clock := fixture.NewClock()
		m := fixture.NewManager(store, &tokenauth.Options{Legacy: []tokenauth.LegacyFormat{fixture.DRF}, Now: clock.Now})
		legacy := fixture.HexKey(t.Name())
		imported := fixture.ImportKey(t, m, "drf", legacy)
		key, token, err := m.Rotate(t.Context(), "42", imported.ID, time.Hour)
		require.NoError(t, err)
		require.Equal(t, 1, token.Generation)
		require.Equal(t, "drf", token.Origin)

		require.Equal(t, []bool{true, true}, fixture.Accepts(m, legacy, key.Reveal()))
		clock.Set(fixture.Start.Add(time.Hour - time.Microsecond))
		require.Equal(t, []bool{true, true}, fixture.Accepts(m, legacy, key.Reveal()))
		clock.Set(fixture.Start.Add(time.Hour))
		require.Equal(t, []bool{false, true}, fixture.Accepts(m, legacy, key.Reveal()))

		// The new key is a native key, so it must still work after the service removes the
		// LegacyFormat.
		require.Equal(t, []bool{false, true}, fixture.Accepts(fixture.NewManager(store, nil), legacy, key.Reveal()))
	})
}

// Import must refuse an expiry within the first microsecond of the year 1. Rounding it down would
// yield the zero time, and the token would never expire.
func TestImportRefusesFirstInstant(t *testing.T) {
	t.Parallel()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), nil)
	_, err := m.Import(ctx, tokenauth.ImportSpec{UserID: "u", Name: "n", Origin: "drf", Digest: tokenauth.DigestOf("x"), ExpiresAt: time.Time{}.Add(1)})
	require.ErrorIs(t, fixture.Noted(err), tokenauth.ErrInvalidSpec)
}
