package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/internal/testing/pipe"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
)

// hold sends a request without its body, and waits until a handler reads the body. The returned
// function sends the body and returns the status of the response.
func (p *program) hold(t *testing.T, path string, header http.Header) (finish func(body string) int) {
	t.Helper()
	body, bodyEnd := io.Pipe()
	reading := make(chan struct{})
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got100Continue: func() { close(reading) }})
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL+path, body)
	require.NoError(t, err)
	r.Header = header.Clone()
	r.Header.Set("Expect", "100-continue") // the server sends 100 when a handler reads the body
	status := make(chan int, 1)
	go func() {
		response, err := (&http.Transport{ExpectContinueTimeout: patience}).RoundTrip(r)
		if err != nil {
			t.Error(err)
			status <- 0
			return
		}
		text, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		_, _ = leak.Default.Write(text) // a refusal contains no key
		status <- response.StatusCode
	}()
	select {
	case <-reading:
	case code := <-status:
		require.FailNow(t, "response before the body", "status %d", code)
	}
	return func(text string) int {
		t.Helper()
		_, err := io.WriteString(bodyEnd, text)
		require.NoError(t, err)
		require.NoError(t, bodyEnd.Close())
		return <-status
	}
}

const (
	asJSON = "application/json"
	asForm = "application/x-www-form-urlencoded"
)

// An end revokes the right to a request while the program runs. The database of the program is at
// path.
type end func(t *testing.T, path string, b *browser)

func endNothing(*testing.T, string, *browser) {}

func endSession(t *testing.T, _ string, b *browser) {
	require.Equal(t, http.StatusSeeOther, b.post("/sign-out", nil).StatusCode)
}

func endTokens(t *testing.T, path string, b *browser) {
	beside(t, path, func(s service) {
		_, err := s.tokens.RevokeAll(t.Context(), b.userID())
		require.NoError(t, err)
	})
}

func endScopes(t *testing.T, path string, b *browser) {
	beside(t, path, func(s service) {
		all, err := s.tokens.List(t.Context(), tokenauth.Query{UserID: b.userID()})
		require.NoError(t, err)
		for i := range all {
			_, err := s.tokens.Update(t.Context(), all[i].UserID, all[i].ID, tokenauth.Patch{Scopes: &[]string{scopeRead}})
			require.NoError(t, err)
		}
	})
}

func endPassword(t *testing.T, path string, b *browser) {
	hash, err := hashPassword("another password of ada")
	require.NoError(t, err)
	beside(t, path, func(s service) {
		_, err := s.users.save(t.Context(), demoName, hash, true)
		require.NoError(t, err)
		require.NoError(t, s.revokeAll(t.Context(), b.userID()))
	})
}

const evilPassword = "a password of eve"

// requireNoEvil requires that no request of a thief has changed anything.
func requireNoEvil(t *testing.T, path string) {
	t.Helper()
	beside(t, path, func(s service) {
		all, err := s.tokens.List(t.Context(), tokenauth.Query{UserID: "1", IncludeRevoked: true})
		require.NoError(t, err)
		for i := range all {
			require.NotEqual(t, "evil", all[i].Name)
		}
		list, err := s.notes.list(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, []note{{ID: 1, Text: "milk"}}, list)
		id, _, err := s.users.checkPassword(t.Context(), demoName, evilPassword)
		require.NoError(t, err)
		require.Empty(t, id)
	})
}

