package bearer_test

import (
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/internal/bearer"
)

var (
	authorizationOnly = bearer.Reader{Schemes: []string{"Bearer", "Token"}}
	both              = bearer.Reader{Schemes: []string{"Bearer", "Token"}, KeyHeader: "X-Api-Key"}
	keyHeaderOnly     = bearer.Reader{KeyHeader: "X-Api-Key"}
)

const longest = 1024 // maximum length of a key, in bytes

// A result holds the two return values of Key.
type result struct {
	key string
	err error
}

var (
	found     = result{key: "k"}
	none      = result{err: bearer.ErrNone}
	malformed = result{err: bearer.ErrMalformed}
	tooLong   = result{err: bearer.ErrTooLong}
)

// authorizations maps values of the Authorization header to the expected results of Key.
var authorizations = map[string]result{
	// Key treats an empty header value like a missing header.
	"":    none,
	"   ": none,

	// Key compares schemes case-insensitively, and removes the spaces around the key.
	"Bearer k":       found,
	"bearer k":       found,
	"BEARER k":       found,
	"Token k":        found,
	"tOKEN k":        found,
	"Bearer   k":     found,
	"  Bearer k   ":  found,
	"Bearer Token":   {key: "Token"},
	"Bearer Bearer ": {key: "Bearer"},

	// Key returns the key without checking its characters. IsKey checks them.
	"Bearer a b":        {key: "a b"},
	"Bearer k,":         {key: "k,"},
	"Bearer k, Token k": {key: "k, Token k"},
	"Bearer \tk":        {key: "\tk"},
	"Bearer k\t":        {key: "k\t"},
	"Bearer \x00\xff":   {key: "\x00\xff"},
	"Bearer é":          {key: "é"},

	// The length limit applies to the key without the spaces around it.
	"Bearer " + strings.Repeat("x", longest):             {key: strings.Repeat("x", longest)},
	"Bearer    " + strings.Repeat("x", longest) + "    ": {key: strings.Repeat("x", longest)},
	"Bearer " + strings.Repeat("x", longest+1):           tooLong,

	// In these values, the scheme is accepted, but it is not followed by a space and a key.
	"Bearer":       malformed,
	"Bearer   ":    malformed,
	"token":        malformed,
	"Bearer\tk":    malformed,
	"Bearer\nk":    malformed,
	"Bearer\x00k":  malformed,
	"Bearer\x7fk":  malformed,
	"Bearer\xa0k":  malformed,
	"Bearer\u00a0": malformed,

	// These values have no accepted scheme.
	"Basic YTpi":                   none,
	"Basic \x00\xff":               none,
	"Basic x Bearer k":             none,
	"xBearer k":                    none,
	"BearerToken k":                none,
	"Bearerk":                      none,
	"Bearer: k":                    none,
	"Bearer,k":                     none,
	"Token=k":                      none,
	"k":                            none,
	"\tBearer k":                   none,
	"Beare":                        none,
	`Digest realm="a", token="b"`:  none,
	strings.Repeat("x", longest+1): none,

	// These values start with another scheme. Key returns ErrMalformed if an accepted scheme and a
	// space follow after a comma and optional spaces or tabs.
	"Basic x, Bearer k":            malformed,
	"Basic x,bearer k":             malformed,
	"Basic x,\tToken k":            malformed,
	"Basic x, \t Bearer k":         malformed,
	"Basic x, Digest y, Bearer k":  malformed,
	"Basic x,,Bearer k":            malformed,
	",Bearer k":                    malformed,
	"Basic x, Bearer k, Digest y":  malformed,
	"Basic x, Bearer, Token k":     malformed,
	"Basic x, Bearer":              none,
	"Basic x, Bearer\tk":           none,
	"Basic x, xBearer k":           none,
	"Basic x, BearerToken k":       none,
	"Basic x,\nBearer k":           none,
	"Basic x,\u00a0Bearer k":       none,
	"Basic x; Bearer k":            none,
	"Basic x, y Bearer k":          none,
	`Digest realm="a, Bearer b"`:   malformed, // Key does not parse quoted strings
	`Digest realm="a, x Bearer b"`: none,
}

