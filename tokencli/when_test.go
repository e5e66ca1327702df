package tokencli

import (
	"bytes"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

// A relative time must not be far from the exact time. An operator who reads "in 3 months" must not
// find the token expired after two months.
func TestRelativeTimeIsNotTooLong(t *testing.T) {
	t.Parallel()
	c := &cli{options: Options{Now: func() time.Time { return noon }}}
	for distance, want := range map[time.Duration]string{
		0:                            "now",
		400 * time.Millisecond:       "now",
		time.Second:                  "in 1 second",
		-time.Second:                 "1 second ago",
		90 * time.Second:             "in 90 seconds",
		-3 * time.Hour:               "3 hours ago",
		3*time.Hour - 1:              "in 3 hours",
		47 * time.Hour:               "in 47 hours",
		90*day - time.Microsecond:    "in 90 days",
		-12 * day:                    "12 days ago",
		365*day - time.Microsecond:   "in 12 months",
		3 * 365 * day:                "in 3 years",
		-(3*365*day + time.Second):   "3 years ago",
		120*day + time.Microsecond:   "in 4 months",
		-(120*day - time.Nanosecond): "120 days ago",
	} {
		require.Equal(t, want, c.relative(noon.Add(distance)), distance)
	}
	require.Equal(t, "never", c.relative(time.Time{}))
	require.Equal(t, "in 7979 years", c.relative(time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)))
}

// A token must not expire a day early, and Prune must not delete a token a day early.
func TestParseTimeKeepsWholeDay(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]time.Time{ // ahead and back
		"90d":                       {noon.AddDate(0, 0, 90), noon.AddDate(0, 0, -90)},
		"2w":                        {noon.AddDate(0, 0, 14), noon.AddDate(0, 0, -14)},
		"1h30m":                     {noon.Add(90 * time.Minute), noon.Add(-90 * time.Minute)},
		"0d":                        {noon, noon},
		"2027-01-31":                {time.Date(2027, 1, 31, 23, 59, 59, 0, time.UTC), time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)},
		"2027-01-31T10:00:00+02:00": {time.Date(2027, 1, 31, 8, 0, 0, 0, time.UTC), time.Date(2027, 1, 31, 8, 0, 0, 0, time.UTC)},
	} {
		for i, d := range []direction{ahead, back} {
			got, err := parseTime(text, noon, d)
			require.NoError(t, err, text)
			require.True(t, want[i].Equal(got), "%s: %v", text, got)
		}
	}
	for _, text := range []string{"", "d", "-1d", "1.5d", "-1h", "99999999999d", "18446744073709551616d", "soon", "2027-02-30", "90", "31.1.2027"} {
		_, err := parseTime(text, noon, ahead)
		require.Error(t, err, text)
	}
}

// The progress of an import must not fill a log with thousands of lines. On a terminal, it must
// change often.
func TestProgressLimitsOutput(t *testing.T) {
	t.Parallel()
	for rewrites, want := range map[bool]string{
		true:  "\r\x1b[Kread 2, 0s\r\x1b[Kread 3, 0s\r\x1b[Kread 1000, 10s\r\x1b[K",
		false: "read 1000, 10s\n",
	} {
		var out bytes.Buffer
		cmd := &cobra.Command{}
		cmd.SetErr(&out)
		now := noon
		p := newProgress(cmd, func() time.Time { return now })
		p.rewrites = rewrites
		p.show("read %d", 1)
		now = now.Add(rewriteEvery)
		p.show("read %d", 2)
		now = now.Add(rewriteEvery)
		p.show("read %d", 3)
		p.show("read %d", 4)
		now = noon.Add(lineEvery)
		p.show("read %d", 1000)
		p.clear()
		p.clear()
		require.Equal(t, want, out.String())
	}
}
