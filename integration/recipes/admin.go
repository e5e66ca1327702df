package recipes

import (
	"context"
	"encoding/json"
	"log/slog"
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
			if err := next(w, r); err != nil {
				auth.WriteError(w, r, err)
			}
		}
	}))
}

// docs: end

// docs: actor

// logActor returns a function for Options.OnEvent that logs whose token made a change. It passes
// each event on to next.
func logActor(logger *slog.Logger, next func(context.Context, tokenauth.Event)) func(context.Context, tokenauth.Event) {
	return func(ctx context.Context, e tokenauth.Event) {
		if by, ok := tokenauth.TokenFrom(ctx); ok {
			logger.InfoContext(ctx, "token "+string(e.Kind), "token", e.Token.ID, "by_user", by.UserID, "by_token", by.ID)
		}
		next(ctx, e)
	}
}

// docs: end
