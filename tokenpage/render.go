package tokenpage

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"io"
	"net/http"
	"strings"
	"unicode"
)

//go:embed templates/*.html
var templateFiles embed.FS

var templates = template.Must(template.ParseFS(templateFiles, "templates/*.html"))

// A Page has the parts of a document that [Options].Layout writes.
type Page struct {
	Lang        string        // value of the lang attribute of the html element
	RightToLeft bool          // if true, the dir attribute of the html element must be rtl
	Title       string        // content of the title element
	Head        template.HTML // elements for the head: the stylesheet and the script
	Main        template.HTML // content of the main element; it begins with an h1
}

// A view is the data of every template.
type view struct {
	T     *Texts
	Root  string // relative URL of the list
	Title string
	Data  any
}

// show writes a page.
func (x *exchange) show(status int, name, title string, data any) {
	x.write(status, name, view{x.texts, x.root, title, data}, "")
}

// showForm writes the page of a form. If the form has errors, the title says so.
func (x *exchange) showForm(status int, name, title string, data any, wrong fieldErrors) {
	prefix := ""
	if len(wrong) > 0 {
		prefix = x.texts.Error + ": "
	}
	x.write(status, name, view{x.texts, x.root, title, data}, prefix)
}

// showDone writes a page. If done is not empty, it says which change was made. The title then
// begins with done, because a screen reader reads the title first.
func (x *exchange) showDone(name, title string, data any, done string) {
	prefix := ""
	if done != "" {
		prefix = done + " – "
	}
	x.write(http.StatusOK, name, view{x.texts, x.root, title, data}, prefix)
}

// problem writes a page that explains why the request failed.
func (x *exchange) problem(status int, p Problem) {
	data := struct{ Text, SignIn string }{Text: p.Text}
	// A member of staff may see NotStaff because the session ended.
	if status == http.StatusUnauthorized || p == x.texts.NotStaff {
		data.SignIn = x.options.SignInURL
	}
	x.show(status, "problem", p.Title, data)
}

func (x *exchange) write(status int, name string, v view, prefix string) {
	x.w.Header().Add("Vary", "Cookie")
	page := Page{Lang: x.texts.Lang, RightToLeft: x.texts.RightToLeft, Title: prefix + v.Title}
	if v.Title != x.title {
		page.Title += " – " + x.title
	}
	head := struct{ Style, Script string }{Style: x.root + x.assets.style}
	if name == "key" {
		head.Script = x.root + x.assets.script
	}
	page.Head = render("head", head)
	page.Main = render(name, v)
	var document bytes.Buffer
	err := x.options.Layout(&document, x.r, page)
	if err != nil {
		x.report(err)
	}
	if err != nil && name == "key" { // no later page can show the key
		document.Reset()
		err = x.plainLayout(&document, x.r, page)
	}
	if err != nil {
		http.Error(x.w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	x.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	x.w.WriteHeader(status)
	_, _ = document.WriteTo(x.w) // fails if the client disconnected
}

// render executes a template of this package. The result is safe HTML, because html/template
// escapes the data.
func render(name string, data any) template.HTML {
	var b strings.Builder
	if err := templates.ExecuteTemplate(&b, name, data); err != nil {
		panic("tokenpage: " + err.Error()) // does not happen: the tests execute all templates
	}
	return template.HTML(b.String())
}

func (h *handler) plainLayout(w io.Writer, _ *http.Request, p Page) error {
	return templates.ExecuteTemplate(w, "document", struct {
		Page
		T *Texts
	}{p, h.texts})
}

// visible removes the characters from s that HTML may not contain. s comes from a form or a URL.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, s)
}

//go:embed assets/tokens.css
var style []byte

//go:embed assets/copy.js
var script []byte

// assets are the URLs of the files that the pages load, relative to the list. If the content of a
// file changes, its URL changes too.
type assets struct{ style, script string }

const (
	styleName  = "tokens.css"
	scriptName = "copy.js"
)

// routeAssets registers the script and the stylesheet. The stylesheet ends with Options.CSS.
func (h *handler) routeAssets() {
	css := append(bytes.Clone(style), h.options.CSS...)
	h.asset(styleName, "text/css; charset=utf-8", css)
	h.asset(scriptName, "text/javascript; charset=utf-8", script)
	h.assets = assets{style: styleName + version(css), script: scriptName + version(script)}
}

func version(content []byte) string {
	sum := sha256.Sum256(content)
	return "?v=" + hex.EncodeToString(sum[:6])
}
