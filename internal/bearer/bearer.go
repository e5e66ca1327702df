// Package bearer takes a key from the headers of a request (RFC 6750 section 2.1).
package bearer

import (
	"errors"
	"net/http"
	"strings"
)

// Schemes are those accepted in the Authorization header: Bearer of RFC 6750, and
// the one that clients of Django REST Framework and knox send.
var Schemes = []string{"Bearer", "Token"}

// Why there is no key to look at.
var (
	ErrNone      = errors.New("no credentials of ours")
	ErrMalformed = errors.New("malformed, or more than one")
	ErrTooLong   = errors.New("too long for any key")
)

const maxLength = 1024 // bytes of a key that are looked at

// Key returns the key in h: in Authorization under one of the schemes, in any
// letter case, or alone in the header named keyHeader, if it is not empty. Both
// names must be in canonical form. What it returns is not yet known to be one
// key: see IsKey.
func Key(h http.Header, keyHeader string) (string, error) {
	key, err := fromAuthorization(h["Authorization"])
	if keyHeader == "" {
		return key, err
	}
	values := h[keyHeader]
	switch {
	case len(values) == 0:
		return key, err
	case len(values) > 1 || err != ErrNone: // twice, or in two places
		return "", ErrMalformed
	}
	return trim(values[0])
}

func fromAuthorization(values []string) (string, error) {
	if len(values) == 0 {
		return "", ErrNone
	}
	if len(values) > 1 { // Header.Get would hide the second
		return "", ErrMalformed
	}
	value := values[0]
	if value != "" && value[0] == ' ' {
		value = strings.TrimLeft(value, " ")
	}
	for _, scheme := range Schemes {
		n := len(scheme)
		if len(value) < n || value[:n] != scheme && !strings.EqualFold(value[:n], scheme) {
			continue
		}
		switch {
		case len(value) == n:
			return "", ErrMalformed
		case value[n] == ' ':
			return trim(value[n+1:])
		case value[n] < ' ' || value[n] >= 0x7f: // a tab, a control or non-ASCII byte
			return "", ErrMalformed
		}
	}
	return "", ErrNone
}

// trim returns what is left of value without the spaces around it.
func trim(value string) (string, error) {
	if value != "" && (value[0] == ' ' || value[len(value)-1] == ' ') {
		value = strings.Trim(value, " ")
	}
	if len(value) > maxLength {
		return "", ErrTooLong
	}
	if value == "" {
		return "", ErrMalformed
	}
	return value, nil
}

// IsKey reports whether value is one key and can be one of any system: visible
// ASCII, no space, and no comma, which would be between two.
func IsKey(value string) bool {
	for i := range len(value) {
		if c := value[i]; c <= ' ' || c >= 0x7f || c == ',' {
			return false
		}
	}
	return value != ""
}
