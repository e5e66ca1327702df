package history

import (
	"fmt"
	"hash/maphash"
	"strings"
)

// mostPositions limits the memory and the time of a search. Few histories have more positions.
const mostPositions = 300_000

// explains reports whether the calls, in an order that agrees with the order in which they began
// and ended, lead to their results and to the final state. If the search has too many positions,
// explains returns true.
func explains(all [][]*call, initial state, final map[string]string) bool {
	seen, hashed := map[uint64]bool{}, maphash.MakeSeed()
	var search func(s state, at [threads]int, progresses [threads]progress) bool
	search = func(s state, at [threads]int, progresses [threads]progress) bool {
		position := maphash.String(hashed, fmt.Sprint(s, at, progresses))
		if seen[position] {
			return false
		}
		seen[position] = true
		if len(seen) > mostPositions {
			return true
		}
		firstEnd, done := int64(1)<<62, true
		for i, thread := range all {
			if at[i] < len(thread) {
				firstEnd, done = min(firstEnd, thread[at[i]].to), false
			}
		}
		if done {
			return s.matches(final)
		}
		for i, thread := range all {
			if at[i] == len(thread) || thread[at[i]].from > firstEnd {
				continue
			}
			c := thread[at[i]]
			nexts := c.step(s, progresses[i])
			if c.faults && strings.HasPrefix(c.got, lost) { // the call may have ended before this step
				for k := range nexts {
					if nexts[k].got != "" {
						nexts[k].got = c.got
					}
				}
				nexts = append(nexts, next{state: s, got: c.got})
			}
			for _, n := range nexts {
				if n.got != "" && n.got != c.got {
					continue
				}
				after, positions := at, progresses
				positions[i] = n.progress
				if n.got != "" {
					after[i]++
					positions[i] = progress{}
				}
				if search(n.state, after, positions) {
					return true
				}
			}
		}
		return false
	}
	return search(initial, [threads]int{}, [threads]progress{})
}

// describe returns a history for the report of an error. Keys are replaced by their last
// characters.
func describe(all [][]*call, initial state, final map[string]string) string {
	short := func(key string) string { return key[max(0, len(key)-4):] }
	var b strings.Builder
	for _, t := range initial {
		fmt.Fprintf(&b, "  initial %s %s [%s] key %s\n", t.id[:4], t.name, t.scopes, short(t.current))
	}
	for i, thread := range all {
		for _, c := range thread {
			fmt.Fprintf(&b, "  T%d [%d,%d] %s by %d: token %s, key %s, name %q, scopes %v, grace %v -> %s (key %s)\n",
				i, c.from, c.to, c.kind, c.through, c.id[:4], short(c.key), c.name, c.scopes, c.grace, c.got, short(c.newKey))
		}
	}
	for what, got := range final {
		if key, ok := strings.CutPrefix(what, "key "); ok {
			what = "key " + short(key)
		}
		fmt.Fprintf(&b, "  final %s: %s\n", what, got)
	}
	return b.String()
}
