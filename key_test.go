package tokenauth_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	texttemplate "text/template"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/keyform"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// A program may print a value that contains a Key, for example into a log, a crash report or a
// response. No function that prints or encodes the value may reveal the key. Case K9.
func TestKeyIsRedacted(t *testing.T) {
	t.Parallel()
	key, _, err := fixture.NewManager(tokenauth.NewMemoryStore(), nil).Issue(t.Context(), tokenauth.Spec{UserID: "42", Name: "laptop"})
	require.NoError(t, err)
	secrets := disguises(key.Reveal())
	require.True(t, shows(printed(struct{ s string }{key.Reveal()})["%#x"], secrets), "the search must find a key that is stored as a plain string")
	for holder, v := range holders(key) {
		for way, out := range printed(v) {
			require.False(t, shows(out, secrets), "%s, printed by %s, reveals the key", holder, way)
		}
	}
}

// A Digest must not appear in logs, although nobody can sign in with it. Only the exceptions that
// the comment of Digest lists may show its bytes.
// Case K9.
func TestDigestIsRedacted(t *testing.T) {
	t.Parallel()
	d := tokenauth.DigestOf(keyform.Generate("acme"))
	secrets := disguises([len(d)]byte(d), string(d[:]))
	inner := []string{"pointer in a field", "slice of any", "slice of pointers", "map of pointers"}
	leaks := map[string]bool{} // the exceptions that show the bytes
	check := func(kind string, all map[string]any) {
		for holder, v := range all {
			for way, out := range printed(v) {
				if !shows(out, secrets) {
					continue
				}
				exception := ""
				switch {
				case strings.HasPrefix(way, "testify"), way == "gob":
					continue // testify prints by reflection, and gob encodes all bytes
				case strings.HasPrefix(holder, "unexported"):
					exception = "unexported field"
				case way[0] == '%' && strings.ContainsAny(way, "pw"):
					exception = way
				case way[0] == '%' && !strings.HasSuffix(way, "v") && kind != "digest" && slices.Contains(inner, holder):
					exception = "pointer to a struct"
				}
				require.NotEmpty(t, exception, "%s, %s, printed by %s, reveals the digest", kind, holder, way)
				leaks[exception] = true
			}
		}
	}
	check("digest", holders(d))
	check("record", holders(tokenauth.Record{Digest: d, Retired: &tokenauth.RetiredKey{Digest: d}}))
	check("rotation", holders(tokenauth.Rotation{Digest: d}))
	check("import", holders(tokenauth.ImportSpec{Digest: d}))
	for _, exception := range []string{"unexported field", "%p", "%w", "pointer to a struct"} {
		require.True(t, leaks[exception], "the comment of Digest lists an exception that is none: %s", exception)
	}
	var encoded bytes.Buffer
	require.NoError(t, gob.NewEncoder(&encoded).Encode(d))
	var decoded tokenauth.Digest
	require.NoError(t, gob.NewDecoder(&encoded).Decode(&decoded))
	require.Equal(t, d, decoded, "the comment of Digest says that gob encodes the bytes")
	require.Equal(t, "{[digest] 0001-01-01 00:00:00 +0000 UTC}", fmt.Sprintf("%s", tokenauth.RetiredKey{Digest: d}))
}

// A printed Key must show the prefix and the hint of the key, so that people can identify the
// token. Case K9.
func TestRedactedKeyShowsPrefixAndHint(t *testing.T) {
	t.Parallel()
	key, token, err := fixture.NewManager(tokenauth.NewMemoryStore(), nil).Issue(t.Context(), tokenauth.Spec{UserID: "42", Name: "laptop"})
	require.NoError(t, err)
	type holder struct{ F tokenauth.Key }
	redacted := "acme_…" + token.Hint
	require.Equal(t, redacted, key.String())
	require.Equal(t, key.Reveal()[len(key.Reveal())-4:], token.Hint)
	for name, v := range map[string]any{"value": key, "pointer": &key, "exported field": holder{key}, "slice": []tokenauth.Key{key}} {
		all := printed(v)
		for _, way := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "slog JSON", "json", "xml", "text/template", "html/template", "error"} {
			require.Contains(t, all[way], redacted, "%s, printed by %s", name, way)
		}
	}

	var none tokenauth.Key
	require.Empty(t, none.Reveal())
	require.Empty(t, fmt.Sprintf("%v%+v%#v%s", none, none, none, &none))
}

// holders returns values that contain v, for each kind of value that a program may print. The
// strings in the map name the kinds.
func holders[T any](v T) map[string]any {
	type exported struct{ F T }
	type unexported struct{ f T }
	type pointer struct{ F *T }
	return map[string]any{
		"value":                  v,
		"pointer":                &v,
		"exported field":         exported{v},
		"pointer to a struct":    &exported{v},
		"unexported field":       unexported{v},
		"unexported field, deep": struct{ a []unexported }{[]unexported{{v}}},
		"pointer in a field":     pointer{&v},
		"slice":                  []T{v},
		"array":                  [1]T{v},
		"map":                    map[string]T{"k": v},
		"slice of any":           []any{v, &v},
		"map of pointers":        map[string]*T{"k": &v},
		"slice of pointers":      []*T{&v},
	}
}

