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

// A Page is what [Options].Layout puts into a document.
type Page struct {
	Lang        string        // for the lang attribute of the html element
	RightToLeft bool          // whether that element's dir attribute is to be rtl
	Title       string        // for the title element
	Head        template.HTML // for the head element: the stylesheet and the script
	Main        template.HTML // for the main element; begins with an h1
}

// A view is what every template gets.
type view struct {
	T     *Texts
	Root  string // the relative URL of the list
	Title string
	Data  any
}

// show answers with a page.
func (x *exchange) show(status int, name, title string, data any) {
	x.write(status, name, view{x.texts, x.root, title, data}, "")
}

// showForm is show for a form, whose title tells if something is wrong with it.
func (x *exchange) showForm(status int, name, title string, data any, wrong fieldErrors) {
	prefix := ""
	if len(wrong) > 0 {
		prefix = x.texts.Error + ": "
	}
	x.write(status, name, view{x.texts, x.root, title, data}, prefix)
}

// showDone is show for a page that begins by saying what was done, if anything was; so
// does its title, which is what a screen reader reads first.
func (x *exchange) showDone(name, title string, data any, done string) {
	prefix := ""
	if done != "" {
		prefix = done + " – "
	}
	x.write(http.StatusOK, name, view{x.texts, x.root, title, data}, prefix)
}

// problem answers with a page that says why there is no other.
func (x *exchange) problem(status int, p Problem) {
	data := struct{ Text, SignIn string }{Text: p.Text}
	if status == http.StatusUnauthorized || p == x.texts.NotStaff { // whose session may have ended
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
		x.tell(err)
	}
	if err != nil && name == "key" { // which is shown now or never
		document.Reset()
		err = x.plainLayout(&document, x.r, page)
	}
	if err != nil {
		http.Error(x.w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	x.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	x.w.WriteHeader(status)
	_, _ = document.WriteTo(x.w) // where the client is gone there is nobody to tell
}

// render executes a template of this package. It is safe HTML: html/template escapes it.
func render(name string, data any) template.HTML {
	var b strings.Builder
	if err := templates.ExecuteTemplate(&b, name, data); err != nil {
		panic("tokenpage: " + err.Error()) // tests execute them all
	}
	return template.HTML(b.String())
}

func (h *handler) plainLayout(w io.Writer, _ *http.Request, p Page) error {
	return templates.ExecuteTemplate(w, "document", struct {
		Page
		T *Texts
	}{p, h.texts})
}

// visible drops from what a form or a URL said the characters that no HTML may hold.
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

// assets are the URLs of the files that the pages load, relative to the list. A URL changes with
// the content.
type assets struct{ style, script string }

const (
	styleName  = "tokens.css"
	scriptName = "copy.js"
)

// routeAssets registers the stylesheet, with the service's own CSS at its end, and the script.
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
