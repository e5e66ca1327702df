package recipes

import (
	"encoding/json"
	"net/http"

	"github.com/go-tokenauth/tokenauth"
)

type user struct {
	ID    string
	Admin bool
}

// docs: admin

// adminRoutes adds routes on which admins list and revoke the tokens of all users. The admins
// present a key with the scope "admin".
func adminRoutes(mux *http.ServeMux, auth *tokenauth.Authenticator[*user]) {
	tokens := auth.Manager()
	mux.Handle("GET /admin/users/{user}/tokens", admins(auth, func(w http.ResponseWriter, r *http.Request) error {
		list, err := tokens.List(r.Context(), tokenauth.Query{UserID: r.PathValue("user"), Limit: 500})
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", "application/json")
		return json.NewEncoder(w).Encode(list)
	}))
	mux.Handle("DELETE /admin/users/{user}/tokens/{token}", admins(auth, func(w http.ResponseWriter, r *http.Request) error {
		if err := tokens.Revoke(r.Context(), r.PathValue("user"), r.PathValue("token")); err != nil {
			return err // another user's token is ErrNotFound
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}))
}

// admins is middleware for routes of admins. Confirm reads the token and the user once more, and
// not from a cache. Therefore the rights of an admin end at once.
func admins(auth *tokenauth.Authenticator[*user], next func(http.ResponseWriter, *http.Request) error) http.Handler {
	return auth.RequireScopes("admin")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, _, err := auth.Confirm(r.Context(), tokenauth.Need{Scopes: []string{"admin"}, CurrentKey: true})
		switch {
		case err != nil:
			auth.WriteError(w, r, err)
		case !u.Admin:
			auth.WriteError(w, r, tokenauth.ErrInsufficientScope) // 403
		default:
			ctx := tokenauth.ContextWithActor(r.Context(), "staff:"+u.ID) // for Token.RevokedBy
			if err := next(w, r.WithContext(ctx)); err != nil {
				auth.WriteError(w, r, err)
			}
		}
	}))
}

// docs: end
