package syntax_test

import (
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/internal/syntax"
)

// tagged returns tag characters for text, and the cancel tag.
func tagged(text string) string {
	return strings.Map(func(r rune) rune { return 0xe0000 + r }, text) + "\U000e007f"
}

var goodNames = map[string]string{ // names that Name must accept, by description
	"plain":                    "ci",
	"one character":            "x",
	"64 letters":               strings.Repeat("a", 64),
	"64 characters of 4 bytes": strings.Repeat("🔑", 64),
	"other case":               "CI",
	"accent":                   "cí",
	"composed":                 "\u00e9",
	"decomposed":               "e\u0301",
	"dotless i":                "cı",
	"ligature":                 "ﬁ",
	"two letters":              "fi",
	"two non-joiners":          "م\u200cخ\u200cو",
	"family of four":           "👨\u200d👩\u200d👧\u200d👦",
	"Persian, with U+200C":     "می\u200cخواهم",
	"Sinhala, with U+200D":     "ක\u0dca\u200dර",
	"Malayalam, with U+200D":   "അവന\u0d4d\u200d",
	"Bengali, with U+200D":     "র\u200d\u09cdয",
	"Arabic number sign":       "\u0600١",
	"heart":                    "❤\ufe0f",
	"heart on fire":            "❤\ufe0f\u200d🔥",
	"health worker":            "👩🏽\u200d⚕\ufe0f",
	"rainbow flag":             "🏳\ufe0f\u200d🌈",
	"keycap":                   "1\ufe0f\u20e3 #\ufe0f\u20e3",
	"England":                  "🏴" + tagged("gbeng"),
	"Scotland and Wales":       "x🏴" + tagged("gbsct") + "🏴" + tagged("gbwls"),
	"France":                   "🇫🇷",
	"space inside":             "my laptop",
	"wildcards of SQL":         "100%_sure",
	"quotes":                   `'"` + "`" + `\`,
	"markup":                   `<script>alert(1)</script>`,
	"SQL":                      "'; DROP TABLE tokens;--",
}

// Name must remove the space around an accepted name and change nothing else. Otherwise users would
// not find their token by its name.
// Cases S3, S4, S22.
func TestNameOnlyTrimsAcceptedNames(t *testing.T) {
	t.Parallel()
	for what, name := range goodNames {
		for _, space := range []string{"", " ", "\t", "\n", "\u00a0", "\u3000", " \r\n"} {
			got, err := syntax.Name(space + name + space)
			require.NoError(t, err, what)
			require.Equal(t, name, got, what)
		}
	}
}

var badNames = map[string]string{
	"only a joiner":             "\u200d",
	"only fillers of Hangul":    "\u115f\u1160\u3164\uffa0",
	"only Braille without dots": "\u2800 \u2800",
	"only a variation selector": "\ufe0f",
	"empty":                     "",
	"only spaces":               " \t\n\u00a0",
	"65 letters":                strings.Repeat("a", 65),
	"65 characters of 4 bytes":  strings.Repeat("🔑", 65),
	"100 KiB":                   strings.Repeat("a", 100<<10),
	"NUL":                       "a\x00b",
	"line feed":                 "a\nb",
	"CR LF":                     "a\r\nb",
	"tab":                       "a\tb",
	"ESC":                       "a\x1b[2Jb",
	"DEL":                       "a\x7f",
	"C1 control":                "a\u0085b",
	"line separator":            "a\u2028b",
	"paragraph separator":       "a\u2029b",
	"bidi override":             "a\u202eb",
	"bidi isolate":              "a\u2066b",
	"right-to-left mark":        "a\u200fb",
	"Arabic letter mark":        "a\u061cb",
	"zero-width space":          "a\u200bb",
	"word joiner":               "a\u2060b",
	"byte order mark":           "\ufeffa",
	"soft hyphen":               "lap\u00adtop",
	"invisible separator":       "lap\u2063top",
	"grapheme joiner":           "lap\u034ftop",
	"Hangul filler":             "laptop\u3164",
	"Khmer vowel":               "laptop\u17b4",
	"Mongolian selector":        "laptop\u180b",
	"Mongolian separator":       "laptop\u180e",
	"deprecated format":         "laptop\u206a",
	"reserved":                  "laptop\ufff0",
	"annotation":                "laptop\ufff9",
	"shorthand control":         "laptop\U0001bca0",
	"musical control":           "laptop\U0001d173",
	"musical blank":             "laptop\U0001d159",
	"Braille blank":             "laptop\u2800",
	"language tag":              "laptop\U000e0001",
	"ideographic selector":      "laptop\U000e0100",
	"reserved, plane 14":        "laptop\U000e0fff",
	"tags after a letter":       "x" + tagged("gbeng"),
	"unknown flag":              "🏴" + tagged("gbxyz"),
	"flag without cancel tag":   "🏴" + strings.TrimSuffix(tagged("gbeng"), "\U000e007f"),
	"cancel tag":                "🏴\U000e007f",
	"flag with one tag more":    "🏴" + tagged("gbeng") + "\U000e007f",
	"selector after a letter":   "laptop\ufe0f",
	"keycap of a letter":        "a\ufe0f\u20e3",
	"selector after a digit":    "1\ufe0f",
	"selector after an arrow":   "→\ufe0f",
	"selector twice":            "❤\ufe0f\ufe0f",
	"another selector":          "❤\ufe0e",
	"selector first":            "\ufe0fx",
	"joiner of Latin letters":   "lap\u200dtop",
	"non-joiner, Latin":         "lap\u200ctop",
	"joiner after an emoji":     "👩\u200d",
	"joiner before an emoji":    "x\u200d👩",
	"two joiners":               "👩\u200d\u200d💻",
	"joiner after Persian":      "می\u200c",
	"joiner of two scripts":     "می\u200claptop",
	"non-joiner of emoji":       "👩\u200c💻",
	"joiner after a digit":      "١\u200c٢",
	"invalid UTF-8":             "a\xffb",
	"half a character":          "a\xe2\x82",
	"surrogate":                 "a\xed\xa0\x80",
}

// Name must refuse a name that is invisible or changes how the text around it is displayed.
// Otherwise users could revoke the wrong token.
// Case S4.
func TestNameRefusesInvisibleOrMisleadingNames(t *testing.T) {
	t.Parallel()
	for what, name := range badNames {
		got, err := syntax.Name(name)
		require.Error(t, err, what)
		require.Empty(t, got, what)
		require.True(t, name == "" || !strings.Contains(err.Error(), name), "%s: the error must not contain the refused text", what)
	}
}

// CleanName must make an acceptable name of any text, because one refused name would stop a whole
// import. It must not split an emoji, because the rest of it would be refused.
func TestCleanNameKeepsWhatNameAccepts(t *testing.T) {
	t.Parallel()
	for what, name := range goodNames {
		require.Equal(t, name, syntax.CleanName(" "+name+"\n", 64), what)
		for limit := range utf8.RuneCountInString(name) {
			requireClean(t, name, limit)
		}
	}
	for text, want := range map[string]string{
		"lap\u00adtop\u200b":    "laptop",
		"a\xff\u202e\x00b\r\nc": "abc",
		"👩\u200b\u200d💻":        "👩💻",
		" \u2800 \u3164 ":       "",
		"\u0301":                "",
	} {
		require.Equal(t, want, syntax.CleanName(text, 64), "%q", text)
	}
	require.Equal(t, "🏴", syntax.CleanName("🏴"+tagged("gbeng"), 6))
	require.Equal(t, "👩", syntax.CleanName("👩\u200d💻", 2))
	long := "🏴" + strings.Repeat("\U000e0067", 1<<18) // must not take quadratic time
	require.Equal(t, "🏴", syntax.CleanName(long, 64))
}

// requireClean requires that the result of CleanName is empty or a name that Name accepts
// unchanged.
func requireClean(t *testing.T, text string, limit int) {
	t.Helper()
	cleaned := syntax.CleanName(text, limit)
	require.LessOrEqual(t, utf8.RuneCountInString(cleaned), limit, "%q", text)
	if cleaned == "" {
		return
	}
	got, err := syntax.Name(cleaned)
	require.NoError(t, err, "%q of %q", cleaned, text)
	require.Equal(t, cleaned, got)
}

// symbol matches a symbol and its variation selector, and flag the flag of a nation of the United
// Kingdom.
var (
	symbol = "[\\p{So}\\p{Sk}\\p{Sm}\\p{Cn}‼⁉ℹ〰〽]\ufe0f?"
	flag   = "🏴(?:" + tagged("gbeng") + "|" + tagged("gbsct") + "|" + tagged("gbwls") + ")"
)

// sequences match the text in which an accepted name may have invisible characters. The groups are
// the letters around an invisible character.
var sequences = []*regexp.Regexp{
	regexp.MustCompile("[0-9#*]\ufe0f\u20e3"),
	regexp.MustCompile("(?:" + symbol + "\u200d)*(?:" + flag + "|" + symbol + ")"), // a flag must be last
	regexp.MustCompile(`([\p{L}\p{M}])[\x{200c}\x{200d}]([\p{L}\p{M}])`),
	regexp.MustCompile("([\u094d\u09cd\u0a4d\u0acd\u0b4d\u0bcd\u0c4d\u0ccd\u0d4d\u0dca])[\u200c\u200d]"),
}

// isInvisible reports whether r is one of the Default_Ignorable_Code_Points of Unicode.
func isInvisible(r rune) bool {
	return unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector, unicode.Cf) &&
		!unicode.Is(unicode.Prepended_Concatenation_Mark, r) && (r < 0xfff9 || r > 0xfffb) && (r < 0x13430 || r > 0x13440)
}

// Names that differ only in spaces look alike, so they must become one name.
func TestNameKeepsOneSpace(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a b", "a  b", "a\u00a0b", "a \u2003 b", "\u3000a b "} {
		kept, err := syntax.Name(name)
		require.NoError(t, err)
		require.Equal(t, "a b", kept)
		require.Equal(t, "a b", syntax.CleanName(name, 64))
	}
	_, err := syntax.Name("a\nb")
	require.Error(t, err)
}

// FuzzName checks that Name accepts each name that it has returned, and returns that name
// unchanged. An accepted name must have no invisible character outside of the sequences that need
// one. Otherwise it could look like another name.
func FuzzName(f *testing.F) {
	for _, names := range []map[string]string{goodNames, badNames} {
		for _, name := range names {
			f.Add(name)
			f.Add(" " + name + "\n")
		}
	}
	f.Add("👩\u200d🏴" + tagged("gbwls"))
	f.Add("🏴" + tagged("gbwls") + "\u200d👩")
	f.Fuzz(func(t *testing.T, name string) {
		for _, limit := range []int{1, 7, 64} {
			requireClean(t, name, limit)
		}
		kept, err := syntax.Name(name)
		if err != nil {
			require.Empty(t, kept)
			return
		}
		require.Equal(t, strings.Join(strings.Fields(name), " "), kept)
		require.True(t, utf8.ValidString(kept))
		require.NotEmpty(t, kept)
		require.LessOrEqual(t, utf8.RuneCountInString(kept), 64)
		again, err := syntax.Name(kept)
		require.NoError(t, err)
		require.Equal(t, kept, again)
		require.Equal(t, kept, syntax.CleanName(kept, 64))
		rest := kept
		for _, sequence := range sequences {
			for sequence.MatchString(rest) {
				rest = sequence.ReplaceAllString(rest, "$1$2")
			}
		}
		require.False(t, strings.ContainsFunc(rest, isInvisible), "%+q has an invisible character", kept)
	})
}

// Two usernames that a database compares as equal must not count as two accounts. So WithoutUnsafe
// must remove all characters that a database may ignore, also those that are allowed in a name.
func TestWithoutUnsafeRemovesIgnorableCharacters(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "", "ada": "ada", "Zoë 👍": "Zoë 👍", "a\x00d\x7fa\u0085": "ada", "ada\ufe0f": "ada", "❤\ufe0f": "❤", "a\u034fda": "ada",
		"\u3164a\u115fda": "ada", "\u180bada\U000e0100": "ada", "क्\u200dष": "क्ष", "👩\u200d👩": "👩👩", "a\u2028d\u2029a": "ada",
		"ada\u0600": "ada", "\u2800a\u00ada": "aa", "à b": "à b",
	} {
		require.Equal(t, want, syntax.WithoutUnsafe(text), "%q", text)
	}
}
