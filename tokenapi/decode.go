package tokenapi

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-tokenauth/tokenauth/internal/syntax"
)

const (
	maxBody  = 64 << 10 // bytes
	typeJSON = "application/json"
	typeForm = "application/x-www-form-urlencoded"
)

// members are those that a body may have, with a pointer each to where its value
// goes: to a string, a []string, an int, an int64, a pointer to one, or an expiry.
type members map[string]any

// An expiry is a time, or null for never.
type expiry struct {
	given bool
	at    time.Time // zero: never
}

func (e *expiry) never() bool { return e.given && e.at.IsZero() }

func (e *expiry) UnmarshalJSON(text []byte) error {
	e.given = true
	if string(text) == "null" {
		return nil
	}
	if err := json.Unmarshal(text, &e.at); err != nil {
		return err
	}
	if e.at.IsZero() { // which would be taken for never
		return errors.New("the year 1")
	}
	return nil
}

// readJSON reads the body of a request, which must be one JSON object.
func readJSON(w http.ResponseWriter, r *http.Request, m members) error {
	_, body, err := readBody(w, r, typeJSON)
	if err != nil {
		return err
	}
	return decodeJSON(body, m)
}

// hasBody reports whether a request has a body, of whatever type: some clients give one
// to every request. A body whose length was told and that was lost on the way is no empty one.
func hasBody(r *http.Request) bool {
	if r.Body == nil {
		return false
	}
	body := bufio.NewReaderSize(r.Body, 16)
	_, err := body.Peek(1)
	r.Body = struct {
		io.Reader
		io.Closer
	}{body, r.Body}
	return err != io.EOF || r.ContentLength > 0
}

// readBody returns the media type, which is one of those accepted, and the body.
func readBody(w http.ResponseWriter, r *http.Request, accepted ...string) (string, []byte, error) {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || !slices.Contains(accepted, mediaType) || r.Header.Get("Content-Encoding") != "" {
		return "", nil, refuse(http.StatusUnsupportedMediaType, "The body must be "+strings.Join(accepted, " or ")+", not compressed.")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return "", nil, refuse(http.StatusRequestEntityTooLarge, "The body is larger than 64 KiB.")
	case err != nil:
		return "", nil, refuse(http.StatusBadRequest, "The body did not arrive whole.")
	}
	return mediaType, body, nil
}

// decodeJSON is stricter than encoding/json, which takes members in any letter
// case and the last of those given twice: then two readers of one body, such as a
// filter in front of the service, would see two different requests.
func decodeJSON(body []byte, m members) error {
	if !utf8.Valid(body) || !json.Valid(body) {
		return refuse(http.StatusBadRequest, "The body is not valid JSON.")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if begin, err := d.Token(); err != nil || begin != json.Delim('{') {
		return refuse(http.StatusBadRequest, "The body must be a JSON object.")
	}
	seen := map[string]bool{}
	for d.More() {
		name, err := d.Token()
		var value json.RawMessage
		if err == nil {
			err = d.Decode(&value)
		}
		if err != nil {
			return refuse(http.StatusBadRequest, "The body is not valid JSON.")
		}
		member := name.(string) // as it must be in valid JSON
		if err := m.check(member, seen[member]); err != nil {
			return err
		}
		seen[member] = true
		_, nullable := m[member].(*expiry)
		if string(value) == "null" && !nullable || json.Unmarshal(value, m[member]) != nil {
			return badMember(member, "must be "+wanted(m[member]))
		}
	}
	return nil
}

// decodeForm takes scopes as one list with spaces (RFC 6749 section 3.3).
func decodeForm(body []byte, m members) error {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return refuse(http.StatusBadRequest, "The body is not a valid form.")
	}
	for name, values := range form {
		if err := m.check(name, len(values) > 1); err != nil {
			return err
		}
		value := values[0]
		if !utf8.ValidString(value) {
			return badMember(name, "must be valid UTF-8")
		}
		switch to := m[name].(type) {
		case *string:
			*to = value
		case *[]string:
			*to = strings.Fields(value)
		case *expiry: // a form has no null
			to.given = true
			if err := to.at.UnmarshalText([]byte(value)); err != nil || to.at.IsZero() { // stricter than time.Parse
				return badMember(name, "must be a time as of RFC 3339")
			}
		}
	}
	return nil
}

// check refuses a member that is unknown or given twice.
func (m members) check(name string, again bool) error {
	switch {
	case m[name] == nil && syntax.IsWord(name):
		return badMember(name, "unknown")
	case m[name] == nil: // not to be repeated
		return refuse(http.StatusBadRequest, "The body has an unknown member.")
	case again:
		return badMember(name, "given more than once")
	}
	return nil
}

func wanted(to any) string {
	switch to.(type) {
	case *[]string, **[]string:
		return "an array of strings"
	case *expiry:
		return "a time as of RFC 3339, or null"
	case *int64, **int:
		return "a whole number"
	}
	return "a string"
}
