package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// The picture's measures.
const (
	pictureWidth = 760
	labelWidth   = 300
	valueWidth   = 160 // right of the longest bar
	barHeight    = 16
	rowHeight    = 24
	headHeight   = 56
)

const style = `
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 15px; font-weight: 600 }
.axis { font-size: 11px; fill: #59636e }
.grid { stroke: #d1d9e0 }
.ours { fill: #0969da }
.other { fill: #818b98 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .axis { fill: #9198a1 }
  .grid { stroke: #3d444d }
  .ours { fill: #4493f8 }
  .other { fill: #656c76 }
}
`

// picture draws a bar for each chain but the bare handler. The scale is logarithmic,
// or else one peer would hide all others.
func (r *report) picture() string {
	var bars []chainResult
	slowest := 0.0
	for _, c := range r.chains {
		if c.times >= 1 {
			bars = append(bars, c)
			slowest = max(slowest, c.ns)
		}
	}
	height := headHeight + rowHeight*len(bars) + 8
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-labelledby="title">`+"\n", pictureWidth, height)
	fmt.Fprintf(&b, "<title id=\"title\">Time of an authenticated request</title>\n<style>%s</style>\n", style)
	b.WriteString(`<text class="title" x="8" y="20">Time of an authenticated request, without the network (logarithmic)</text>` + "\n")
	for i, unit := range []string{"100 ns", "1 µs", "10 µs", "100 µs", "1 ms"} {
		ns := 100 * math.Pow10(i)
		if ns > slowest {
			break
		}
		x := labelWidth + barLength(ns, slowest)
		fmt.Fprintf(&b, `<line class="grid" x1="%.1f" x2="%.1[1]f" y1="%[2]d" y2="%[3]d"/>`+"\n", x, headHeight-8, height-8)
		fmt.Fprintf(&b, `<text class="axis" x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", x, headHeight-14, unit)
	}
	for i, c := range bars {
		y := headHeight + rowHeight*i
		class := "other"
		if c.ours {
			class = "ours"
		}
		length := barLength(c.ns, slowest)
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", labelWidth-8, y+13, html.EscapeString(c.name))
		fmt.Fprintf(&b, `<rect class="%s" x="%d" y="%d" width="%.1f" height="%d" rx="2"/>`+"\n", class, labelWidth, y, length, barHeight)
		fmt.Fprintf(&b, `<text x="%.1f" y="%d">%s, %s × limit</text>`+"\n", labelWidth+length+6, y+13, duration(c.ns), significant(c.times))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// barLength is 0 at 100 ns, where the scale begins.
func barLength(ns, slowest float64) float64 {
	return max(0, (pictureWidth-labelWidth-valueWidth)*math.Log(ns/100)/math.Log(slowest/100))
}

func duration(ns float64) string {
	if ns < 1000 {
		return fmt.Sprintf("%.0f ns", ns)
	}
	return significant(ns/1000) + " µs"
}

// significant writes small numbers with decimals and others without.
func significant(f float64) string {
	if f < 10 {
		return fmt.Sprintf("%.2f", f)
	}
	return fmt.Sprintf("%.0f", f)
}
