package tokenpage

import (
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/syntax"
)

const (
	pageSize = 100
	soon     = 7 * 24 * time.Hour // an expiry that is nearer is pointed out
)

// The views of the list, by the paths they are at.
const (
	viewLive    = ""
	viewHistory = "history"
)

// What the list says was done, as the redirect to it tells.
const (
	doneRename = "rename"
	doneRevoke = "revoke"
)

// A listView is a page of tokens.
type listView struct {
	Staff, History, Empty bool // Empty: the user has no live token
	Intro, Done           string
	Tokens                []tokenView
	Live, Past            string // URLs of the views
	First, Next           string // URLs of pages; empty: there is none
	User, Search          string // whom staff searches for, and the URL where
}

// A tokenView is a token in words.
type tokenView struct {
	tokenauth.Token
	T                                   *Texts
	Root                                string
	Staff                               bool
	UserURL                             string // staff's list of the user's tokens
	Expired, Soon                       bool
	Created, Expires, LastUsed, Revoked *moment // nil: never
}

// A moment is a time in words. It has no Relative if it is centuries away.
type moment struct{ Machine, Date, Relative string }

func (x *exchange) moment(t time.Time) *moment {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	m := &moment{Machine: t.Format(time.RFC3339), Date: x.texts.Date(t)}
	if d := t.Sub(x.now); d.Abs() < math.MaxInt64 { // what is farther off fits no Duration
		m.Relative = x.texts.Relative(d)
	}
	return m
}

// past is moment for what has happened, which by another clock may seem to lie ahead.
func (x *exchange) past(t time.Time) *moment {
	m := x.moment(t)
	if m != nil && t.After(x.now) {
		m.Relative = x.texts.Relative(0)
	}
	return m
}

func (x *exchange) tokenView(t tokenauth.Token) tokenView {
	expired, userURL := t.ExpiredAt(x.now), ""
	if x.staff {
		userURL = x.listURL(viewLive, "user", t.UserID)
	}
	return tokenView{
		Token: t, T: x.texts, Root: x.root, Staff: x.staff, UserURL: userURL,
		Expired: expired, Soon: !expired && t.ExpiredAt(x.now.Add(soon)),
		Created: x.past(t.CreatedAt), Expires: x.moment(t.ExpiresAt),
		LastUsed: x.past(t.LastUsedAt), Revoked: x.past(t.RevokedAt),
	}
}

// listURL returns the relative URL of a view of the list, with those of the query's
// names and values whose value is not empty.
func (x *exchange) listURL(view string, query ...string) string {
	values := url.Values{}
	for pair := range slices.Chunk(query, 2) {
		if pair[1] != "" {
			values.Set(pair[0], pair[1])
		}
	}
	u := url.URL{Path: x.root + view, RawQuery: values.Encode()}
	return u.String()
}

func (x *exchange) live()    { x.list(viewLive, x.intro) }
func (x *exchange) history() { x.list(viewHistory, x.texts.HistoryIntro) }

func (x *exchange) list(view, intro string) {
	query := x.r.URL.Query()
	after, user := query.Get("after"), ""
	q := x.whose
	q.Revoked, q.Limit = view == viewHistory, pageSize+1
	if x.staff {
		if user = strings.TrimSpace(query.Get("user")); user != "" {
			q.UserID, q.AllUsers = user, false
		}
	}
	var ok bool
	if q.After, ok = parseCursor(after); !ok {
		x.problem(http.StatusBadRequest, x.texts.BadRequest)
		return
	}
	var tokens []tokenauth.Token
	if user == "" || syntax.UserID(user) == nil { // of others there are none
		var err error
		if tokens, err = x.manager.List(x.r.Context(), q); err != nil {
			x.fail(err, x.texts.Unavailable)
			return
		}
	}
	v := listView{
		Staff: x.staff, History: view == viewHistory, Intro: intro, User: visible(user), Search: x.listURL(view),
		Live: x.listURL(viewLive, "user", user), Past: x.listURL(viewHistory, "user", user),
		Empty: view == viewLive && !x.staff && after == "" && len(tokens) == 0,
	}
	if after != "" {
		v.First = x.listURL(view, "user", user)
	}
	if len(tokens) > pageSize {
		tokens = tokens[:pageSize]
		v.Next = x.listURL(view, "user", user, "after", formatCursor(tokens[pageSize-1].Cursor()))
	}
	for _, t := range tokens {
		v.Tokens = append(v.Tokens, x.tokenView(t))
	}
	switch query.Get("done") {
	case doneRename:
		v.Done = x.texts.Renamed
	case doneRevoke:
		v.Done = x.texts.RevokeDone
	}
	x.show(http.StatusOK, "list", x.title, v)
}

func formatCursor(c tokenauth.Cursor) string {
	return strconv.FormatInt(c.CreatedAt.UnixMicro(), 10) + "." + c.ID
}

// parseCursor takes any cursor of the right form: whose tokens it leads to, it does not say.
func parseCursor(s string) (tokenauth.Cursor, bool) {
	if s == "" {
		return tokenauth.Cursor{}, true
	}
	text, id, _ := strings.Cut(s, ".")
	micros, err := strconv.ParseInt(text, 10, 64)
	at := time.UnixMicro(micros).UTC()
	if err != nil || !syntax.IsWord(id) || at.Year() < 1 || at.Year() > 9999 {
		return tokenauth.Cursor{}, false
	}
	return tokenauth.Cursor{CreatedAt: at, ID: id}, true
}
