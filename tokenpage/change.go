package tokenpage

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/syntax"
)

// How long the key before goes on working after a rotation, and the choice that is
// preselected.
var graces = []time.Duration{0, time.Hour, day, 7 * day}

const grace = day

// A changeView is a form about one token.
type changeView struct {
	Token  tokenView
	Name   string   // as it is to be
	Graces []choice // in seconds
	Errors fieldErrors
}

func (x *exchange) askName() {
	if t, ok := x.liveToken(); ok {
		x.showRename(http.StatusOK, t, t.Name, nil)
	}
}

func (x *exchange) rename() {
	t, ok := x.liveToken()
	if !ok {
		return
	}
	refuse := func(status int, name string, wrong fieldError) {
		x.showRename(status, t, visible(name), fieldErrors{wrong})
	}
	name := x.r.PostForm.Get("name")
	if _, err := syntax.Name(name); err != nil {
		refuse(http.StatusUnprocessableEntity, name, fieldError{fieldName, x.texts.NameInvalid})
		return
	}
	_, err := x.manager.Update(x.r.Context(), t.UserID, t.ID, tokenauth.Patch{Name: &name})
	switch {
	case err == nil:
		redirect(x.w, x.listURL(viewLive, "done", doneRename), http.StatusSeeOther)
	case errors.Is(err, tokenauth.ErrNameTaken):
		refuse(http.StatusConflict, name, fieldError{fieldName, x.texts.RenameTaken})
	case errors.Is(err, tokenauth.ErrConflict):
		refuse(http.StatusConflict, name, fieldError{"", x.texts.NotChanged})
	default:
		x.fail(err, x.texts.Uncertain)
	}
}

func (x *exchange) showRename(status int, t tokenauth.Token, name string, wrong fieldErrors) {
	x.showForm(status, "rename", x.texts.RenameTitle, changeView{Token: x.tokenView(t), Name: name, Errors: wrong}, wrong)
}

func (x *exchange) askGrace() {
	if t, ok := x.liveToken(); ok {
		x.showRotate(http.StatusOK, t, grace, nil)
	}
}

func (x *exchange) rotate() {
	t, ok := x.liveToken()
	if !ok {
		return
	}
	form := x.r.PostForm
	seconds, err := strconv.Atoi(form.Get("grace"))
	chosen := time.Duration(seconds) * time.Second
	switch {
	case err != nil || !slices.Contains(graces, chosen):
		x.showRotate(http.StatusUnprocessableEntity, t, grace, fieldErrors{{fieldGrace, x.texts.GraceInvalid}})
		return
	case form.Get("generation") != strconv.Itoa(t.Generation): // as when the page with the key is loaded again
		x.showRotate(http.StatusConflict, t, chosen, fieldErrors{{"", x.texts.RotatedAlready}})
		return
	}
	key, t, err := x.manager.RotateFrom(x.r.Context(), t.UserID, t.ID, t.Generation, chosen)
	switch {
	case err == nil:
		v := keyView{Key: key.Reveal(), Token: x.tokenView(t), Ended: chosen == 0}
		if until := x.now.Add(chosen); t.ExpiredAt(until) {
			v.Until = v.Token.Expires
		} else if !v.Ended {
			v.Until = x.moment(until)
		}
		x.show(http.StatusOK, "key", x.texts.KeyTitle, v)
	case errors.Is(err, tokenauth.ErrConflict):
		x.problem(http.StatusConflict, x.texts.NotRotated)
	default:
		x.fail(err, x.texts.Uncertain)
	}
}

func (x *exchange) showRotate(status int, t tokenauth.Token, chosen time.Duration, wrong fieldErrors) {
	v := changeView{Token: x.tokenView(t), Errors: wrong}
	for _, d := range graces {
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

// revoke takes a token that is revoked already for done.
func (x *exchange) revoke() {
	t, ok := x.token()
	if !ok {
		return
	}
	if err := x.manager.Revoke(x.r.Context(), t.UserID, t.ID); err != nil {
		x.fail(err, x.texts.Uncertain)
		return
	}
	user := ""
	if x.staff {
		user = t.UserID
	}
	redirect(x.w, x.listURL(viewLive, byUser, user, "done", doneRevoke), http.StatusSeeOther)
}

// A keyView is the only page that ever holds a key, in the answer to the form that made it.
type keyView struct {
	Key   string
	Token tokenView
	Until *moment // when the key before ends; nil: there is none that works
	Ended bool    // the key before has ended
}
