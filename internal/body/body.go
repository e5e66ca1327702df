// Package body reads request bodies strictly. A body is a JSON object or a form. It may have only
// known members, and each member at most once.
package body

import (
	"bytes"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-tokenauth/tokenauth/internal/challenge"
	"github.com/go-tokenauth/tokenauth/internal/syntax"
)

// Members are the members that a body may have, by name. The value for a name is a pointer to the
// variable that receives the member's value. The variable has the type string, []string, int64,
// Expiry, List, *string, *[]string or *int. If the body does not have the member, the variable
// stays unchanged.
type Members map[string]any

// An Expiry is the value of a member: a time, or never. In JSON, never is null.
type Expiry struct {
	Given bool      // true if the body has the member
	At    time.Time // zero means never
}

// Never reports whether the body has the member and its value means never.
func (e *Expiry) Never() bool { return e.Given && e.At.IsZero() }

// UnmarshalJSON implements [json.Unmarshaler].
func (e *Expiry) UnmarshalJSON(text []byte) error {
	e.Given = true
	err := json.Unmarshal(text, &e.At) // null leaves At unchanged
	if err == nil && e.At.IsZero() && string(text) != "null" {
		err = errors.New("the zero time would mean never")
	}
	return err
}

// A List is the value of a JSON member: a list of strings, or null.
type List struct {
	Given bool     // true if the body has the member
	Items []string // nil for null, and not nil for an empty list
}

// UnmarshalJSON implements [json.Unmarshaler].
func (l *List) UnmarshalJSON(text []byte) error {
	l.Given = true
	return json.Unmarshal(text, &l.Items)
}

const (
	jsonType = "application/json"
	formType = "application/x-www-form-urlencoded"
)

// DecodeJSON decodes a JSON object into m. [Read] has read its text from r. Every error is a
// [*challenge.Problem].
func DecodeJSON(r *http.Request, text []byte, m Members) error {
	if _, err := mediaType(r, jsonType); err != nil {
		return err
	}
	return m.decodeJSON(text)
}

// ReadJSONOrForm reads a JSON object or a form into m. In a form, the value of a list is one text
// whose elements are separated by spaces, like scopes in RFC 6749 section 3.3. Every error is a
// [*challenge.Problem].
func ReadJSONOrForm(w http.ResponseWriter, r *http.Request, m Members) error {
	kind, err := mediaType(r, jsonType, formType)
	if err != nil {
		return err
	}
	text, err := Read(w, r)
	switch {
	case err != nil:
		return err
	case kind == jsonType:
		return m.decodeJSON(text)
	}
	return m.decodeForm(text)
}

// mediaType returns the media type of the body. It returns an error if the body is compressed or
// has another media type than the accepted ones.
func mediaType(r *http.Request, accepted ...string) (string, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || !slices.Contains(accepted, kind) || r.Header.Get("Content-Encoding") != "" {
		return "", challenge.New(http.StatusUnsupportedMediaType, "The body must be "+strings.Join(accepted, " or ")+", not compressed.")
	}
	return kind, nil
}

func bad(detail string) error { return challenge.New(http.StatusBadRequest, detail) }

// decodeJSON is stricter than encoding/json, which ignores letter case in names. If several members
// have the same name, encoding/json uses the last one. A filter in front of the service might check
// only the first one.
func (m Members) decodeJSON(text []byte) error {
	if !utf8.Valid(text) || !json.Valid(text) {
		return bad("The body is not valid JSON.")
	}
	d := json.NewDecoder(bytes.NewReader(text)) // d returns no error, because the text is valid
	if begin, _ := d.Token(); begin != json.Delim('{') {
		return bad("The body must be a JSON object.")
	}
	given := map[string]bool{}
	for d.More() {
		token, _ := d.Token()
		name, _ := token.(string)
		var value json.RawMessage
		_ = d.Decode(&value)
		if err := m.set(name, value, given[name]); err != nil {
			return err
		}
		given[name] = true
	}
	return nil
}

func (m Members) decodeForm(text []byte) error {
	form, err := url.ParseQuery(string(text))
	if err != nil {
		return bad("The body is not a valid form.")
	}
	for name, values := range form {
		var value any = values[0]
		if _, list := m[name].(*[]string); list {
			value = strings.Fields(values[0])
		}
		if m[name] != nil && !utf8.ValidString(values[0]) {
			return challenge.Member(http.StatusBadRequest, name, "must be valid UTF-8")
		}
		text, _ := json.Marshal(value) // Marshal returns no error for strings
		if err := m.set(name, text, len(values) > 1); err != nil {
			return err
		}
	}
	return nil
}

// set decodes the value of a member into its variable. If repeated is true, the body has the member
// twice, and set returns an error.
func (m Members) set(name string, value json.RawMessage, repeated bool) error {
	to, problem := m[name], ""
	_, expiry := to.(*Expiry)
	_, list := to.(*List)
	switch {
	case to == nil && !syntax.IsWord(name): // the client chose the name, so the error omits it
		return bad("The body has an unknown member.")
	case to == nil:
		problem = "is unknown"
	case repeated:
		problem = "must be given only once"
	case string(value) == "null" && !expiry && !list || json.Unmarshal(value, to) != nil:
		problem = "must be " + wanted(to)
	default:
		return nil
	}
	return challenge.Member(http.StatusBadRequest, name, problem)
}

// wanted describes the JSON values that the variable of a member accepts. The description is part
// of an error text.
func wanted(to any) string {
	switch to.(type) {
	case *[]string, **[]string, *List:
		return "an array of strings"
	case *Expiry:
		return "a time as in RFC 3339"
	case *int64, **int:
		return "a whole number"
	}
	return "a string"
}
