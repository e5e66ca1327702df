package tokenpage

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/secondlook"
	"github.com/go-tokenauth/tokenauth/internal/syntax"
)

const day = 24 * time.Hour

// presets are the expiries that the form offers, in days. The form preselects the longest one that
// MaxTTL allows.
var presets = []int{7, 30, 90}

// Values of the field "expires" that are not a number of days.
const (
	expiresDate    = "date"
	expiresNever   = "never"
	expiresLongest = "longest" // MaxTTL
)

// IDs of the elements to which errors link.
const (
	fieldName    = "tp-name"
	fieldScope   = "tp-scope-0"
	fieldExpires = "tp-expires-0"
	fieldDate    = "tp-date"
	fieldGrace   = "tp-grace-0"
)

// fieldErrors are the errors of a form, in the order of its fields.
type fieldErrors []fieldError

type fieldError struct {
	Field string // ID of an element; if empty, the error concerns the whole form
	Text  string
}

// Of returns the error of a field, or "".
func (e fieldErrors) Of(field string) string {
	for _, one := range e {
		if one.Field == field {
			return one.Text
		}
	}
	return ""
}

// A choice is a checkbox or a radio button.
type choice struct {
	Value, Label, Text string
	Checked            bool
}

// A createView is the form for a new token.
type createView struct {
	User             string // ID of the user for whom the page made the form
	ID               string // ID of the token that the form creates
	Name             string
	Scopes, Expiries []choice
	Resources        resourcesView
	Date             string
	MinDate, MaxDate string
	Latest           *moment // last allowed day; nil if every day is allowed
	Errors           fieldErrors
}

func (x *exchange) newToken() {
	if x.offer() {
		x.showCreate(http.StatusOK, url.Values{"access": {accessThese}, "expires": {x.preselected()}}, nil)
	}
}

func (x *exchange) create() {
	form := x.r.PostForm
	switch {
	case form.Get("user") != x.whose.UserID:
		x.problem(http.StatusConflict, x.texts.OtherUser)
		return
	case form.Get("id") == "": // with an ID of Issue's choice, the form would work repeatedly
		x.problem(http.StatusBadRequest, x.texts.BadRequest)
		return
	case !x.offer():
		return
	case form.Has("find"): // the form was sent by the button of the search
		x.searchResources(form)
		return
	}
	spec, wrong := x.spec(form)
	if len(wrong) > 0 {
		x.showCreate(http.StatusUnprocessableEntity, form, wrong)
		return
	}
	x.issue(form, spec)
}

// issue creates the token of a form that has no errors that the page knows of.
func (x *exchange) issue(form url.Values, spec tokenauth.Spec) {
	key, token, err := x.manager.Issue(x.r.Context(), spec)
	switch {
	case err == nil:
		if x.confirm(&token) {
			x.show(http.StatusOK, "key", x.texts.KeyTitle, keyView{Key: key.Reveal(), Token: x.tokenView(token)})
		}
	case invalidField(err) == "id":
		x.problem(http.StatusBadRequest, x.texts.BadRequest)
	case errors.Is(err, tokenauth.ErrConflict):
		x.notCreated(form, spec.Name)
	case errors.Is(err, tokenauth.ErrNameTaken):
		x.showCreate(http.StatusConflict, form, fieldErrors{{fieldName, x.texts.NameTaken}})
	case errors.Is(err, tokenauth.ErrTooManyTokens):
		x.showCreate(http.StatusConflict, form, fieldErrors{{"", x.texts.TooMany}})
	case invalidField(err) == "scopes":
		x.showCreate(http.StatusUnprocessableEntity, form, fieldErrors{{fieldScope, x.texts.ScopeInvalid}})
	case invalidField(err) == "resources":
		x.showCreate(http.StatusUnprocessableEntity, form, x.badResources(x.texts.ResourceGone))
	case invalidField(err) == "expires_at":
		x.showCreate(http.StatusUnprocessableEntity, form, fieldErrors{x.badExpiry(form)})
	default:
		x.fail(err, x.texts.Uncertain)
	}
}

// notCreated shows the form again after a conflict. Either the form has created a token before, or
// concurrent requests took all free slots of the user.
func (x *exchange) notCreated(form url.Values, name string) {
	created, err := x.find(form.Get("id"))
	switch {
	case err != nil:
		x.unavailable(err, x.texts.Unavailable)
	case len(created) > 0 && created[0].RevokedAt.IsZero() && created[0].Name == name:
		x.showCreate(http.StatusConflict, form, fieldErrors{{fieldName, x.texts.NameTaken}})
	case len(created) > 0:
		x.showCreate(http.StatusConflict, form, fieldErrors{{"", x.texts.FormUsed}})
	default:
		x.showCreate(http.StatusConflict, form, fieldErrors{{"", x.texts.TryAgain}})
	}
}

