package main

import (
	"bytes"
	"embed"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-tokenauth/tokenauth/tokenpage"
)

//go:embed pages/*.html
var pageFiles embed.FS

var templates = template.Must(template.ParseFS(pageFiles, "pages/*.html"))

//go:embed pages/site.css
var siteCSS []byte

const (
	accountPath = "/account/tokens/"
	staffPath   = "/staff/tokens/"
)

// A frame is the document around every page.
type frame struct {
	tokenpage.Page
	User *user  // nil if nobody is signed in
	At   string // the route, to mark it in the navigation
}

// layout writes a page of tokenpage in the frame of the service.
func (s service) layout(w io.Writer, r *http.Request, p tokenpage.Page) error {
	return templates.ExecuteTemplate(w, "frame", frame{p, s.sessions.visitor(r).user, r.Pattern})
}

// ownHead is HTML that loads the custom properties of tokenpage into the service's own pages.
const ownHead = template.HTML(`<link rel="stylesheet" href="` + accountPath + `tokens.css">`)

// show responds with one of the service's own pages.
func (s service) show(w http.ResponseWriter, r *http.Request, status int, name, title string, data any) {
	var content strings.Builder
	var document bytes.Buffer
	err := templates.ExecuteTemplate(&content, name, data)
	if err == nil {
		err = s.layout(&document, r, tokenpage.Page{Lang: "en", Title: title, Head: ownHead, Main: template.HTML(content.String())})
	}
	if err != nil {
		panic("server: " + err.Error()) // does not happen: the tests execute all templates
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = document.WriteTo(w) // fails if the client disconnected
}

// pageFailed logs the error, and responds with a page that does not contain the error.
func (s service) pageFailed(w http.ResponseWriter, r *http.Request, err error) {
	s.logError(r, err)
	s.show(w, r, http.StatusServiceUnavailable, "problem", "Not available at the moment", notNow)
}

const maxHomeNotes = 20

func (s service) home(w http.ResponseWriter, r *http.Request) {
	v := s.sessions.visitor(r)
	switch {
	case v.err != nil:
		s.pageFailed(w, r, v.err)
		return
	case v.user == nil:
		http.Redirect(w, r, signInPath, http.StatusSeeOther)
		return
	}
	list, err := s.notes.list(r.Context(), v.user.ID)
	if err != nil {
		s.pageFailed(w, r, err)
		return
	}
	address := url.URL{Scheme: "http", Host: r.Host}
	if isSecure(r) {
		address.Scheme = "https"
	}
	s.show(w, r, http.StatusOK, "home", "Your notes", struct {
		Notes []note
		URL   string // base URL of the API
	}{list[:min(len(list), maxHomeNotes)], address.String()})
}

func serveCSS(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(siteCSS)
}

// secure sets the same security headers as tokenpage.
func secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		header.Set("X-Frame-Options", "DENY")
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "same-origin")
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Cache-Control", "no-store")
		header.Add("Vary", "Cookie")
		next.ServeHTTP(w, r)
	})
}
