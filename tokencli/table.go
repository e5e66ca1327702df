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

// A cell is a text with a style. The text may contain any characters.
type cell struct {
	text  string
	style style
}

// A table writes aligned rows. A column becomes wider if a later cell needs it, but never narrower.
// Therefore a table needs no memory for its rows.
type table struct {
	out     io.Writer
	colored bool
	widths  []int // width of each column so far
}

// write writes rows that have the same number of cells.
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
	if !t.colored || c.style == plain {
		return c.text
	}
	return "\x1b[" + string(c.style) + "m" + c.text + "\x1b[0m"
}

// visible replaces invisible characters, and characters that could move other text, by escapes. It
// keeps U+200C and U+200D, because names in some scripts and with emoji contain these characters.
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

// cut shortens a text to at most width columns. A shortened text ends with an ellipsis.
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