// confirm reports whether the owner of the new token t is still signed in. If not, or if the
// service returns an error, confirm has revoked t and writes a response without the key.
func (x *exchange) confirm(t *tokenauth.Token) bool {
	err, failed := secondlook.Confirm(x.r.Context(), x.manager, *t, func(ctx context.Context) error {
		whose, err := x.handler.whose(x.r.WithContext(ctx))
		if err == nil && whose.UserID != t.UserID {
			err = errSignedOut
		}
		return err
	})
	switch {
	case failed != nil:
		x.unavailable(errors.Join(err, failed), x.texts.Uncertain)
	case err == errSignedOut:
		x.problem(http.StatusUnauthorized, x.texts.SignedOut)
	case err != nil:
		x.unavailable(err, x.texts.Unavailable)
	}
	return err == nil
}

var errSignedOut = errors.New("tokenpage: the user of the new token is no longer signed in")

// invalidField returns the field that a [tokenauth.SpecError] names, or "".
func invalidField(err error) string {
	var spec *tokenauth.SpecError
	if errors.As(err, &spec) {
		return spec.Field
	}
	return ""
}

// spec returns the Spec of a form and its errors. spec itself checks the name, because Issue
// returns only the first error, and the page shows all errors together.
func (x *exchange) spec(form url.Values) (tokenauth.Spec, fieldErrors) {
	spec := tokenauth.Spec{ID: form.Get("id"), UserID: x.whose.UserID, Scopes: form["scope"]}
	var wrong fieldErrors
	var err error
	if spec.Name, err = syntax.Name(form.Get("name")); err != nil {
		wrong = append(wrong, fieldError{fieldName, x.texts.NameInvalid})
	}
	if slices.ContainsFunc(spec.Scopes, func(s string) bool { return !slices.Contains(x.scopes, s) }) {
		wrong = append(wrong, fieldError{fieldScope, x.texts.ScopeInvalid})
	}
	resources, missing := x.chosen(form)
	spec.Resources, wrong = resources, append(wrong, missing...)
	switch choice := form.Get("expires"); choice {
	case expiresNever:
		spec.NoExpiry = true
	case expiresLongest: // the Manager allows this expiry, because it reads its clock later
		if spec.ExpiresAt = x.now.Add(x.manager.MaxTTL()); x.preselected() != expiresLongest {
			wrong = append(wrong, x.badExpiry(form))
		}
	case expiresDate:
		last, err := time.Parse(time.DateOnly, form.Get("date"))
		// The page would show midnight as the next day.
		if spec.ExpiresAt = last.Add(day - time.Second); err != nil {
			wrong = append(wrong, x.badExpiry(form))
		}
	default:
		days, err := strconv.Atoi(choice)
		if spec.ExpiresAt = x.now.Add(time.Duration(days) * day); err != nil || !slices.Contains(presets, days) {
			wrong = append(wrong, x.badExpiry(form))
		}
	}
	return spec, wrong
}

func (x *exchange) badExpiry(form url.Values) fieldError {
	if form.Get("expires") == expiresDate {
		return fieldError{fieldDate, x.texts.DateInvalid}
	}
	return fieldError{fieldExpires, x.texts.ExpiryInvalid}
}

// allows reports whether the Manager's MaxTTL allows a lifetime.
func (x *exchange) allows(ttl time.Duration) bool {
	return x.manager.MaxTTL() <= 0 || ttl <= x.manager.MaxTTL()
}

func (x *exchange) preselected() string {
	for _, days := range slices.Backward(presets) {
		if x.allows(time.Duration(days) * day) {
			return strconv.Itoa(days)
		}
	}
	return expiresLongest
}

func (x *exchange) showCreate(status int, form url.Values, wrong fieldErrors) {
	v := createView{
		User: x.whose.UserID, ID: rand.Text(), // each form has a new ID, so that it works once
		Name: visible(form.Get("name")), Date: visible(form.Get("date")), Errors: wrong,
		MinDate: x.now.UTC().Format(time.DateOnly), Resources: x.resourcesView(form),
	}
	for _, scope := range x.scopes {
		v.Scopes = append(v.Scopes, choice{scope, scope, x.options.Scopes[scope], slices.Contains(form["scope"], scope)})
	}
	expiry := func(value, label, text string) {
		v.Expiries = append(v.Expiries, choice{value, label, text, form.Get("expires") == value})
	}
	if x.preselected() == expiresLongest {
		expiry(expiresLongest, x.texts.Longest, "")
	}
	for _, days := range presets {
		if ttl := time.Duration(days) * day; x.allows(ttl) {
			expiry(strconv.Itoa(days), x.texts.Relative(ttl), x.texts.Date(x.now.Add(ttl).UTC()))
		}
	}
	if x.allows(2 * day) { // at least one whole day can be chosen
		expiry(expiresDate, x.texts.OnDate, "")
	}
	if x.manager.MaxTTL() > 0 {
		last := x.now.Add(x.manager.MaxTTL() - day).UTC()
		v.MaxDate, v.Latest = last.Format(time.DateOnly), x.moment(last)
	} else {
		expiry(expiresNever, x.texts.NeverExpires, x.texts.NeverHint)
	}
	x.showForm(status, "create", x.texts.New, v, wrong)
}
