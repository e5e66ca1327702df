package tokenauth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"strings"
	"unicode"
	"unicode/utf8"
)

// actorKey is the context key of the actor.
type actorKey struct{}

// ContextWithActor returns a context with the actor by. Pass this context to methods of the Manager
// to make changes on behalf of that actor. The Manager stores by as [Token].CreatedBy or
// [Token].RevokedBy, and reports it as [Event].By. Control characters
// and invalid UTF-8 are removed from by. If by is longer than 255 bytes, a hash replaces its end.
// The users of the tokens can read by in the JSON of a token.
//
// Give each kind of actor a prefix of its own, so that nobody can take the name of another. The
// packages of this module set an actor themselves. For a request with a key, package tokenapi sets
// "token:" and the ID of the token. In other requests, packages tokenapi and tokenpage set "user:"
// and the ID of the user, or "staff", unless the context has an actor. Package tokenlogin sets
// "login", and package tokencli sets "cli" unless the context has an actor.
func ContextWithActor(ctx context.Context, by string) context.Context {
	return context.WithValue(ctx, actorKey{}, cleanActor(by))
}

// ActorFrom returns the actor that [ContextWithActor] put into ctx, or "" if there is none.
func ActorFrom(ctx context.Context) string {
	by, _ := ctx.Value(actorKey{}).(string)
	return by
}

const maxActorBytes = 255 // length of the columns created_by and revoked_by

// cleanActor returns an actor as a store keeps it. A database may refuse invalid UTF-8 and control
// characters. The hash keeps long actors that begin alike apart.
func cleanActor(by string) string {
	by = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(by, ""))
	if len(by) <= maxActorBytes {
		return by
	}
	hash := sha256.Sum256([]byte(by))
	end := "#" + hex.EncodeToString(hash[:16])
	for len(by)+len(end) > maxActorBytes {
		_, size := utf8.DecodeLastRuneInString(by)
		by = by[:len(by)-size]
	}
	return by + end
}

const revokePasses = 10 // maximum number of searches of RevokeCreatedBy

// RevokeCreatedBy revokes the live tokens of all users that the actor by created, and the tokens
// that these tokens created, and so on. It returns the number of tokens that it revoked, even if it
// also returns an error. If by is "token:" and the ID of a token, revoke that token first, so that
// it creates no further token. RevokeCreatedBy does not find the tokens that a token created if
// Prune has deleted that token, unless by names it.
//
// RevokeCreatedBy reads all tokens that by created, also revoked ones, and makes one more query for
// each of them. Therefore it takes long for an actor that created many tokens, such as "login".
//
// RevokeCreatedBy returns [ErrInvalidSpec] if by is empty. It returns [ErrConflict] if other calls
// go on to create such tokens.
func (m *Manager) RevokeCreatedBy(ctx context.Context, by string) (int, error) {
	if by = cleanActor(by); by == "" {
		return 0, &SpecError{"created_by", "must not be empty"}
	}
	revoked := map[string]bool{} // by token ID; in a transaction, a search may show them as live
	for range revokePasses {     // because a token may create another one during a search
		before := len(revoked)
		err := m.revokeCreatedBy(ctx, by, revoked)
		if err != nil || len(revoked) == before {
			return len(revoked), err
		}
	}
	return len(revoked), fmt.Errorf("%w: gave up after %d searches", ErrConflict, revokePasses)
}

// revokeCreatedBy searches the tokens once, for RevokeCreatedBy, and adds the tokens that it
// revokes to revoked.
func (m *Manager) revokeCreatedBy(ctx context.Context, by string, revoked map[string]bool) error {
	for t, err := range m.descendants(ctx, by) {
		if err != nil {
			return err
		}
		if !t.RevokedAt.IsZero() || revoked[t.ID] {
			continue
		}
		// Not m.Revoke, which refuses a user ID that Options.CheckUserID did not check before.
		err := m.store.Revoke(ctx, t.UserID, t.ID, m.options.Now(), ActorFrom(ctx))
		m.changed(ctx, Event{Kind: EventRevoked, Token: Token{ID: t.ID, UserID: t.UserID}, Count: 1}, err)
		switch {
		case err == nil:
			revoked[t.ID] = true
		case !errors.Is(err, ErrNotFound): // ErrNotFound means that the token was deleted meanwhile
			return err
		}
	}
	return nil
}

// descendants returns the tokens that by created, also revoked ones, then the tokens that these
// tokens created, and so on. The last pair may have an error and no token.
func (m *Manager) descendants(ctx context.Context, by string) iter.Seq2[Token, error] {
	return func(yield func(Token, error) bool) {
		creators, seen := []string{by}, map[string]bool{by: true}
		for ; len(creators) > 0; creators = creators[1:] {
			for t, err := range m.all(ctx, Query{AllUsers: true, CreatedBy: creators[0], IncludeRevoked: true, Limit: revokeBatch}) {
				if !yield(t, err) || err != nil {
					return
				}
				if next := "token:" + t.ID; !seen[next] { // the actor of requests with a key of t
					seen[next] = true
					creators = append(creators, next)
				}
			}
		}
	}
}

// all returns the tokens that q selects. It reads them in pages of q.Limit. The last pair may have
// an error and no token.
func (m *Manager) all(ctx context.Context, q Query) iter.Seq2[Token, error] {
	return func(yield func(Token, error) bool) {
		for {
			page, err := m.List(ctx, q)
			if err != nil {
				yield(Token{}, err)
				return
			}
			for i := range page {
				if !yield(page[i], nil) {
					return
				}
			}
			if len(page) < q.Limit {
				return
			}
			q.After = page[len(page)-1].Cursor()
		}
	}
}
