package redisstore

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// fieldsOf returns the fields and values of the hash that stores a record.
func fieldsOf(r *tokenauth.Record) []any {
	t, slot := &r.Token, r.Slot
	if !t.RevokedAt.IsZero() {
		slot = 0
	}
	retired, until := "", ""
	if r.Retired != nil {
		retired, until = string(r.Retired.Digest[:]), text(r.Retired.Until)
	}
	return []any{
		"id", t.ID, "user", t.UserID, "name", t.Name, "scopes", join(t.Scopes), "hint", t.Hint, "generation", t.Generation, "origin", t.Origin,
		"created", text(t.CreatedAt), "expires", text(t.ExpiresAt), "used", text(t.LastUsedAt), "revoked", text(t.RevokedAt),
		"resources", resourcesText(t.Resources), "created_by", t.CreatedBy, "revoked_by", t.RevokedBy,
		// A Digest hides its bytes from packages fmt and encoding/json.
		"digest", string(r.Digest[:]), "retired", retired, "until", until, "slot", slot,
	}
}

// parse returns the record with the given fields and values.
func parse(reply any) (r tokenauth.Record, err error) {
	list, _ := reply.([]any)
	fields := map[string]string{}
	for i := 0; i+1 < len(list); i += 2 {
		field, _ := list[i].(string)
		fields[field], _ = list[i+1].(string)
	}
	number := func(field string) int {
		n, numberErr := strconv.Atoi(fields[field])
		if numberErr != nil {
			err = fmt.Errorf("redisstore: field %s is not a number", field)
		}
		return n
	}
	instant := func(field string) time.Time {
		t, timeErr := parseTime(fields[field])
		if timeErr != nil {
			err = fmt.Errorf("redisstore: field %s is not a time", field)
		}
		return t
	}
	if len(fields["digest"]) != len(r.Digest) {
		return r, fmt.Errorf("redisstore: record has no digest of 32 bytes")
	}
	copy(r.Digest[:], fields["digest"])
	if fields["retired"] != "" {
		r.Retired = &tokenauth.RetiredKey{Until: instant("until")}
		copy(r.Retired.Digest[:], fields["retired"])
	}
	r.Slot = number("slot")
	r.Token = tokenauth.Token{
		ID: fields["id"], UserID: fields["user"], Name: fields["name"], Hint: fields["hint"], Generation: number("generation"), Origin: fields["origin"],
		CreatedAt: instant("created"), ExpiresAt: instant("expires"), LastUsedAt: instant("used"), RevokedAt: instant("revoked"),
		CreatedBy: fields["created_by"], RevokedBy: fields["revoked_by"],
	}
	if fields["scopes"] != "" {
		r.Token.Scopes = strings.Split(fields["scopes"], " ")
	}
	if list, restricted := strings.CutPrefix(fields["resources"], ":"); restricted {
		r.Token.Resources = strings.Split(list, " ")
	}
	if slices.Contains(r.Token.Resources, "") {
		return r, fmt.Errorf("redisstore: record has an empty resource")
	}
	return r, err
}

// join joins scopes or resources, which contain no spaces.
func join(list []string) string { return strings.Join(list, " ") }

// resourcesText returns an empty text for nil, which means all resources. The text of a list begins
// with a colon, so that an empty list never becomes nil.
func resourcesText(resources []string) string {
	if resources == nil {
		return ""
	}
	return ":" + join(resources)
}

// epoch is the number of microseconds from the year 1 to the year 1970.
var epoch = -time.Time{}.UnixMicro()

// digits returns the number of microseconds since the year 1 as 18 digits, so that the order of
// texts is the order of times.
func digits(t time.Time) string { return fmt.Sprintf("%018d", t.UnixMicro()+epoch) }

// text is like digits, but returns an empty text for the zero time and for earlier times.
func text(t time.Time) string {
	if !t.After(time.Time{}) {
		return ""
	}
	return digits(t)
}

func parseTime(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return time.UnixMicro(n - epoch).UTC(), err
}

// position returns the text by which lists of records are sorted.
func position(r *tokenauth.Record) string { return digits(r.Token.CreatedAt) + r.Token.ID }

// flag returns 1 if b is true, and 0 otherwise, because the script has no Boolean arguments.
func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}
