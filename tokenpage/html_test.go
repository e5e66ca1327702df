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

// checkHeaders checks the headers that every response must have.
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
	require.Contains(t, h.Values("Vary"), "Cookie")
	if to := h.Get("Location"); to != signInURL {
		require.NotRegexp(t, absolute, to, "a redirect must be relative")
	}
}

var (
	voidElement = regexp.MustCompile(`<(meta|link|input|br|hr)\b[^>]*>`)
	openTag     = regexp.MustCompile(`<[a-z][^<>]*>`)
	absolute    = regexp.MustCompile(`^(/|[a-z]+:)`)
	boolean     = regexp.MustCompile(` (checked|required|readonly|hidden|defer|autofocus|novalidate)( |>|/)`)
)

// wellFormed converts the HTML of the templates to XML. The templates close all elements and quote
// all attributes, so only void elements and boolean attributes need a change.
func wellFormed(html string) string {
	html = strings.TrimPrefix(html, "<!DOCTYPE html>")
	html = voidElement.ReplaceAllStringFunc(html, func(tag string) string { return strings.TrimSuffix(tag, ">") + "/>" })
	return openTag.ReplaceAllStringFunc(html, func(tag string) string {
		return boolean.ReplaceAllString(boolean.ReplaceAllString(tag, ` $1="$1"$2`), ` $1="$1"$2`)
	})
}

// checkHTML parses a document strictly. It checks the requirements of browsers, of screen readers
// and of the Content-Security-Policy.
func checkHTML(t *testing.T, html string) {
	t.Helper()
	d := document{t: t, count: map[string]int{}}
	decoder := xml.NewDecoder(strings.NewReader(wellFormed(html)))
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err, html)
		if element, ok := token.(xml.StartElement); ok {
			d.element(element)
		}
	}
	require.Equal(t, []int{1, 1, 1, 1}, []int{d.count["html"], d.count["title"], d.count["main"], d.count["h1"]})
	require.Equal(t, "h1", d.headings[0], "the first heading must be h1")
	slices.Sort(d.labels)
	slices.Sort(d.fields)
	require.Equal(t, d.fields, d.labels, "each field must have one label")
	for _, id := range d.references {
		require.Contains(t, d.ids, id, "the reference must have a target")
	}
	require.NotContains(t, html, "ZgotmplZ")
	require.NotContains(t, html, "no value")
}

// A document collects the elements of a page while checkHTML parses it.
type document struct {
	t                        *testing.T
	count                    map[string]int // number of elements by name
	ids, references          []string
	labels, fields, headings []string
}

func (d *document) element(element xml.StartElement) {
	d.t.Helper()
	attributes := map[string]string{}
	for _, a := range element.Attr {
		name := a.Name.Local
		require.NotContains(d.t, attributes, name, "the attribute is repeated")
		require.False(d.t, name == "style" || strings.HasPrefix(name, "on"), "the attribute %s is inline code", name)
		attributes[name] = a.Value
	}
	if id, ok := attributes["id"]; ok {
		require.NotContains(d.t, d.ids, id)
		d.ids = append(d.ids, id)
	}
	d.references = append(d.references, strings.Fields(attributes["aria-describedby"]+" "+attributes["aria-labelledby"])...)
	for _, a := range []string{"href", "src", "action"} {
		if attributes[a] != signInURL {
			require.NotRegexp(d.t, absolute, attributes[a], "a link must be relative")
		}
	}
	d.count[element.Name.Local]++
	switch name := element.Name.Local; name {
	case "html":
		require.NotEmpty(d.t, attributes["lang"])
	case "style":
		require.Fail(d.t, "the page has an inline style")
	case "script":
		require.NotEmpty(d.t, attributes["src"], "the page has an inline script")
	case "h1", "h2":
		d.headings = append(d.headings, name)
	case "label": // it has the attribute for, or contains the next field
		d.labels = append(d.labels, attributes["for"])
	case "textarea", "input":
		d.field(attributes)
	case "a":
		require.NotEmpty(d.t, attributes["href"])
		if anchor, ok := strings.CutPrefix(attributes["href"], "#"); ok {
			d.references = append(d.references, anchor)
		}
	case "form":
		require.NotEmpty(d.t, attributes["action"])
	case "nav":
		require.NotEmpty(d.t, attributes["aria-label"])
	}
}

func (d *document) field(attributes map[string]string) {
	if attributes["type"] == "hidden" {
		return
	}
	d.fields = append(d.fields, attributes["id"])
	if n := len(d.labels); n > 0 && d.labels[n-1] == "" {
		d.labels[n-1] = attributes["id"]
	}
}
