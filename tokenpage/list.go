package tokenpage

import (
	"math"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

const pageSize = 100

// The views of the list. The value is the path below the list.
const (
	viewLive    = ""
	viewHistory = "history"
)

// Values of the parameter "done". After a change, the redirect to the list names the change in it.
const (
	doneRename = "rename"
	doneRevoke = "revoke"
)

// A listView is a page of tokens.
type listView struct {
	Staff, History, Empty bool // Empty is true if the user has no live token
	Intro, Done           string
	Tokens                []tokenView
	Live, Past            string // URLs of the views
	First, Next           string // URLs of pages; empty if there is no such page
	Search                searchView
}

// A tokenView is a token as the pages show it.
type tokenView struct {
	tokenauth.Token
	T                                   *Texts
	Root                                string
	Staff                               bool
	UserURL                             string   // list of the user's tokens, for staff
	Expired                             bool     // true also for an idle token
	Idle                                bool     // true if the token was unused for too long
	Soon                                bool     // true if the token expires soon
	Created, Expires, LastUsed, Revoked *moment  // nil if there is no such time
	PreviousKey                         *moment  // end of the previous key's grace; nil if that key is refused
	Maker, Revoker                      *actor   // nil if unknown, or if it goes without saying
	Unlimited                           bool     // true if the token is not restricted to resources, but others may be
	Bound, MoreBound                    []string // labels or IDs of the resources; MoreBound is shown on demand
	MoreText                            string   // number of MoreBound
}

// A moment is a time as the pages show it. If the time is centuries away, Relative is empty.
type moment struct{ Machine, Date, Relative string }

func (x *exchange) moment(t time.Time) *moment {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	m := &moment{Machine: t.Format(time.RFC3339), Date: x.texts.Date(t)}
	if d := t.Sub(x.now); d.Abs() < math.MaxInt64 { // a Duration cannot hold longer times
		m.Relative = x.texts.Relative(d)
	}
	return m
}

// past returns the moment of a time in the past. Another process may have set the time, and its
// clock may be ahead.
func (x *exchange) past(t time.Time) *moment {
	m := x.moment(t)
	if m != nil && t.After(x.now) {
		m.Relative = x.texts.Relative(0)
	}
	return m
}

// tokenViews returns the views of the tokens on a page.
func (x *exchange) tokenViews(tokens []tokenauth.Token) []tokenView {
	views := make([]tokenView, len(tokens))
	labels, names := x.labels(tokens), x.names(tokens)
	mixed := x.manager.HasResources() || slices.ContainsFunc(tokens, isRestricted)
	for i := range tokens {
		views[i] = x.viewOf(tokens[i])
		views[i].Unlimited = mixed && !isRestricted(tokens[i])
		views[i].bind(labels)
		x.trace(&views[i], names)
	}
	return views
}

func (x *exchange) tokenView(t tokenauth.Token) tokenView {
	return x.tokenViews([]tokenauth.Token{t})[0]
}

// viewOf returns the view of a token without its resources and actors.
func (x *exchange) viewOf(t tokenauth.Token) tokenView {
	expired, unlimited := x.manager.Expired(&t), t
	unlimited.ExpiresAt = time.Time{}
	v := tokenView{
		Token: t, T: x.texts, Root: x.root, Staff: x.staff, UserURL: x.listURL(viewLive, byUser, t.UserID),
		Expired: expired, Idle: !t.ExpiredAt(x.now) && x.manager.Expired(&unlimited),
		Soon:    x.manager.ExpiresSoon(&t),
		Created: x.past(t.CreatedAt), Expires: x.moment(t.ExpiresAt),
		LastUsed: x.past(t.LastUsedAt), Revoked: x.past(t.RevokedAt),
	}
	if !expired && t.PreviousKeyUntil.After(x.now) {
		v.PreviousKey = x.moment(t.PreviousKeyUntil)
	}
	return v
}

// listURL returns the relative URL of a view of the list. The query has names and values in turn.
// listURL omits names with an empty value.
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

func (x *exchange) live()    { x.list(viewLive) }
func (x *exchange) history() { x.list(viewHistory) }

func (x *exchange) list(view string) {
	query := x.r.URL.Query()
	after := query.Get("after")
	q := x.whose
	q.IncludeRevoked, q.Limit = view == viewHistory, pageSize+1
	if q.After.UnmarshalText([]byte(after)) != nil {
		x.problem(http.StatusBadRequest, x.texts.BadRequest)
		return
	}
	s, err := x.search(query)
	var tokens []tokenauth.Token
	if err == nil {
		tokens, err = x.listOf(s, q)
	}
	if err != nil {
		x.unavailable(err, x.texts.Unavailable)
		return
	}
	v := listView{
		Staff: x.staff, History: view == viewHistory, Intro: x.introOf(view, s), Done: x.done(query.Get("done")),
		Search: x.searchView(view, s),
		Live:   x.listURL(viewLive, s.name, s.value), Past: x.listURL(viewHistory, s.name, s.value),
		Empty: view == viewLive && !x.staff && after == "" && len(tokens) == 0,
	}
	if after != "" {
		v.First = x.listURL(view, s.name, s.value)
	}
	if len(tokens) > pageSize {
		tokens = tokens[:pageSize]
		next, _ := tokens[pageSize-1].Cursor().MarshalText() // never fails
		v.Next = x.listURL(view, s.name, s.value, "after", string(next))
	}
	v.Tokens = x.tokenViews(tokens)
	for i := range v.Tokens {
		v.Tokens[i].UserURL = x.listURL(view, byUser, v.Tokens[i].UserID)
	}
	x.showDone("list", x.title, v, v.Done)
}

// introOf returns the introduction of a list.
func (x *exchange) introOf(view string, s search) string {
	switch {
	case view == viewHistory:
		return x.texts.HistoryIntro
	case s.value != "":
		return x.texts.UserIntro
	}
	return x.intro
}

// done returns the notice about the change that a redirect names. done returns "" if the request
// comes from a link of another site, which must not claim that a token is revoked.
func (x *exchange) done(what string) string {
	if site := x.r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" {
		return ""
	}
	switch what {
	case doneRename:
		return x.texts.Renamed
	case doneRevoke:
		return x.texts.RevokeDone
	}
	return ""
}
