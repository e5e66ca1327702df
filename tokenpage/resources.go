package tokenpage

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// Values of the field "access" of the form for a new token. A form without a value does not mean
// all resources.
const (
	accessThese = "these"
	accessAll   = "all"
)

const (
	fieldAccess = "tp-access-0" // ID of the element to which errors link

	maxChosen  = 100 // largest number of resources of a token
	maxListed  = 500 // the form lists more resources only if they are checked
	searchable = 10  // if there are more resources, the form has a search field
	maxChips   = 5   // a token shows more resources only on demand

	// labelTimeout limits a call of Options.Resources for labels. The page may have a new key, which
	// must not be lost because the call takes too long.
	labelTimeout = 5 * time.Second
)

// A resourcesView is the part of the form for a new token that restricts it to resources.
type resourcesView struct {
	Hint       string
	Access     []choice // empty if the service restricts no tokens
	Listed     []choice
	Count      string // number of listed resources, and of all
	Searchable bool
	Search     string // text in the search field
	Found      bool   // true if the form is the response to a search
	ForAll     bool   // true if the user chose all resources, so that the form hides the search field
}

// offer reads the resources of the user for the form for a new token. If the service's function
// fails, offer writes the response and returns false.
func (x *exchange) offer() bool {
	var err error
	if x.resources, err = x.manager.Resources(x.r.Context(), x.whose.UserID); err != nil {
		x.unavailable(err, x.texts.Unavailable)
	}
	return err == nil
}

// isGone reports whether a resource in a form is not offered, or no longer.
func (x *exchange) isGone(id string) bool {
	return !slices.ContainsFunc(x.resources, func(r tokenauth.Resource) bool { return r.ID == id })
}

// chosen returns the resources in a form, and its errors. Nil means all resources. chosen
// reads the fields even if the service has no resources now, because the service may have had some
// when the page made the form.
func (x *exchange) chosen(form url.Values) ([]string, fieldErrors) {
	ids := slices.Compact(slices.Sorted(slices.Values(form["resource"])))
	switch access := form.Get("access"); {
	case access == accessAll, access == "" && !x.manager.HasResources():
		return nil, nil
	case access != accessThese, len(ids) == 0:
		return ids, x.badResources(x.texts.ResourcesMissing)
	case slices.ContainsFunc(ids, x.isGone):
		return ids, x.badResources(x.texts.ResourceGone)
	case len(ids) > maxChosen:
		return ids, x.badResources(x.texts.TooManyResources)
	}
	return ids, nil
}

// searchResources shows the form with the resources that match the search, and creates no token.
func (x *exchange) searchResources(form url.Values) {
	if slices.ContainsFunc(form["resource"], x.isGone) {
		x.showCreate(http.StatusUnprocessableEntity, form, x.badResources(x.texts.ResourceGone))
		return
	}
	x.showCreate(http.StatusOK, form, nil)
}

func (x *exchange) badResources(text string) fieldErrors {
	if !x.manager.HasResources() {
		return fieldErrors{{"", text}}
	}
	return fieldErrors{{fieldAccess, text}}
}

// resourcesView returns the part of the form for the resources. If the form has a search field, the
// checked resources come first, so that the user sees them beside the results of each search.
func (x *exchange) resourcesView(form url.Values) resourcesView {
	if !x.manager.HasResources() {
		return resourcesView{}
	}
	all := choice{accessAll, x.texts.AllAccess, "", form.Get("access") == accessAll}
	if len(x.resources) == 0 {
		return resourcesView{Hint: x.texts.NoResources, Access: []choice{all}}
	}
	these := choice{accessThese, x.texts.TheseAccess, "", form.Get("access") == accessThese}
	v := resourcesView{Hint: x.texts.ResourcesHint, Access: []choice{these, all}, Searchable: len(x.resources) > searchable}
	if v.Searchable {
		v.Search, v.Found, v.ForAll = visible(form.Get("search")), form.Has("find"), all.Checked
	}
	var checked, others []choice
	for _, r := range x.resources {
		c := choice{Value: r.ID, Label: label(r), Checked: slices.Contains(form["resource"], r.ID)}
		if c.Label != r.ID {
			c.Text = r.ID
		}
		switch {
		case c.Checked && v.Searchable:
			checked = append(checked, c)
		case matches(c, v.Search):
			others = append(others, c)
		}
	}
	v.Listed = append(checked, others[:min(len(others), max(0, maxListed-len(checked)))]...)
	v.Count = x.texts.Listed(len(v.Listed), len(x.resources))
	return v
}

// matches reports whether the label or the ID of a resource contains the text of a search.
func matches(c choice, search string) bool {
	search = strings.ToLower(strings.TrimSpace(search))
	return strings.Contains(strings.ToLower(c.Label), search) || strings.Contains(strings.ToLower(c.Value), search)
}

// label returns the name of a resource for people.
func label(r tokenauth.Resource) string { return cmp.Or(visible(r.Label), r.ID) }

// labels returns the labels of resources by ID, if one of the tokens is restricted. A label that
// several resources have is followed by the ID. Staff see the IDs. If the service's function fails,
// users see the IDs too, because the page has all other data.
func (x *exchange) labels(tokens []tokenauth.Token) map[string]string {
	if x.staff || !slices.ContainsFunc(tokens, isRestricted) {
		return nil
	}
	if x.resources == nil {
		ctx, cancel := context.WithTimeout(x.r.Context(), labelTimeout)
		defer cancel()
		var err error
		if x.resources, err = x.manager.Resources(ctx, x.whose.UserID); err != nil {
			x.report(err)
		}
	}
	labels, count := map[string]string{}, map[string]int{}
	for _, r := range x.resources {
		count[label(r)]++
	}
	for _, r := range x.resources {
		if labels[r.ID] = label(r); count[label(r)] > 1 {
			labels[r.ID] += " (" + r.ID + ")"
		}
	}
	return labels
}

func isRestricted(t tokenauth.Token) bool { return t.Resources != nil }

// bind sets the resources of a token in its view.
func (v *tokenView) bind(labels map[string]string) {
	for _, id := range v.Resources {
		v.Bound = append(v.Bound, cmp.Or(labels[id], id))
	}
	if len(v.Bound) > maxChips {
		v.Bound, v.MoreBound = v.Bound[:maxChips], v.Bound[maxChips:]
		v.MoreText = v.T.More(len(v.MoreBound))
	}
}
