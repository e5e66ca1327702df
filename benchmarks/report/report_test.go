package main

import (
	"encoding/xml"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// output is what go test -bench prints, with two results of one benchmark.
const output = `goos: linux
goarch: amd64
cpu: AMD EPYC
BenchmarkRequest/no_authentication-2        	 100	   245.0 limit-ns	 10.00 ns	 0.04000 x-limit
BenchmarkRequest/tokenauth,_memory_store-2  	 100	   200.0 limit-ns	 300.0 ns	 1.500 x-limit	 368 B/op	 2 allocs/op
BenchmarkRequest/tokenauth,_memory_store-2  	 100	   240.0 limit-ns	 360.0 ns	 1.700 x-limit	 368 B/op	 2 allocs/op
BenchmarkRequest/a_<peer>-2                 	 100	   240.0 limit-ns	 36000 ns	 150.4 x-limit
BenchmarkFind/SQLite_(modernc)/1000_rows/both_digests-2 	 9	 10000 limit-ns	 10500 ns	 1.050 x-limit
BenchmarkFind/SQLite_(modernc)/1000_rows/Find-2         	 9	 10000 limit-ns	 11000 ns	 1.100 x-limit
PASS
`

func parsed(t *testing.T, text string) *results {
	t.Helper()
	r, err := parse(strings.NewReader(text))
	require.NoError(t, err)
	return r
}

// If the report misread the output of go test, it would judge and publish wrong numbers.
func TestParseReadsBenchmarkOutput(t *testing.T) {
	t.Parallel()
	r := parsed(t, output)
	require.Equal(t, []string{
		"Request/no authentication", "Request/tokenauth, memory store", "Request/a <peer>",
		"Find/SQLite (modernc)/1000 rows/both digests", "Find/SQLite (modernc)/1000 rows/Find",
	}, r.names)
	for unit, want := range map[string]float64{"x-limit": 1.6, "ns": 330, "limit-ns": 220, "B/op": 368, "allocs/op": 2} {
		summary, ok := r.summary("Request/tokenauth, memory store", unit)
		require.True(t, ok, unit)
		require.InDelta(t, want, summary.Center, 1e-9, unit)
	}
	_, ok := r.summary("Request/no authentication", "allocs/op")
	require.False(t, ok)
	require.Equal(t, "AMD EPYC", r.config["cpu"])
	for _, wrong := range []string{"", "PASS\n", "BenchmarkA 1 x ns/op\n"} {
		_, err := parse(strings.NewReader(wrong))
		require.Error(t, err, wrong)
	}
}

// A wrong outcome would hide a slow version of the library, or reject a fast one.
func TestJudgeComparesWithBothBounds(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"≤ 1.7":                      met,
		"≤ 1.6":                      met,
		"≤ 1.59":                     missed,
		"≤ 1.5 | ≤ 1.6 | the clock":  explained,
		"≤ 1.5 | ≤ 1.55 | the clock": missed,
		"≤ 1.7 | ≤ 1.8 | the clock":  met,
		"≥ 1.6":                      met,
		"≥ 1.61":                     missed,
		"≥ 2 | ≥ 1.5 | the clock":    explained,
	} {
		budgets, err := parseBudgets("Request/tokenauth, memory store | x-limit | " + line + "\nnot run | ns | ≤ 1\n")
		require.NoError(t, err)
		require.NoError(t, judge(budgets, parsed(t, output)))
		require.Equal(t, want, budgets[0].outcome, line)
		require.Equal(t, notMeasured, budgets[1].outcome)
		good, all, ok := tally(budgets[:1], false)
		require.Equal(t, []any{want == met, 1, want != missed}, []any{good == 1, all, ok})
		_, _, ok = tally(budgets, false)
		require.False(t, ok, "a budget is not measured")
		_, _, ok = tally(budgets, true)
		require.True(t, ok, "a quick run judges no ratio")
	}
	require.True(t, bound{value: 1.3}.allows(1.304), "the tables show 1.3")
	require.False(t, bound{value: 1.3}.allows(1.306), "the tables show 1.31")
	require.True(t, bound{value: 450}.allows(450.4), "the tables show 450")
	budgets, err := parseBudgets("Request/a <peer> | allocs/op | ≤ 1")
	require.NoError(t, err)
	require.ErrorContains(t, judge(budgets, parsed(t, output)), "no metric allocs/op")
}

