package main

import (
	"encoding/xml"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A wrong verdict would let a slow version pass, or fail a good one.
func TestJudge(t *testing.T) {
	t.Parallel()
	explanations := []explanation{{"hit", 1.5, "the clock"}}
	for _, c := range []struct {
		name     string
		line     line
		measured float64
		want     verdict
	}{
		{"below", line{name: "other", budget: 1.3}, 1.2, met},
		{"at the budget, as printed", line{name: "other", budget: 1.3}, 1.304, met},
		{"above, as printed", line{name: "other", budget: 1.3}, 1.306, missed},
		{"nothing allowed, nothing there", line{name: "other", budget: 0}, 0, met},
		{"nothing allowed", line{name: "other", budget: 0}, 1, missed},
		{"never measured", line{name: "other", budget: 1.3}, math.NaN(), notMeasured},
		{"explained", line{name: "hit", budget: 1.3}, 1.5, explained},
		{"worse than explained", line{name: "hit", budget: 1.3}, 1.51, missed},
		{"explained, and met again", line{name: "hit", budget: 1.3}, 1.3, met},
		{"a lower bound, kept", line{name: "other", budget: 0.9, atLeast: true}, 1.1, met},
		{"a lower bound, not kept", line{name: "other", budget: 0.9, atLeast: true}, 0.8, missed},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := c.line
			l.measured = c.measured
			lines := []line{l, {name: "hit", measured: math.NaN()}}
			require.NoError(t, judge(lines, explanations))
			require.Equal(t, c.want, lines[0].verdict)
			require.Equal(t, c.want == explained, lines[0].reason != "")
			require.Equal(t, c.want == missed, hasMissed(lines))
		})
	}
}

// An explanation whose line was renamed would explain nothing, unnoticed.
func TestJudgeUnknownLine(t *testing.T) {
	t.Parallel()
	require.ErrorContains(t, judge(newLines(), []explanation{{"gone", 1, "why"}}), `no line "gone"`)
}

func TestTally(t *testing.T) {
	t.Parallel()
	good, all := tally([]line{{verdict: met}, {verdict: missed}, {verdict: explained}, {verdict: notMeasured}})
	require.Equal(t, 1, good)
	require.Equal(t, 3, all)
}

func TestExplanations(t *testing.T) {
	t.Parallel()
	all, err := parseExplanations("# why\n\n hit | 1.5 | the clock | and more\n")
	require.NoError(t, err)
	require.Equal(t, []explanation{{"hit", 1.5, "the clock | and more"}}, all)
	for _, wrong := range []string{"hit | 1.5", "hit | much | why"} {
		_, err := parseExplanations(wrong)
		require.Error(t, err)
	}
	all, err = parseExplanations(explanations)
	require.NoError(t, err)
	require.NoError(t, judge(newLines(), all))
}

// A neighbour that takes the processor for a while must change no figure.
func TestInTurns(t *testing.T) {
	t.Parallel()
	var now time.Duration
	calls := 0
	c := clock{func() time.Duration { return now }, 100 * time.Microsecond}
	takes := func(ns time.Duration) func() {
		return func() {
			if calls++; calls%1000 < 400 { // the neighbour
				ns *= 5
				defer func() { ns /= 5 }()
			}
			now += ns
		}
	}
	timings := inTurns(10*time.Second, c, takes(100), takes(250))
	require.Equal(t, timing{100, 1}, timings[0])
	require.Equal(t, timing{250, 2.5}, timings[1])
}

// What is written by hand must survive.
func TestReplaceBetween(t *testing.T) {
	t.Parallel()
	page := "by hand\n" + beginMarker + "\nold\n" + endMarker + "\nthe end\n"
	want := "by hand\n" + beginMarker + "\n\nnew\n\n" + endMarker + "\nthe end\n"
	for range 2 { // writing it again changes nothing
		var err error
		page, err = replaceBetween(page, "new\n")
		require.NoError(t, err)
		require.Equal(t, want, page)
	}
	for _, wrong := range []string{"", beginMarker, endMarker, endMarker + beginMarker} {
		_, err := replaceBetween(wrong, "new")
		require.Error(t, err)
	}
}

