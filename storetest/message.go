package storetest

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// This file formats the failure messages. A message names the field that is wrong, with the value
// that the store returned and the value that the test case wants.

// describe returns a description of err for a failure message. The description has the
// names of the sentinel errors that err wraps, if any, and the text of err in quotes.
func describe(err error) string {
	var names []string
	for _, sentinel := range sentinelsOf(err) {
		names = append(names, sentinelNames[sentinel])
	}
	switch {
	case err == nil:
		return "no error"
	case len(names) > 0:
		return fmt.Sprintf("%s (%q)", strings.Join(names, " and "), err)
	}
	return fmt.Sprintf("the error %q", err)
}

func describeWanted(want error) string {
	if want == nil {
		return "no error"
	}
	return sentinelNames[want]
}

// describeQuery formats q for a failure message. It omits the fields with a zero value.
func describeQuery(q tokenauth.Query) string {
	var set []string
	v := reflect.ValueOf(q)
	for i := range v.NumField() {
		if f := v.Field(i); !f.IsZero() {
			set = append(set, fmt.Sprintf("%s: %v", v.Type().Field(i).Name, f.Interface()))
		}
	}
	return "Query{" + strings.Join(set, ", ") + "}"
}

// place formats a record for a failure message. The text includes CreatedAt and the ID,
// which determine the position of the record in a list.
func place(r tokenauth.Record) string {
	return fmt.Sprintf("%q of user %q (CreatedAt %s, ID %s)", r.Token.Name, r.Token.UserID, timeText(r.Token.CreatedAt), r.Token.ID)
}

// listDiff describes the first difference that it finds between the records that List returned and
// the records that it should return. If there is no difference, listDiff returns an empty string.
func listDiff(got, want []tokenauth.Record) string {
	wanted, seen := map[string]bool{}, map[string]bool{}
	for _, r := range want {
		wanted[r.Token.ID] = true
	}
	for _, r := range got {
		switch {
		case seen[r.Token.ID]:
			return fmt.Sprintf("a record twice: %s", place(r))
		case !wanted[r.Token.ID]:
			return fmt.Sprintf("%d records, want %d; the first unwanted record is %s", len(got), len(want), place(r))
		}
		seen[r.Token.ID] = true
	}
	for _, r := range want {
		if !seen[r.Token.ID] {
			return fmt.Sprintf("%d records, want %d; the first missing record is %s", len(got), len(want), place(r))
		}
	}
	for i, r := range got {
		if r.Token.ID != want[i].Token.ID {
			return fmt.Sprintf("the right records in the wrong order: record %d of %d is %s, want %s (the order is CreatedAt, then ID)",
				i+1, len(got), place(r), place(want[i]))
		}
		if difference := diff(r, want[i]); difference != "" {
			return fmt.Sprintf("a wrong record %q: %s", r.Token.Name, difference)
		}
	}
	return ""
}

// diff describes the first difference that it finds between the records got and want. If
// the records are equal, diff returns an empty string.
func diff(got, want tokenauth.Record) string {
	switch {
	case got.Token.ID != want.Token.ID:
		return fmt.Sprintf("the record is %s, want %s", place(got), place(want))
	case got.Digest != want.Digest:
		return fmt.Sprintf("Digest is %x…, want %x…", got.Digest[:4], want.Digest[:4])
	case (got.Retired == nil) != (want.Retired == nil),
		got.Retired != nil && got.Retired.Digest != want.Retired.Digest:
		return fmt.Sprintf("Retired is %s, want %s", retiredText(got.Retired), retiredText(want.Retired))
	case got.Retired != nil && !same(got.Retired.Until, want.Retired.Until):
		return fieldDiff("Retired.Until", got.Retired.Until, want.Retired.Until)
	case got.Slot != want.Slot:
		return fieldDiff("Slot", got.Slot, want.Slot)
	}
	a, b := reflect.ValueOf(got.Token), reflect.ValueOf(want.Token)
	for i := range a.NumField() {
		if x, y := a.Field(i).Interface(), b.Field(i).Interface(); !same(x, y) {
			return fieldDiff("Token."+a.Type().Field(i).Name, x, y)
		}
	}
	return ""
}

// retiredText formats a retired key, which may be nil.
func retiredText(k *tokenauth.RetiredKey) string {
	if k == nil {
		return "nil"
	}
	return fmt.Sprintf("a key with digest %x… until %s", k.Digest[:4], timeText(k.Until))
}

// fieldDiff describes for a failure message a field whose value is got instead of want.
func fieldDiff(field string, got, want any) string {
	t, ok := got.(time.Time)
	if !ok {
		return fmt.Sprintf("%s is %#v, want %#v", field, got, want)
	}
	difference := fmt.Sprintf("%s is %s, want %s", field, timeText(t), timeText(want.(time.Time)))
	if t.Location() != time.UTC {
		difference += ", in time.UTC (call the UTC method of the time)"
	}
	return difference
}

// timeText formats a time with its offset from UTC. If the location of the time is not time.UTC,
// the text also has the name of the location.
func timeText(t time.Time) string {
	text := t.Format(time.RFC3339Nano)
	if t.IsZero() {
		text = "zero"
	}
	if t.Location() != time.UTC {
		text += fmt.Sprintf(" in location %q", t.Location())
	}
	return text
}

// same reports whether the field values got and want are equal. If the values are times,
// got must be the same instant as want, and the location of got must be time.UTC.
func same(got, want any) bool {
	if t, ok := got.(time.Time); ok {
		return t.Equal(want.(time.Time)) && t.Location() == time.UTC
	}
	return reflect.DeepEqual(got, want)
}
