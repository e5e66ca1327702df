package tokenpage

import (
	"cmp"
	"slices"
	"strings"

	"github.com/go-tokenauth/tokenauth"
)

// Actors that the packages of this module set: see [tokenauth.ContextWithActor].
const (
	actorToken = "token:"
	actorUser  = "user:"
	actorStaff = "staff"
	actorCLI   = "cli"
	actorLogin = "login"
)

// An actor is who created or revoked a token, as the pages show it.
type actor struct {
	Text string // one of Texts
	Name string // a name or an ID after the text; may be empty
}

// trace sets the actors of a token. The page does not say that the owner created the token.
func (x *exchange) trace(v *tokenView, names map[string]string) {
	if v.CreatedBy != actorUser+v.UserID {
		v.Maker = x.actor(v.CreatedBy, v.UserID, names)
	}
	v.Revoker = x.actor(v.RevokedBy, v.UserID, names)
}

// actor returns the form in which a page shows by, who created or revoked a token. The map contains
// the names of tokens by ID.
func (x *exchange) actor(by, owner string, names map[string]string) *actor {
	kind, id, _ := strings.Cut(by, ":")
	switch {
	case by == "":
		return nil
	case kind+":" == actorToken && id != "":
		return &actor{x.texts.ByToken, cmp.Or(names[id], visible(id))}
	case by == actorUser+owner && x.staff:
		return &actor{x.texts.ByOwner, ""}
	case by == actorUser+owner:
		return &actor{x.texts.ByYou, ""}
	case kind+":" == actorUser && id != "":
		return &actor{x.texts.ByUser, visible(id)}
	case kind == actorStaff && x.staff:
		return &actor{x.texts.ByStaff, visible(id)}
	case kind == actorStaff: // users do not see which member of staff it was
		return &actor{x.texts.ByStaff, ""}
	case by == actorCLI:
		return &actor{x.texts.ByAdmin, ""}
	case by == actorLogin:
		return &actor{x.texts.ByLogin, ""}
	}
	return &actor{x.texts.By, visible(by)}
}

// names returns names of tokens by ID: of the given tokens, and of the tokens that created or
// revoked them. A user sees only the names of the user's own tokens. If the store fails, the page
// shows the IDs, because it has all other data.
func (x *exchange) names(tokens []tokenauth.Token) map[string]string {
	names := map[string]string{}
	for i := range tokens {
		names[tokens[i].ID] = tokens[i].Name
	}
	var missing []string
	for i := range tokens {
		for _, by := range []string{tokens[i].CreatedBy, tokens[i].RevokedBy} {
			if id, ok := strings.CutPrefix(by, actorToken); ok && names[id] == "" {
				missing = append(missing, id)
			}
		}
	}
	if len(missing) == 0 {
		return names
	}
	slices.Sort(missing)
	q := x.whose
	q.IDs, q.IncludeRevoked = slices.Compact(missing), true
	found, err := x.manager.List(x.r.Context(), q)
	if err != nil {
		x.report(err)
	}
	for i := range found {
		names[found[i].ID] = found[i].Name
	}
	return names
}
