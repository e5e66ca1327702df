// Package bearer reads a key from the headers of a request (RFC 6750 section 2.1, RFC 9110
// section 11.6.2).
package bearer

import (
	"errors"
	"net/http"
	"strings"
)

// The reasons why a request has no key to look up.
var (
	ErrNone      = errors.New("no credentials with an accepted scheme")
	ErrMalformed = errors.New("malformed or repeated credentials")
	ErrTooLong   = errors.New("the key is longer than 1024 bytes")
)

// maxLength is the maximum length of a key in bytes. Key refuses longer keys.
const maxLength = 1024

// A Reader reads the key of a request. Its fields say which headers may hold the key.
type Reader struct {
	// Schemes are the accepted schemes of the Authorization header.
	// If it is empty, the Authorization header is ignored.
	Schemes []string

	// KeyHeader is the canonical name of a header that holds a key without a scheme. If KeyHeader
	// is empty, only the Authorization header is read.
	KeyHeader string
}

// Key returns the key in the headers h, whose names must be in canonical form. A header with an
// empty value counts as absent. Key does not check the characters of the key: see [IsKey].
func (r *Reader) Key(h http.Header) (string, error) {
	key, err := "", ErrNone
	if len(r.Schemes) > 0 {
		key, err = r.authorization(h["Authorization"])
	}
	if r.KeyHeader == "" {
		return key, err
	}
	value, single := only(h[r.KeyHeader])
	switch {
	case single && value == "":
		return key, err
	case !single || err != ErrNone: // KeyHeader is repeated, or Authorization also has credentials
		return "", ErrMalformed
	}
	return limited(value)
}

// only returns the value of a header, without the spaces around the value. If the header is absent,
// the value is empty. If the header is repeated, single is false. [http.Header.Get] would hide the
// repetition.
func only(values []string) (value string, single bool) {
	if len(values) == 0 {
		return "", true
	}
	return strings.Trim(values[0], " "), len(values) == 1
}

func (r *Reader) authorization(values []string) (string, error) {
	value, single := only(values)
	if !single {
		return "", ErrMalformed
	}
	for _, scheme := range r.Schemes {
		rest, ok := cutScheme(value, scheme)
		switch {
		case !ok:
			continue
		case rest == "" || rest[0] != ' ':
			return "", ErrMalformed
		}
		return limited(strings.TrimLeft(rest, " "))
	}
	if r.isList(value) {
		return "", ErrMalformed
	}
	return "", ErrNone
}

// cutScheme returns the part of value after the scheme. ok is false if value starts with another
// scheme. For example, "Bearers" is another scheme than "Bearer". Schemes are compared
// case-insensitively (RFC 9110 section 11.1).
func cutScheme(value, scheme string) (rest string, ok bool) {
	n := len(scheme)
	if len(value) < n || value[:n] != scheme && !strings.EqualFold(value[:n], scheme) {
		return "", false
	}
	return value[n:], len(value) == n || value[n] <= ' ' || value[n] >= 0x7f
}

// isList reports whether value has an accepted scheme after a comma. The caller has checked that
// value does not start with an accepted scheme. A header with two sets of credentials is ambiguous.
func (r *Reader) isList(value string) bool {
	for {
		_, rest, found := strings.Cut(value, ",")
		if !found {
			return false
		}
		value = rest
		for _, scheme := range r.Schemes {
			if rest, ok := cutScheme(strings.TrimLeft(value, " \t"), scheme); ok && strings.HasPrefix(rest, " ") {
				return true
			}
		}
	}
}

func limited(key string) (string, error) {
	if len(key) > maxLength {
		return "", ErrTooLong
	}
	return key, nil
}

// IsKey reports whether value can be a single key of any system: visible ASCII without spaces and
// commas.
func IsKey(value string) bool {
	return value != "" && !strings.ContainsFunc(value, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == ',' })
}