// If a line of budgets.txt were ignored, nobody would notice a missed budget.
func TestParseBudgetsRefusesBadLines(t *testing.T) {
	t.Parallel()
	for _, wrong := range []string{
		"a | ns", "a | ns | 1.5", "a | ns | < 1", "a | ns | ≤ x", "a | ns | ≤ 1 | ≤ 2",
		"a | ns | ≤ 1 | 2 | why", "a | ns | ≤ 1 | ≤ 2 |", "a | ns | ≤ 1\na | ns | ≤ 2",
	} {
		_, err := parseBudgets(wrong)
		require.Error(t, err, wrong)
	}
}

// A budget whose benchmark was renamed would never be measured again.
func TestBudgetsNameExistingBenchmarks(t *testing.T) {
	t.Parallel()
	budgets, err := parseBudgets(budgetsText)
	require.NoError(t, err)
	require.Greater(t, len(budgets), 40)
	if testing.Short() {
		t.Skip("builds the benchmarks")
	}
	_, err = os.ReadDir("..") // the cache of test results depends on what the test itself reads
	require.NoError(t, err)
	names, err := exec.Command("go", "test", "-run", "^$", "-bench", ".", "-benchtime", "1x", "..", "-args", "-names").CombinedOutput()
	require.NoError(t, err, string(names))
	r := parsed(t, string(names))
	for _, b := range budgets {
		require.Contains(t, r.names, b.name)
	}
	for _, s := range sections {
		require.NotEmpty(t, s.render(r), s.benchmark)
	}
}

// The report must change documents only with -write, and must then keep the text that people wrote.
func TestReportWritesOnlyOnRequest(t *testing.T) {
	t.Parallel()
	docs := t.TempDir()
	in, path := filepath.Join(docs, "output"), filepath.Join(docs, "performance.md")
	read := func() string {
		page, err := os.ReadFile(path)
		require.NoError(t, err)
		return string(page)
	}
	require.NoError(t, os.WriteFile(in, []byte(output), 0o600))
	before := "by hand\n" + beginMarker + "\nold\n" + endMarker + "\nthe end\n"
	require.NoError(t, os.WriteFile(path, []byte(before), 0o600))
	var out strings.Builder
	ok, err := report(&out, false, in, false, docs)
	require.NoError(t, err)
	require.False(t, ok, "a budget is missed")
	require.True(t, strings.HasSuffix(out.String(), "\n2 of 3 budgets met\n"))
	require.Equal(t, before, read())
	require.NoFileExists(t, filepath.Join(docs, "performance.svg"))
	_, err = report(io.Discard, true, in, true, docs)
	require.ErrorContains(t, err, "-quick")
	for range 2 {
		_, err = report(io.Discard, false, in, true, docs)
		require.NoError(t, err)
	}
	for _, want := range []string{
		"by hand\n", "\nthe end\n", "AMD EPYC", "2 of 3 budgets are met", "| – | – | not measured |",
		"| Request/tokenauth, memory store | x-limit | ≤ 1.5 | 1.6 | ∞ | **missed** |",
		"| tokenauth, memory store | 330 | 220 | 1.6 | 368 | 2 | – |",
		"| SQLite (modernc), 1000 rows | 10,000 | 11,000 | 1.05 | – | 1.1 |",
	} {
		require.Contains(t, read(), want)
	}
	require.NotContains(t, read(), "old")
	require.NoError(t, os.WriteFile(path, []byte("no markers"), 0o600))
	_, err = report(io.Discard, false, in, true, docs)
	require.ErrorContains(t, err, "markers")
}

// The picture must be XML that browsers show, in light and dark, with one bar per chain.
func TestPictureHasOneBarPerChain(t *testing.T) {
	t.Parallel()
	docs := t.TempDir()
	require.NoError(t, writePicture(docs, parsed(t, output)))
	text, err := os.ReadFile(filepath.Join(docs, "performance.svg"))
	require.NoError(t, err)
	var picture struct {
		Style string `xml:"style"`
		Bars  []struct {
			Text []string `xml:"text"`
		} `xml:"g>g"`
	}
	require.NoError(t, xml.Unmarshal(text, &picture))
	require.Contains(t, picture.Style, "prefers-color-scheme: dark")
	require.Len(t, picture.Bars, 3) // the bare handler has none
	require.Equal(t, []string{"baseline", "220 ns, 1 × baseline"}, picture.Bars[0].Text)
	require.Equal(t, []string{"tokenauth, memory store", "330 ns, 1.6 × baseline"}, picture.Bars[1].Text)
	require.Equal(t, []string{"a <peer>", "36 µs, 150 × baseline"}, picture.Bars[2].Text)
}