// Key must return the key that follows an accepted scheme, whatever the case of the scheme and the
// number of spaces. It must not accept a key in the credentials of another scheme.
// Cases H1, H2, H3, H4, H5, H6, H7, H9, H10, H12, H13.
func TestKeyReadsAuthorization(t *testing.T) {
	t.Parallel()
	for value, want := range authorizations {
		for name, h := range map[string]http.Header{
			"alone":                   {"Authorization": {value}},
			"with an empty X-API-Key": {"Authorization": {value}, "X-Api-Key": {"  "}},
		} {
			for _, r := range []bearer.Reader{authorizationOnly, both} {
				key, err := r.Key(h)
				require.Equal(t, want, result{key, err}, "%q %s", value, name)
			}
			key, err := keyHeaderOnly.Key(h)
			require.Equal(t, none, result{key, err}, "%q %s: Authorization must be ignored", value, name)
		}
	}
}

// Key must read the X-API-Key header only if the service is configured to use it.
// Case H16.
func TestKeyReadsKeyHeaderOnlyIfConfigured(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]result{
		"":                                       none,
		"  ":                                     none,
		"k":                                      found,
		"  k ":                                   found,
		"Bearer k":                               {key: "Bearer k"},
		"k,k":                                    {key: "k,k"},
		"\tk":                                    {key: "\tk"},
		"é":                                      {key: "é"},
		strings.Repeat("x", longest):             {key: strings.Repeat("x", longest)},
		" " + strings.Repeat("x", longest):       {key: strings.Repeat("x", longest)},
		strings.Repeat("x", longest+1):           tooLong,
		"x" + strings.Repeat(" ", longest):       {key: "x"},
		"x" + strings.Repeat(" ", longest) + ".": tooLong,
	} {
		h := http.Header{"X-Api-Key": {value}}
		for _, r := range []bearer.Reader{both, keyHeaderOnly} {
			key, err := r.Key(h)
			require.Equal(t, want, result{key, err}, "%q", value)
		}
		key, err := authorizationOnly.Key(h)
		require.Equal(t, none, result{key, err}, "%q: X-API-Key must be ignored", value)
	}
}

// Key must refuse a request with two sets of credentials, because they are ambiguous. A header
// field that the Reader does not read must not change the result.
// Case H8.
func TestKeyRefusesSeveralCredentials(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		authorization, apiKey []string

		authorizationOnly, both, keyHeaderOnly result
	}{
		"no field":               {nil, nil, none, none, none},
		"no values":              {[]string{}, []string{}, none, none, none},
		"both empty":             {[]string{""}, []string{" "}, none, none, none},
		"key in each":            {[]string{"Bearer k"}, []string{"k"}, found, malformed, found},
		"other scheme":           {[]string{"Basic x"}, []string{"k"}, none, found, found},
		"no key":                 {[]string{"Bearer"}, []string{"k"}, malformed, malformed, found},
		"two schemes":            {[]string{"Basic x, Bearer k"}, []string{"k"}, malformed, malformed, found},
		"too long a key":         {[]string{"Bearer " + strings.Repeat("x", longest+1)}, []string{"k"}, tooLong, malformed, found},
		"empty beside X-API-Key": {[]string{" "}, []string{"k"}, none, found, found},

		"Authorization repeated":             {[]string{"Bearer k", "Bearer k"}, nil, malformed, malformed, none},
		"Authorization repeated, empty":      {[]string{"", ""}, nil, malformed, malformed, none},
		"Authorization repeated, one empty":  {[]string{"Bearer k", ""}, nil, malformed, malformed, none},
		"Authorization repeated, no scheme":  {[]string{"Basic x", "Basic y"}, nil, malformed, malformed, none},
		"Authorization repeated and a key":   {[]string{"Basic x", "Basic y"}, []string{"k"}, malformed, malformed, found},
		"X-API-Key repeated":                 {nil, []string{"k", "k"}, none, malformed, malformed},
		"X-API-Key repeated, empty":          {nil, []string{"", ""}, none, malformed, malformed},
		"X-API-Key repeated, first empty":    {nil, []string{"", "k"}, none, malformed, malformed},
		"X-API-Key repeated beside a key":    {[]string{"Bearer k"}, []string{"", ""}, found, malformed, malformed},
		"X-API-Key repeated, other scheme":   {[]string{"Basic x"}, []string{"k", "k"}, none, malformed, malformed},
		"Authorization and X-API-Key thrice": {[]string{"", "", ""}, []string{"", "", ""}, malformed, malformed, malformed},
	} {
		h := http.Header{"Authorization": c.authorization, "X-Api-Key": c.apiKey}
		for r, want := range map[*bearer.Reader]result{
			&authorizationOnly: c.authorizationOnly, &both: c.both, &keyHeaderOnly: c.keyHeaderOnly, {}: none,
		} {
			key, err := r.Key(h)
			require.Equal(t, want, result{key, err}, "%s: %+v", name, *r)
		}
	}
}