const verbs = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// printed prints and encodes v in many ways and returns the outputs. The index of the map is the
// name of the way, such as "%v" or "json".
func printed(v any) map[string]string {
	out := map[string]string{}
	for _, verb := range verbs {
		for _, flag := range []string{"", "+", "#", "-9.99"} {
			format := "%" + flag + string(verb)
			out[format] = fmt.Sprintf(format, v)
		}
	}
	out["error"] = errors.Join(errors.New("x"), fmt.Errorf("y: %w", fmt.Errorf("%v %+v", v, v))).Error()

	for way, encode := range map[string]func(w io.Writer) error{
		"json":          func(w io.Writer) error { return json.NewEncoder(w).Encode(v) },
		"xml":           func(w io.Writer) error { return xml.NewEncoder(w).Encode(v) },
		"gob":           func(w io.Writer) error { return gob.NewEncoder(w).Encode(v) },
		"text/template": func(w io.Writer) error { return textTemplate.Execute(w, v) },
		"html/template": func(w io.Writer) error { return htmlTemplate.Execute(w, v) },
		"slog text":     func(w io.Writer) error { return logged(slog.NewTextHandler(w, debug), v) },
		"slog JSON":     func(w io.Writer) error { return logged(slog.NewJSONHandler(w, debug), v) },
		"testify":       func(w io.Writer) error { assert.Equal(errorWriter{w}, v, nil); return nil },
		"testify's diff": func(w io.Writer) error {
			var want struct{ F any }
			assert.Equal(errorWriter{w}, want, struct{ F any }{v})
			return nil
		},
	} {
		var b bytes.Buffer
		err := encode(&b)
		out[way] = b.String() + fmt.Sprint(err)
	}
	return out
}

var (
	debug        = &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true}
	textTemplate = texttemplate.Must(texttemplate.New("").Parse(`{{.}} {{printf "%#v" .}} {{print .}} {{html .}} {{js .}} {{urlquery .}}`))
	htmlTemplate = htmltemplate.Must(htmltemplate.New("").Parse(`<p title="{{.}}">{{.}}</p><a href="/?q={{.}}">x</a><script>x = {{.}}</script><style>p { width: {{.}} }</style>`))
)

func logged(h slog.Handler, v any) error {
	l := slog.New(h)
	l.With("with", v).WithGroup("g").Debug(fmt.Sprint(v), "k", v, slog.Group("g", slog.Any("k", v)))
	return nil
}

// An errorWriter takes the place of *testing.T in a call of testify. It writes the message of a
// failed assertion to the Writer.
type errorWriter struct{ io.Writer }

func (w errorWriter) Errorf(format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }

// disguises returns texts that would reveal one of the plain values in an output, such as its
// hexadecimal form. It returns only the middle half of each text, so that the search also finds a
// partly revealed value.
func disguises(plain ...any) (all []string) {
	for _, v := range plain {
		for _, format := range []string{"%s", "%q", "%+q", "%x", "%X", "% x", "% X", "%#x", "%v", "%#v", "%d", "%o", "%b", "%c", "%U"} {
			text := fmt.Sprintf(format, v)
			all = append(all, text[len(text)/4:len(text)*3/4])
		}
		encoded, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		all = append(all, string(encoded[len(encoded)/4:len(encoded)*3/4]))
	}
	return all
}

func shows(out string, secrets []string) bool {
	for _, s := range secrets {
		if strings.Contains(out, s) {
			return true
		}
	}
	return false
}

// New must return an error for an invalid prefix. Otherwise the service would issue keys that no
// service accepts. Case K8.
func TestNewRefusesInvalidPrefixes(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 20)
	for _, prefix := range []string{"a", "acme", "acme_test", "a__b", "a1", long} {
		m := fixture.NewManager(tokenauth.NewMemoryStore(), &tokenauth.Options{FormerPrefixes: []string{prefix}})
		require.NotNil(t, m, prefix)
		got, err := tokenauth.CheckKey(keyform.Generate(prefix))
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
	key := keyform.Generate("acme")
	_, err := tokenauth.New(tokenauth.NewMemoryStore(), key, nil)
	require.Error(t, err)
	require.NotContains(t, err.Error(), key)
	_, err = tokenauth.New(tokenauth.NewMemoryStore(), "acme", &tokenauth.Options{FormerPrefixes: []string{key}})
	require.Error(t, err)
	require.NotContains(t, err.Error(), key)
}

// After a service has changed its prefix, it must still accept keys with its former prefixes.
// Otherwise its users would have to replace all keys.
func TestFormerPrefixesAreAccepted(t *testing.T) {
	t.Parallel()
	store := tokenauth.NewMemoryStore()
	before := must.Get(tokenauth.New(store, "acmeold", nil))
	oldKey, _ := fixture.Issue(t, before, tokenauth.Spec{UserID: "42", Name: "old"})

	after := fixture.NewManager(store, &tokenauth.Options{FormerPrefixes: []string{"older", "acmeold"}})
	newKey, _ := fixture.Issue(t, after, tokenauth.Spec{UserID: "42", Name: "new"})
	require.True(t, strings.HasPrefix(newKey, "acme_"), "a new key must start with the current prefix")
	require.Equal(t, []bool{true, true}, fixture.Accepts(after, oldKey, newKey))
	require.Equal(t, []bool{false, true}, fixture.Accepts(fixture.NewManager(store, nil), oldKey, newKey))
	require.Equal(t, []bool{true, false}, fixture.Accepts(before, oldKey, newKey))
}
