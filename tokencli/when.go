package tokencli

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// A direction says whether a duration leads to a time in the future or in the past.
type direction int

const (
	ahead direction = 1
	back  direction = -1
)

// parseTime parses a duration, a time or a date. A duration is relative to now, in the direction d.
// A date is in UTC. With the direction ahead, a date means the last second of the day, so that a
// token is valid on the day of its expiry. With the direction back, a date means the start of the
// day.
func parseTime(text string, now time.Time, d direction) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		if d == ahead {
			t = t.Add(day - time.Second)
		}
		return t, nil
	}
	length, err := parseDuration(text)
	if err != nil {
		return time.Time{}, errors.New("must be a duration (such as 90d, 2w or 12h), a date (2027-01-31) or a time (RFC 3339)")
	}
	return now.Add(time.Duration(d) * length), nil
}

// parseDuration parses whole days ("90d"), whole weeks ("2w"), and the durations of
// time.ParseDuration. It refuses negative durations.
func parseDuration(text string) (time.Duration, error) {
	for suffix, unit := range map[string]time.Duration{"d": day, "w": 7 * day} {
		if number, ok := strings.CutSuffix(text, suffix); ok {
			n, err := strconv.ParseUint(number, 10, 64)
			if err != nil || n > uint64(math.MaxInt64/unit) {
				return 0, errDuration
			}
			return time.Duration(n) * unit, nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, errDuration
	}
	return d, nil
}

// short returns the shortest text for d that parseDuration parses, such as "36h" instead of
// "36h0m0s".
func short(d time.Duration) string {
	if d > 0 && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	text := d.String()
	for _, zero := range []string{"0s", "0m"} {
		if d%time.Minute == 0 && strings.HasSuffix(text, "m"+zero) || d%time.Hour == 0 && strings.HasSuffix(text, "h"+zero) {
			text = strings.TrimSuffix(text, zero)
		}
	}
	return text
}

var errDuration = errors.New("must be a duration, such as 90d, 2w or 12h")

// units are the units of relative times, from long to short.
var units = []struct {
	name   string
	length time.Duration
	least  float64 // smallest number of this unit; shorter times are expressed in the next unit
}{
	{"year", 365 * day, 2}, {"month", 30 * day, 4}, {"day", day, 2}, {"hour", time.Hour, 2}, {"minute", time.Minute, 2}, {"second", time.Second, 0},
}

// relative returns a time relative to now, such as "in 12 days" or "3 hours ago". For the zero
// time, it returns "never".
func (c *cli) relative(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	now := c.options.Now()
	// A time.Duration cannot represent more than 292 years.
	seconds := float64(t.Unix()-now.Unix()) + float64(t.Nanosecond()-now.Nanosecond())/1e9
	text := ""
	for _, u := range units {
		n := math.Abs(seconds) / u.length.Seconds()
		if n < u.least {
			continue
		}
		rounded := int(math.Round(n))
		text = fmt.Sprint(rounded, " ", u.name)
		if rounded != 1 {
			text += "s"
		}
		break
	}
	switch {
	case strings.HasPrefix(text, "0 "):
		return "now"
	case seconds > 0:
		return "in " + text
	}
	return text + " ago"
}

// absolute formats a time in UTC, followed by the relative time. For the zero time, it returns
// "never".
func (c *cli) absolute(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC") + " (" + c.relative(t) + ")"
}