// If one scheme is a prefix of another scheme, Key must still distinguish the two schemes.
func TestKeyDistinguishesSimilarSchemes(t *testing.T) {
	t.Parallel()
	for _, schemes := range [][]string{{"Key", "KeyX"}, {"KeyX", "Key"}} {
		r := bearer.Reader{Schemes: schemes}
		for value, want := range map[string]result{
			"Key k": found, "KeyX k": found, "KeyXY k": none, "Key X k": {key: "X k"}, "KeyX": malformed, "Basic x, KeyX k": malformed,
		} {
			key, err := r.Key(http.Header{"Authorization": {value}})
			require.Equal(t, want, result{key, err}, "%q", value)
		}
	}
}

// A presented key must consist of visible ASCII characters without commas. Other bytes are refused
// before a database query.
// Cases H6, H11, H12.
func TestIsKeyAcceptsVisibleASCIIWithoutComma(t *testing.T) {
	t.Parallel()
	require.False(t, bearer.IsKey(""))
	for i := range 256 {
		b := string([]byte{byte(i)})
		want := i > ' ' && i < 0x7f && b != ","
		for _, value := range []string{b, "x" + b, b + "x", "x" + b + "x"} {
			require.Equal(t, want, bearer.IsKey(value), "%q", value)
		}
	}
	require.False(t, bearer.IsKey("é"))
}

// isKey defines with a regular expression the strings that IsKey must accept.
var isKey = regexp.MustCompile(`^[!-+\--~]+$`)

// FuzzKey checks that Key neither panics nor changes the header. A returned key must be a part of a
// header field that the Reader reads. That field must have only one value.
// Case H19.
func FuzzKey(f *testing.F) {
	for _, value := range slices.Sorted(maps.Keys(authorizations)) {
		f.Add(value, "", uint8(1), "", "", uint8(0))
		f.Add(value, value, uint8(2), "k", "", uint8(1))
		f.Add("Basic x", "", uint8(1), value, "k", uint8(2))
	}
	f.Fuzz(func(t *testing.T, a, b string, lines uint8, x, y string, apiKeys uint8) {
		h := http.Header{"Authorization": []string{a, b}[:lines%3], "X-Api-Key": []string{x, y}[:apiKeys%3]}
		before := h.Clone()
		for _, r := range []bearer.Reader{authorizationOnly, both, keyHeaderOnly} {
			key, err := r.Key(h)
			require.Equal(t, before, h)
			var read [][]string
			if len(r.Schemes) > 0 {
				read = append(read, h["Authorization"])
			}
			if r.KeyHeader != "" {
				read = append(read, h["X-Api-Key"])
			}
			repeated := slices.ContainsFunc(read, func(values []string) bool { return len(values) > 1 })
			if repeated {
				require.Equal(t, bearer.ErrMalformed, err, "Key must refuse a repeated header field")
			}
			if err != nil {
				require.Contains(t, []error{bearer.ErrNone, bearer.ErrMalformed, bearer.ErrTooLong}, err)
				require.Empty(t, key)
				continue
			}
			require.NotEmpty(t, key)
			require.LessOrEqual(t, len(key), longest)
			require.Equal(t, strings.Trim(key, " "), key, "Key must remove the spaces around the key")
			require.True(t, slices.ContainsFunc(read, func(values []string) bool {
				return len(values) == 1 && strings.Contains(values[0], key)
			}), "the key %q must be part of a header field", key)
			require.Equal(t, isKey.MatchString(key), bearer.IsKey(key), "%q", key)
		}
		for _, value := range []string{a, b, x, y} {
			require.Equal(t, isKey.MatchString(value), bearer.IsKey(value), "%q", value)
		}
	})
}
