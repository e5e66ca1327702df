package main

import (
	"cmp"
	"errors"
	"io"
	"strings"

	"golang.org/x/perf/benchfmt"
	"golang.org/x/perf/benchmath"
)

// results are the measurements of all benchmarks, in the order of the first line of each benchmark.
type results struct {
	names  []string
	values map[string]map[string][]float64 // by name and unit
	config map[string]string               // such as cpu and goos
}

// parse reads the output of go test -bench. The name of a benchmark loses the prefix Benchmark and
// the number of processors, and gets back the spaces that go test replaces by underscores.
func parse(r io.Reader) (*results, error) {
	all := &results{values: map[string]map[string][]float64{}, config: map[string]string{}}
	reader := benchfmt.NewReader(r, "go test -bench")
	for reader.Scan() {
		switch record := reader.Result().(type) {
		case *benchfmt.SyntaxError:
			return nil, record
		case *benchfmt.Result:
			all.add(record)
		}
	}
	if len(all.names) == 0 {
		return nil, cmp.Or(reader.Err(), errors.New("the output of go test contains no results"))
	}
	return all, reader.Err()
}

func (r *results) add(record *benchfmt.Result) {
	base, parts := record.Name.Parts()
	name := string(base)
	for _, part := range parts {
		if part[0] != '-' { // the number of processors
			name += string(part)
		}
	}
	name = strings.ReplaceAll(name, "_", " ")
	if r.values[name] == nil {
		r.names = append(r.names, name)
		r.values[name] = map[string][]float64{}
	}
	for _, v := range record.Values {
		if v.OrigUnit != "" { // benchfmt converts some units
			v.Unit, v.Value = v.OrigUnit, v.OrigValue
		}
		r.values[name][v.Unit] = append(r.values[name][v.Unit], v.Value)
	}
	for _, c := range record.Config {
		r.config[c.Key] = string(c.Value)
	}
}

// summary returns the median of all runs of a benchmark and the confidence interval of 95 percent.
// It returns false if the benchmark was not measured.
func (r *results) summary(name, unit string) (benchmath.Summary, bool) {
	values := r.values[name][unit]
	if len(values) == 0 {
		return benchmath.Summary{}, false
	}
	return benchmath.AssumeNothing.Summary(benchmath.NewSample(values, &benchmath.DefaultThresholds), 0.95), true
}
