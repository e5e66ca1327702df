package storetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
)

// A failure message must name the field and both values, with the time zone of a time. Otherwise an
// author looks for the defect in the wrong place.
func TestMessagesNameFieldAndBothValues(t *testing.T) {
	t.Parallel()
	east := time.FixedZone("EST", 2*3600)
	foo, bar := full("Foo"), createdAt(1, "Bar")
	for name, c := range map[string]struct {
		change func(*tokenauth.Record)
		want   string
	}{
		"a time in another zone": {func(r *tokenauth.Record) { r.Token.CreatedAt = start.In(east) },
			`Token.CreatedAt is 2026-03-01T14:00:00+02:00 in location "EST", want 2026-03-01T12:00:00Z, in time.UTC (call the UTC method of the time)`},
		"another time in another zone": {func(r *tokenauth.Record) { r.Token.CreatedAt = after(60).In(east) },
			`Token.CreatedAt is 2026-03-01T15:00:00+02:00 in location "EST", want 2026-03-01T12:00:00Z, in time.UTC (call the UTC method of the time)`},
		"another time": {func(r *tokenauth.Record) { r.Token.RevokedAt = start },
			`Token.RevokedAt is 2026-03-01T12:00:00Z, want zero`},
		"another time of a retired key": {func(r *tokenauth.Record) { r.Retired.Until = time.Time{} },
			`Retired.Until is zero, want 2026-03-01T13:00:00Z`},
		"no retired key": {func(r *tokenauth.Record) { r.Retired = nil },
			`Retired is nil, want a key with digest cb985927… until 2026-03-01T13:00:00Z`},
		"another slot":  {func(r *tokenauth.Record) { r.Slot = 8 }, `Slot is 8, want 7`},
		"no scopes":     {func(r *tokenauth.Record) { r.Token.Scopes = nil }, `Token.Scopes is tokenauth.Scopes(nil), want tokenauth.Scopes{"orders:read", "orders:write"}`},
		"another owner": {func(r *tokenauth.Record) { r.Token.UserID = bob }, `Token.UserID is "bob", want "alice"`},
	} {
		got := kept(foo)
		c.change(&got)
		require.Equal(t, c.want, diff(got, foo), name)
	}

	require.Contains(t, listDiff([]tokenauth.Record{bar, foo}, []tokenauth.Record{foo, bar}),
		`the right records in the wrong order: record 1 of 2 is "Bar" of user "alice" (CreatedAt 2026-03-01T12:01:00Z, ID `)
	require.Contains(t, listDiff([]tokenauth.Record{bar}, []tokenauth.Record{foo, bar}), `1 records, want 2; the first missing record is "Foo"`)
	require.Contains(t, listDiff([]tokenauth.Record{foo, bar}, []tokenauth.Record{bar}), `2 records, want 1; the first unwanted record is "Foo"`)
	require.Contains(t, listDiff([]tokenauth.Record{foo, foo}, []tokenauth.Record{foo}), `a record twice: "Foo"`)
}