func sample() *report {
	r := &report{lines: newLines(), chains: []chainResult{
		{timing: timing{400, 1}, limit: 400, name: "limit", statements: -1},
		{timing: timing{10, 0.03}, limit: 400, name: "no authentication", statements: -1},
		{timing: timing{500, 1.25}, limit: 400, name: "tokenauth, a <store>", ours: true, statements: 1},
		{timing: timing{50_000, 125}, limit: 400, name: "a peer", statements: -1},
	}, finds: []findResult{{"SQLite", 1000, timing{10_000, 1}, timing{10_500, 1.05}, timing{10_800, 1.08}, timing{11_000, 1.1}}}}
	r.set(lineHit, 1.25)
	if err := judge(r.lines, nil); err != nil {
		panic(err)
	}
	return r
}

// A report whose page can't be written would lose minutes of measuring at the end.
func TestWrite(t *testing.T) {
	t.Parallel()
	docs := t.TempDir()
	path := filepath.Join(docs, "performance.md")
	require.Error(t, sample().write(docs), "no page")
	require.NoError(t, os.WriteFile(path, []byte("by hand "+beginMarker+endMarker), 0o600))
	require.NoError(t, sample().write(docs))
	page, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, want := range []string{
		"by hand ", "1 of 1 budgets are met", "| hit, memory store | ≤ 1.50 × limit | 1.25 | met |", "| – | not measured |",
		"| limit | 400 | 400 | 1 | 0 | 0 | – |", "| SQLite | 1,000 | 10.0 | 11.0 | 1.05 | 1.08 | 1.10 |", "go1.", "go run ./report", "golang-jwt",
	} {
		require.Contains(t, string(page), want)
	}
	picture, err := os.ReadFile(filepath.Join(docs, "performance.svg"))
	require.NoError(t, err)
	require.Equal(t, sample().picture(), string(picture))
}

// The picture must be one that browsers show, in light and dark, with a bar and a text
// for each chain.
func TestPicture(t *testing.T) {
	t.Parallel()
	picture := sample().picture()
	decoder := xml.NewDecoder(strings.NewReader(picture))
	var bars int
	var text strings.Builder
	for {
		token, err := decoder.Token()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		switch token := token.(type) {
		case xml.StartElement:
			if token.Name.Local == "rect" {
				bars++
			}
		case xml.CharData:
			text.Write(token)
		}
	}
	require.Equal(t, 3, bars)
	for _, want := range []string{"limit", "tokenauth, a <store>", "500 ns, 1.25 × limit", "50 µs, 125 × limit", "prefers-color-scheme: dark"} {
		require.Contains(t, text.String(), want)
	}
	require.NotContains(t, text.String(), "no authentication")
	require.Contains(t, picture, `y1="48" y2="128"`, "the lines behind the bars have a length")
}

func TestBarLength(t *testing.T) {
	t.Parallel()
	require.Zero(t, barLength(50, 1e5))
	require.InDelta(t, pictureWidth-labelWidth-valueWidth, barLength(1e5, 1e5), 0.01)
	require.Less(t, barLength(400, 1e5), barLength(500, 1e5))
}

func TestCPUModel(t *testing.T) {
	t.Parallel()
	require.Equal(t, "AMD EPYC", cpuModel("processor\t: 0\nmodel name\t: AMD EPYC\n"))
	require.Equal(t, "unknown CPU", cpuModel(""))
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"7", "999", "1,000", "1,000,000"}, []string{count(7), count(999), count(1000), count(1_000_000)})
	require.Equal(t, []string{"1.30", "450", "0"}, []string{digits(1.3), digits(450), digits(0)})
}
