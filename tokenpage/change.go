package tokenpage

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// graces are the times for which the previous key may still work after a rotation.
var graces = []time.Duration{0, time.Hour, day, 7 * day}

// offered returns the graces that the form offers. MaxGrace may exclude some.
func (x *exchange) offered() []time.Duration {
	return slices.DeleteFunc(slices.Clone(graces), func(d time.Duration) bool { return d > x.manager.MaxGrace() })
}

// defaultGrace returns the grace that the form preselects: a day, or the longest shorter one.
func (x *exchange) defaultGrace() time.Duration {
	return slices.Max(slices.DeleteFunc(x.offered(), func(d time.Duration) bool { return d > day }))
}

// A changeView is a form about one token.
type changeView struct {
	Token  tokenView
	Name   string   // the new name
	Graces []choice // the values are in seconds
	Errors fieldErrors
}

func (x *exchange) askName() {
	if t, ok := x.liveToken(); ok {
		x.showRename(http.StatusOK, t, t.Name, nil)
	}
}

// rename reads the token only to show the form again. So does rotate.
func (x *exchange) rename() {
	refuse := func(status int, name string, wrong fieldError) {
		if t, ok := x.liveToken(); ok {
			x.showRename(status, t, visible(name), fieldErrors{wrong})
		}
	}
	name := x.r.PostForm.Get("name")
	_, err := x.manager.Update(x.r.Context(), x.whose.UserID, x.id, tokenauth.Patch{Name: &name})
	switch {
	case err == nil:
		x.redirect(x.listURL(viewLive, "done", doneRename), http.StatusSeeOther)
	case errors.Is(err, tokenauth.ErrNameTaken):
		refuse(http.StatusConflict, name, fieldError{fieldName, x.texts.RenameTaken})
	case errors.Is(err, tokenauth.ErrConflict):
		refuse(http.StatusConflict, name, fieldError{"", x.texts.NotChanged})
	case invalidField(err) == "name":
		refuse(http.StatusUnprocessableEntity, name, fieldError{fieldName, x.texts.NameInvalid})
	default:
		x.fail(err, x.texts.Uncertain)
	}
}

func (x *exchange) showRename(status int, t tokenauth.Token, name string, wrong fieldErrors) {
	x.showForm(status, "rename", x.texts.RenameTitle, changeView{Token: x.tokenView(t), Name: name, Errors: wrong}, wrong)
}

func (x *exchange) askGrace() {
	if t, ok := x.liveToken(); ok {
		x.showRotate(http.StatusOK, t, x.defaultGrace(), nil)
	}
}

func (x *exchange) rotate() {
	form := x.r.PostForm
	seconds, err := strconv.Atoi(form.Get("grace"))
	chosen := time.Duration(seconds) * time.Second
	if err != nil || !slices.Contains(x.offered(), chosen) {
		if t, ok := x.liveToken(); ok {
			x.showRotate(http.StatusUnprocessableEntity, t, x.defaultGrace(), fieldErrors{{fieldGrace, x.texts.GraceInvalid}})
		}
		return
	}
	generation, err := strconv.Atoi(form.Get("generation"))
	if err != nil {
		generation = -1 // no token has it
	}
	key, t, err := x.manager.RotateFrom(x.r.Context(), x.whose.UserID, x.id, generation, chosen)
	switch {
	case err == nil:
		v := keyView{Key: key.Reveal(), Token: x.tokenView(t), Ended: chosen == 0}
		v.Until, v.Token.PreviousKey = v.Token.PreviousKey, nil // the page shows it above the token
		x.show(http.StatusOK, "key", x.texts.KeyTitle, v)
	case errors.Is(err, tokenauth.ErrConflict):
		x.notRotated(generation, chosen)
	default:
		x.fail(err, x.texts.Uncertain)
	}
}

// notRotated explains why the token kept its key: the form was sent twice, another request rotated
// the token, or the token expired.
func (x *exchange) notRotated(generation int, chosen time.Duration) {
	t, ok := x.liveToken()
	switch {
	case !ok:
	case t.Generation != generation:
		x.showRotate(http.StatusConflict, t, chosen, fieldErrors{{"", x.texts.RotatedAlready}})
	default:
		x.problem(http.StatusConflict, x.texts.NotRotated)
	}
}

func (x *exchange) showRotate(status int, t tokenauth.Token, chosen time.Duration, wrong fieldErrors) {
	v := changeView{Token: x.tokenView(t), Errors: wrong}
	for _, d := range x.offered() {
		c := choice{strconv.Itoa(int(d.Seconds())), x.texts.Relative(d), "", d == chosen}
		if d == 0 {
			c.Label, c.Text = x.texts.GraceNow, x.texts.GraceNowHint
		}
		v.Graces = append(v.Graces, c)
	}
	x.showForm(status, "rotate", x.texts.RotateTitle, v, wrong)
}

func (x *exchange) askRevoke() {
	if t, ok := x.liveToken(); ok {
		x.show(http.StatusOK, "revoke", x.texts.RevokeTitle, changeView{Token: x.tokenView(t)})
	}
}

// revoke succeeds for a token that is already revoked. For staff, revoke first looks up the owner.
func (x *exchange) revoke() {
	owner, user := x.whose.UserID, ""
	if x.staff {
		t, ok := x.token()
		if !ok {
			return
		}
		owner, user = t.UserID, t.UserID
	}
	if err := x.manager.Revoke(x.r.Context(), owner, x.id); err != nil {
		x.fail(err, x.texts.Uncertain)
		return
	}
	x.redirect(x.listURL(viewLive, byUser, user, "done", doneRevoke), http.StatusSeeOther)
}

// A keyView is the page with a new key, which is the response to the form that created the key. No
// other page contains a key.
type keyView struct {
	Key   string
	Token tokenView // without a name if the token could not be read
	Until *moment   // end of the previous key's grace; nil if there is none, or if it is unknown
	Ended bool      // true if the previous key no longer works
}
