package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"os"
	"path/filepath"
	"strings"
)

//go:embed picture.svg.tmpl
var pictureText string

// A bar is a bar of the picture, or a line of its scale.
type bar struct {
	Label, Value, Class string
	Y                   int
	Length              float64
}

// writePicture draws the time of a request with each chain except the handler without
// authentication. The scale is logarithmic, because the times differ by a factor of more than a
// hundred.
func writePicture(docs string, r *results) error {
	var bars []bar
	slowest := 0.0
	add := func(label, class string, ns, ratio float64) {
		value := fmt.Sprintf("%s, %s × baseline", duration(ns), number(ratio))
		bars = append(bars, bar{label, value, class, 56 + 24*len(bars), ns})
		slowest = max(slowest, ns)
	}
	baseline, _ := r.summary("Request/tokenauth, memory store", "limit-ns")
	add("baseline", "other", baseline.Center, 1)
	for _, name := range r.names {
		label, ok := strings.CutPrefix(name, "Request/")
		ns, _ := r.summary(name, "ns")
		ratio, _ := r.summary(name, "x-limit")
		class := map[bool]string{true: "ours", false: "other"}[strings.HasPrefix(label, "tokenauth")]
		if ok && ratio.Center >= 1 {
			add(label, class, ns.Center, ratio.Center)
		}
	}
	length := func(ns float64) float64 { return max(0, 240*math.Log(ns/100)/math.Log(slowest/100)) }
	for i := range bars {
		bars[i].Length = length(bars[i].Length)
	}
	var scale []bar
	for ns := 100.0; ns <= slowest; ns *= 10 {
		scale = append(scale, bar{Label: duration(ns), Length: length(ns)})
	}
	var b bytes.Buffer
	bottom := 56 + 24*len(bars) // 8 below the last bar
	data := map[string]any{"Bars": bars, "Scale": scale, "Bottom": bottom, "Height": bottom + 8}
	if err := template.Must(template.New("").Parse(pictureText)).Execute(&b, data); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(docs, "performance.svg"), b.Bytes(), 0o644)
}

func duration(ns float64) string {
	if ns < 1000 {
		return number(ns) + " ns"
	}
	return number(ns/1000) + " µs"
}