// A thief may send a body slowly. The thief must not be able to act after the user has revoked the
// session or the token, or has changed the password. Therefore each handler checks the rights of a
// request after it has read the body.
func TestHandlersCheckRightsAfterReadingBody(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the responses to refused logins")
	}
	t.Parallel()
	path := sqlite.File(t)
	p := start(t, path)
	login := url.Values{"username": {demoName}, "password": {testPassword}}
	for _, tt := range []struct {
		name, path string
		key        bool // the request has a key and JSON, not a cookie and a form
		end        end
		body       string
		want       int
	}{
		{"note, live token", "/notes", true, endNothing, `{"text":"milk"}`, 201},
		{"note, revoked token", "/notes", true, endTokens, `{"text":"evil"}`, 401},
		{"note, narrowed token", "/notes", true, endScopes, `{"text":"evil"}`, 403},
		{"password, signed out", passwordPath, false, endSession, url.Values{"current": {testPassword}, "new": {evilPassword}}.Encode(), 303},
		{"login, changed password", "/api/login", false, endPassword, login.Encode(), 400},
		{"sign-in, changed password", signInPath, false, endPassword, login.Encode(), 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addUser(t, path, demoName, true) // with the usual password again
			b := p.signedIn(t, demoName, testPassword)
			header := http.Header{"Cookie": {b.cookie()}, "Sec-Fetch-Site": {"same-origin"}, "Content-Type": {asForm}}
			if tt.key {
				header = http.Header{"Authorization": {"Bearer " + b.create("held "+tt.name, scopeRead, scopeWrite)}, "Content-Type": {asJSON}}
			}
			finish := p.hold(t, tt.path, header)
			tt.end(t, path, b)
			require.Equal(t, tt.want, finish(tt.body))
			requireNoEvil(t, path)
		})
	}
}

// A thief who holds a request of a session open must not create a token after the user has signed
// out.
func TestHeldRequestOfEndedSessionCreatesNoToken(t *testing.T) {
	t.Parallel()
	path := sqlite.File(t)
	p := start(t, path)
	b := p.signedIn(t, demoName, testPassword)
	header := http.Header{"Cookie": {b.cookie()}, "Sec-Fetch-Site": {"same-origin"}, "Content-Type": {asJSON}}
	finishAPI := p.hold(t, "/api/tokens", header)
	form := b.newForm()
	form["name"], form["expires"] = []string{"evil"}, []string{"7"}
	onPage := header.Clone()
	onPage.Set("Content-Type", asForm)
	finishPage := p.hold(t, accountPath+"new", onPage)
	require.Equal(t, http.StatusCreated, p.do(t, "POST", "/notes", p.Key, `{"text":"milk"}`).StatusCode)
	endSession(t, path, b)
	require.Equal(t, http.StatusUnauthorized, finishAPI(`{"name":"evil"}`))
	require.Equal(t, http.StatusUnauthorized, finishPage(form.Encode()))
	requireNoEvil(t, path)
}

// A client must not be able to hold a sign-in request open. tokenlogin sets a deadline on the
// connection, through the ResponseWriters of the service.
func TestHeldSignInTimesOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _, _ := open(t)
		conn := pipe.Serve(t, must.Get(s.newHandler())).Dial(t)
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(newServer(nil, s.logger).ReadTimeout)))
		conn.Send("POST " + signInPath + " HTTP/1.1\r\nHost: x\r\nContent-Type: " + asForm + "\r\nContent-Length: 100\r\n\r\nusername=")
		w, text := conn.Receive(t)
		require.Equal(t, http.StatusRequestTimeout, w.StatusCode)
		require.Contains(t, text, notNow)
		conn.RequireClosed(t)
	})
}

// The page must pass on two headers of tokenlogin. Retry-After tells the client how long to wait,
// and Connection tells a slow client to open a new connection.
func TestSignInPageForwardsHeaders(t *testing.T) {
	t.Parallel()
	s, _, _ := open(t)
	s.signIn = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusRequestTimeout)
	})
	w := httptest.NewRecorder()
	must.Get(s.newHandler()).ServeHTTP(w, httptest.NewRequest("POST", signInPath, nil))
	require.Equal(t, http.StatusRequestTimeout, w.Code)
	require.Equal(t, "7", w.Header().Get("Retry-After"))
	require.Equal(t, "close", w.Header().Get("Connection"))
	require.Equal(t, "text/html; charset=utf-8", w.Header().Get("Content-Type"))
}
