package tokenpage_test

import (
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func checkHeaders(t *testing.T, h http.Header) {
	t.Helper()
	require.Equal(t, "DENY", h.Get("X-Frame-Options"))
	require.Equal(t, "nosniff", h.Get("X-Content-Type-Options"))
	require.Equal(t, "same-origin", h.Get("Referrer-Policy"))
	require.Equal(t, "same-origin", h.Get("Cross-Origin-Opener-Policy"))
	require.Empty(t, h.Values("Set-Cookie"))
	policy := strings.Split(h.Get("Content-Security-Policy"), "; ")
	for _, directive := range []string{"default-src 'none'", "style-src 'self'", "script-src 'self'", "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"} {
		require.Contains(t, policy, directive)
	}
	if !strings.HasPrefix(h.Get("Content-Type"), "text/html") && h.Get("Location") == "" {
		return
	}
	require.Equal(t, "no-store", h.Get("Cache-Control"))
	require.Equal(t, "Cookie", h.Get("Vary"))
	require.NotRegexp(t, absolute, h.Get("Location"), "redirects are relative")
}

var (
	voidElement = regexp.MustCompile(`<(meta|link|input|br|hr)\b[^>]*>`)
	openTag     = regexp.MustCompile(`<[a-z][^<>]*>`)
	absolute    = regexp.MustCompile(`^(/|[a-z]+:)`)
	boolean     = regexp.MustCompile(` (checked|required|readonly|hidden|defer|autofocus)( |>|/)`)
)

// wellFormed turns the HTML that the templates write into XML: they close all elements
// and quote all attributes.
func wellFormed(html string) string {
	html = strings.TrimPrefix(html, "<!DOCTYPE html>")
	html = voidElement.ReplaceAllStringFunc(html, func(tag string) string { return strings.TrimSuffix(tag, ">") + "/>" })
	return openTag.ReplaceAllStringFunc(html, func(tag string) string {
		return boolean.ReplaceAllString(boolean.ReplaceAllString(tag, ` $1="$1"$2`), ` $1="$1"$2`)
	})
}

// checkHTML reads a document strictly, and checks what a browser, a screen reader and
// the page's own policy need of it.
func checkHTML(t *testing.T, html string) {
	t.Helper()
	var ids, labels, fields, described, headings []string
	count := map[string]int{}
	decoder := xml.NewDecoder(strings.NewReader(wellFormed(html)))
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err, html)
		element, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		attributes := map[string]string{}
		for _, a := range element.Attr {
			name := a.Name.Local
			require.NotContains(t, attributes, name, "repeated attribute")
			require.False(t, name == "style" || strings.HasPrefix(name, "on"), "inline %s", name)
			attributes[name] = a.Value
		}
		name := element.Name.Local
		count[name]++
		if id, ok := attributes["id"]; ok {
			require.NotContains(t, ids, id)
			ids = append(ids, id)
		}
		described = append(described, strings.Fields(attributes["aria-describedby"]+" "+attributes["aria-labelledby"])...)
		for _, a := range []string{"href", "src", "action"} {
			require.NotRegexp(t, absolute, attributes[a], "links are relative")
		}
		switch name {
		case "html":
			require.NotEmpty(t, attributes["lang"])
		case "style":
			require.Fail(t, "inline style")
		case "script":
			require.NotEmpty(t, attributes["src"], "inline script")
		case "h1", "h2":
			headings = append(headings, name)
		case "label": // either for a field, or around the one that follows
			labels = append(labels, attributes["for"])
		case "textarea", "input", "select":
			if attributes["type"] == "hidden" {
				continue
			}
			fields = append(fields, attributes["id"])
			if n := len(labels); n > 0 && labels[n-1] == "" {
				labels[n-1] = attributes["id"]
			}
		case "a":
			require.NotEmpty(t, attributes["href"])
			if anchor, ok := strings.CutPrefix(attributes["href"], "#"); ok {
				described = append(described, anchor)
			}
		case "form":
			require.NotEmpty(t, attributes["action"])
		case "nav":
			require.NotEmpty(t, attributes["aria-label"])
		}
	}
	require.Equal(t, []int{1, 1, 1, 1}, []int{count["html"], count["title"], count["main"], count["h1"]})
	require.Equal(t, "h1", headings[0], "the first heading")
	slices.Sort(labels)
	slices.Sort(fields)
	require.Equal(t, fields, labels, "each field has one label")
	for _, id := range described {
		require.Contains(t, ids, id, "refers to an element")
	}
	require.NotContains(t, html, "ZgotmplZ")
	require.NotContains(t, html, "no value")
}
