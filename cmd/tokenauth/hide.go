package main

import (
	"encoding/hex"
	"regexp"
	"strings"
	"unicode"
)

// hide replaces the parts of the DSNs in the text of an error. Drivers show users, hosts and
// databases in their errors. If a DSN is malformed, a driver may take a part of the password for
// one of these settings. Therefore hide replaces every word of a DSN except its scheme, whatever
// the word means.
func hide(text string, dsns []string) string {
	words := map[string]bool{}
	for _, dsn := range dsns {
		_, rest, found := strings.Cut(dsn, ":")
		if !found {
			rest = dsn
		}
		for _, form := range []string{rest, escape.ReplaceAllStringFunc(rest, unescape)} {
			for _, word := range strings.FieldsFunc(strings.ToLower(form), isDelimiter) {
				words[word] = true
			}
		}
	}
	var shown strings.Builder
	for _, word := range split(text) {
		if isHidden(strings.ToLower(word), words) {
			word = "…"
		}
		shown.WriteString(word)
	}
	return shown.String()
}

var escape = regexp.MustCompile("%[0-9a-fA-F]{2}") // percent-encoding of a URL

func unescape(escaped string) string {
	b, _ := hex.DecodeString(escaped[1:]) // escape matches only hexadecimal digits
	return string(b)
}

// longWord is a number of bytes. hide also replaces a word of this length if it is a part of
// another word, because an error may show a word that was cut or that follows an escape sequence.
const longWord = 6

func isHidden(word string, words map[string]bool) bool {
	if words[word] {
		return true
	}
	for secret := range words {
		if len(secret) >= longWord && strings.Contains(word, secret) || len(word) >= longWord && strings.Contains(secret, word) {
			return true
		}
	}
	return false
}

func isDelimiter(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }

// split cuts text before and after each word.
func split(text string) (parts []string) {
	begin, inWord := 0, false
	for i, r := range text {
		if isWord := !isDelimiter(r); i == 0 || isWord != inWord {
			parts = append(parts, text[begin:i])
			begin, inWord = i, isWord
		}
	}
	return append(parts, text[begin:])
}
