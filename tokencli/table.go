package tokencli

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// A style is an SGR code of a terminal (ECMA-48).
type style string

const (
	plain  style = ""
	bold   style = "1"
	dim    style = "2"
	red    style = "31"
	yellow style = "33"
)

// A cell is a text, of whatever characters.
type cell struct {
	text  string
	style style
}

// A table aligns what is written to it. Its columns grow, but don't shrink, so that
// any number of rows can go through it.
type table struct {
	out      io.Writer
	coloured bool
	widths   []int
}

// write writes rows of as many cells each.
func (t *table) write(rows ...[]cell) error {
	for _, row := range rows {
		for i := range row {
			row[i].text = visible(row[i].text)
			if i == len(t.widths) {
				t.widths = append(t.widths, 0)
			}
			t.widths[i] = max(t.widths[i], uniseg.StringWidth(row[i].text))
		}
	}
	var lines strings.Builder
	for _, row := range rows {
		gap := 0
		for i, c := range row {
			if c.text != "" {
				lines.WriteString(strings.Repeat(" ", gap))
				gap = 0
				lines.WriteString(t.styled(c))
			}
			gap += t.widths[i] - uniseg.StringWidth(c.text) + 2
		}
		lines.WriteByte('\n')
	}
	_, err := io.WriteString(t.out, lines.String())
	return written(err)
}

func (t *table) styled(c cell) string {
	if !t.coloured || c.style == plain {
		return c.text
	}
	return "\x1b[" + string(c.style) + "m" + c.text + "\x1b[0m"
}

// visible writes as an escape what can't be seen, or would move what stands beside it. It
// leaves U+200C and U+200D alone, as names may have them: scripts and emoji do.
func visible(text string) string {
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case unicode.IsGraphic(r) && !unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r), r == '\u200c', r == '\u200d':
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// cut shortens a text to a width.
func cut(text string, width int) string {
	if uniseg.StringWidth(text) <= width {
		return text
	}
	short, used := "", 0
	for clusters := uniseg.NewGraphemes(text); clusters.Next(); {
		if used += clusters.Width(); used >= width {
			break
		}
		short += clusters.Str()
	}
	return short + "…"
}
