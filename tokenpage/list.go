package tokenpage

import (
	"net/http"
	"net/url"
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

// What the list says was done, as the redirect to it tells.
const (
	doneRename = "rename"
	doneRevoke = "revoke"
)

// A listView is a page of tokens.
type listView struct {
	Staff, History  bool
	Intro, Done     string
	Tokens          []tokenView
	Live, Past      string // URLs of the two views
	First, Next     string // URLs; empty: there is none
	User            string // that staff searches for
	Search, Cleared string // URLs
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

// A moment is a time in words.
type moment struct{ Machine, Date, Relative string }

func (x *exchange) moment(t time.Time) *moment {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &moment{t.Format(time.RFC3339), x.texts.Date(t), x.texts.Relative(t.Sub(x.now))}
}

func (x *exchange) tokenView(t tokenauth.Token) tokenView {
	expired := t.ExpiredAt(x.now)
	return tokenView{
		Token: t, T: x.texts, Root: x.root, Staff: x.staff, UserURL: x.listURL("", t.UserID, "", ""),
		Expired: expired, Soon: !expired && t.ExpiredAt(x.now.Add(soon)),
		Created: x.moment(t.CreatedAt), Expires: x.moment(t.ExpiresAt),
		LastUsed: x.moment(t.LastUsedAt), Revoked: x.moment(t.RevokedAt),
	}
}

// listURL returns the relative URL of a list. Arguments that do not apply are empty.
func (x *exchange) listURL(view, user, after, done string) string {
	query := url.Values{}
	for name, value := range map[string]string{"user": user, "after": after, "done": done} {
		if value != "" {
			query.Set(name, value)
		}
	}
	u := url.URL{Path: x.root + view, RawQuery: query.Encode()}
	return u.String()
}

func (x *exchange) list()    { x.showList(false) }
func (x *exchange) history() { x.showList(true) }

func (x *exchange) showList(history bool) {
	query := x.r.URL.Query()
	q := x.whose
	q.Revoked, q.Limit = history, pageSize+1
	user := ""
	if x.staff {
		user = strings.TrimSpace(query.Get("user"))
	}
	if user != "" {
		q.UserID, q.AllUsers = user, false
	}
	after := query.Get("after")
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
		Staff: x.staff, History: history, User: visible(user),
		Live: x.listURL("", user, "", ""), Past: x.listURL("history", user, "", ""),
	}
	view := ""
	if history {
		view = "history"
	}
	if v.Search = x.listURL(view, "", "", ""); user != "" {
		v.Cleared = v.Search
	}
	if after != "" {
		v.First = x.listURL(view, user, "", "")
	}
	if len(tokens) > pageSize {
		tokens = tokens[:pageSize]
		v.Next = x.listURL(view, user, formatCursor(tokens[pageSize-1].Cursor()), "")
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
	title := x.texts.Title
	v.Intro = x.texts.Intro
	if x.staff {
		title, v.Intro = x.texts.StaffTitle, x.texts.StaffIntro
	}
	if history {
		v.Intro = x.texts.HistoryIntro
	}
	x.show(http.StatusOK, "list", title, v)
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
