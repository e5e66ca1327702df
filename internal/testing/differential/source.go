package differential

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-tokenauth/tokenauth"
)

// source returns the steps as Go code.
func source(steps []step) string {
	var b strings.Builder
	for _, group := range groups(steps) {
		store := "store"
		if group[0].tx != 0 {
			store = "store.With(tx)"
			b.WriteString("tx, err := db.BeginTx(ctx, opts)\n")
		}
		for _, s := range group {
			fmt.Fprintf(&b, "%s.%s\n", store, s.call)
		}
		switch {
		case group[0].rollsBack():
			b.WriteString("tx.Rollback()\n")
		case group[0].tx != 0:
			b.WriteString("tx.Commit()\n")
		}
	}
	return b.String()
}

// String returns the call as Go code.
func (c call) String() string {
	args := []string{"ctx"}
	for _, arg := range c.args {
		args = append(args, goSource(arg))
	}
	return c.method + "(" + strings.Join(args, ", ") + ")"
}

// goSource returns a value as Go code, without the fields that are zero.
func goSource(v any) string { return sourceOf(reflect.ValueOf(v)) }

func sourceOf(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case tokenauth.Digest:
		return sourceOfDigest(x)
	case time.Time:
		return sourceOfTime(x)
	}
	switch v.Kind() {
	case reflect.String:
		return sourceOfString(v.String())
	case reflect.Pointer:
		switch {
		case v.IsNil():
			return "nil"
		case v.Elem().Kind() == reflect.Struct && v.Type().Elem() != reflect.TypeFor[time.Time]():
			return "&" + sourceOf(v.Elem())
		case v.Elem().Kind() == reflect.Slice && v.Elem().IsNil():
			return "new(" + v.Type().Elem().String() + "(nil))"
		}
		return "new(" + sourceOf(v.Elem()) + ")"
	case reflect.Slice:
		if v.IsNil() {
			return "nil"
		}
		return v.Type().String() + list(v.Len(), func(i int) string { return sourceOf(v.Index(i)) })
	case reflect.Struct:
		return v.Type().String() + list(v.NumField(), func(i int) string {
			if v.Field(i).IsZero() {
				return ""
			}
			return v.Type().Field(i).Name + ": " + sourceOf(v.Field(i))
		})
	}
	return fmt.Sprint(v)
}

// list returns n items in braces. It leaves out empty items.
func list(n int, item func(int) string) string {
	var items []string
	for i := range n {
		if text := item(i); text != "" {
			items = append(items, text)
		}
	}
	return "{" + strings.Join(items, ", ") + "}"
}

// sourceOfString shortens a text that repeats one character.
func sourceOfString(s string) string {
	r, size := utf8.DecodeRuneInString(s)
	if n := len(s) / max(size, 1); n > 8 && s == strings.Repeat(string(r), n) {
		return fmt.Sprintf("strings.Repeat(%q, %d)", string(r), n)
	}
	return strconv.QuoteToASCII(s)
}

func sourceOfTime(t time.Time) string {
	text := t.UTC().GoString()
	if _, offset := t.Zone(); t.Location() != time.UTC {
		text += fmt.Sprintf(".In(time.FixedZone(%q, %d))", t.Location(), offset)
	}
	return text
}

// digest returns the digest with the given number.
func digest(n int) tokenauth.Digest { return tokenauth.DigestOf(strconv.Itoa(n)) }

// numbers holds the numbers of digests, for sourceOfDigest.
var numbers = func() map[tokenauth.Digest]int {
	m := map[tokenauth.Digest]int{}
	for n := range digests + bulkDigests {
		m[digest(n)] = n
	}
	return m
}()

func sourceOfDigest(d tokenauth.Digest) string {
	if n, known := numbers[d]; known {
		return fmt.Sprintf("tokenauth.DigestOf(%q)", strconv.Itoa(n))
	}
	return fmt.Sprintf("%#v", d)
}
