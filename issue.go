package tokenauth

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"maps"
	randv2 "math/rand/v2"
	"slices"
	"time"

	"github.com/go-tokenauth/tokenauth/internal/syntax"
)

// A Spec says which token to issue.
type Spec struct {
	UserID    string    // 1 to 255 bytes, UTF-8, no control characters
	Name      string    // trimmed; 1 to 64 characters, one of which at least is seen, none control, bidi or invisible
	Scopes    []string  // RFC 6749 section 3.3; at most 100, each of up to 128 characters; none: only what requires none
	ExpiresAt time.Time // zero: as the Manager's policy says; at the latest in the year 9999
	NoExpiry  bool      // never, whatever DefaultTTL says; refused under MaxTTL
}

const issueTries = 16

// Issue makes a token and its first key. This is the only time the key is seen.
//
// [ErrInvalidSpec], [ErrNameTaken], [ErrTooManyTokens], and [ErrConflict] if
// other calls for the same user kept coming first. After any other error the
// token may have been made: it can be found by its name. Where an expired token of the
// user holds the name, or the last place, it is revoked.
func (m *Manager) Issue(ctx context.Context, spec Spec) (Key, Token, error) {
	now := m.options.Now()
	r, err := m.newRecord(spec, now)
	if err != nil {
		return Key{}, Token{}, err
	}
	for try := range issueTries {
		if try > 0 || m.options.MaxPerUser > 0 {
			if err := m.makeRoom(ctx, &r, now); err != nil {
				return Key{}, Token{}, err
			}
		}
		key := m.newKey(m.prefix)
		r.Token.ID = rand.Text()
		r.Token.Hint = key.hint()
		r.Digest = DigestOf(key.Reveal())
		err = m.store.Create(ctx, r)
		switch {
		case err == nil:
			m.tell(ctx, Event{Kind: EventIssued, Token: r.Token.clone()})
			return key, r.Token, nil
		case !isAny(err, ErrSlotTaken, ErrNameTaken, ErrKeyTaken):
			return Key{}, Token{}, err
		}
	}
	if errors.Is(err, ErrNameTaken) {
		return Key{}, Token{}, err
	}
	return Key{}, Token{}, fmt.Errorf("%w: gave up after %d tries", ErrConflict, issueTries)
}

func (m *Manager) newRecord(spec Spec, now time.Time) (Record, error) {
	name, scopes, err := m.checkSpec(spec.UserID, spec.Name, spec.Scopes)
	if err != nil {
		return Record{}, err
	}
	if spec.NoExpiry && !spec.ExpiresAt.IsZero() {
		return Record{}, invalidSpec(errors.New("both an expiry and none"))
	}
	if ttl := cmp.Or(m.options.DefaultTTL, m.options.MaxTTL); ttl > 0 && spec.ExpiresAt.IsZero() && !spec.NoExpiry {
		spec.ExpiresAt = now.Add(ttl)
	}
	expiresAt, err := m.checkExpiry(spec.ExpiresAt, now)
	if err != nil {
		return Record{}, invalidSpec(err)
	}
	return Record{Token: Token{
		UserID: spec.UserID, Name: name, Scopes: scopes, Generation: 1,
		CreatedAt: micros(now), ExpiresAt: expiresAt,
	}}, nil
}

// checkSpec returns the name and the scopes as they are stored.
func (m *Manager) checkSpec(userID, name string, scopes []string) (string, []string, error) {
	name, nameErr := syntax.Name(name)
	scopes, scopesErr := syntax.Scopes(scopes, m.scopes)
	return name, scopes, invalidSpec(cmp.Or(syntax.UserID(userID), nameErr, scopesErr))
}

// checkExpiry applies the policy to an expiry; a zero one means never.
func (m *Manager) checkExpiry(expiresAt, now time.Time) (time.Time, error) {
	maxTTL := m.options.MaxTTL
	rounded := micros(expiresAt)
	switch { // what is far off overflows when it is rounded, so it is judged as it is
	case expiresAt.After(latestTime):
		return expiresAt, errors.New("expiry is beyond the year 9999")
	case expiresAt.IsZero() && maxTTL > 0:
		return expiresAt, errors.New("a token must expire")
	case expiresAt.IsZero():
		return rounded, nil
	case !expiresAt.After(now) || !rounded.After(now):
		return expiresAt, errors.New("expiry is not in the future")
	case maxTTL > 0 && rounded.After(now.Add(maxTTL)):
		return expiresAt, fmt.Errorf("expiry is more than %v ahead", maxTTL)
	}
	return rounded, nil
}

// makeRoom chooses a slot for r, and revokes what is expired and stands in r's
// way. What it reads is only advice: the store's unique slots and names make the
// limit exact, and Issue tries again.
func (m *Manager) makeRoom(ctx context.Context, r *Record, now time.Time) error {
	live, err := m.store.List(ctx, Query{UserID: r.Token.UserID})
	if err != nil {
		return err
	}
	used := map[int]bool{}
	var stale []Record // expired, and each holds a slot
	for _, other := range live {
		isExpired := other.Token.ExpiredAt(now)
		switch {
		case other.Token.Name == r.Token.Name && !isExpired:
			return ErrNameTaken
		case other.Token.Name == r.Token.Name:
			if err := m.revokeExpired(ctx, other.Token, now); err != nil {
				return err
			}
		case other.Slot != 0:
			used[other.Slot] = true
			if isExpired {
				stale = append(stale, other)
			}
		}
	}
	limit := m.options.MaxPerUser
	if limit < 0 {
		return nil
	}
	for len(used) >= limit {
		if len(stale) == 0 {
			return ErrTooManyTokens
		}
		if err := m.revokeExpired(ctx, stale[0].Token, now); err != nil {
			return err
		}
		delete(used, stale[0].Slot)
		stale = stale[1:]
	}
	r.Slot = freeSlot(used, limit)
	return nil
}

// revokeExpired takes it for done if the token is gone or no longer expired:
// what Issue does next will tell.
func (m *Manager) revokeExpired(ctx context.Context, t Token, now time.Time) error {
	err := m.store.RevokeExpired(ctx, t.UserID, t.ID, now)
	if isAny(err, ErrNotFound, ErrConflict) {
		return nil
	}
	if err == nil {
		m.tell(ctx, Event{Kind: EventRevoked, Token: t, Count: 1})
	}
	return err
}

// freeSlot picks a slot at random, so that calls at the same time seldom pick the
// same. Fewer than limit are used. It picks from 1…limit, or from fewer where
// slots above those are used, as after the limit was lowered: so many calls at once
// can't exceed it either.
func freeSlot(used map[int]bool, limit int) int {
	n := limit
	for _, slot := range slices.Backward(slices.Sorted(maps.Keys(used))) {
		if slot > n {
			n--
		}
	}
	slot := 1 + randv2.IntN(n)
	for used[slot] {
		slot = slot%n + 1
	}
	return slot
}

// An ImportSpec describes a live token of another system. Its key goes on
// working, for a [Manager] with a [LegacyFormat] of the same Origin.
type ImportSpec struct {
	UserID string   // as in Spec
	Name   string   // as in Spec
	Scopes []string // as in Spec

	Origin string // which system; 1 to 64 letters, digits, - and _
	Digest Digest // SHA-256 of the canonical text of the key
	Hint   string // at most 4 of the key's last characters; may be empty

	CreatedAt  time.Time // zero: now
	ExpiresAt  time.Time // zero: never; the Manager's policy does not apply
	LastUsedAt time.Time // zero: never
}

// Import adds tokens of another system, all or none, and returns them as they
// were asked for. A token's ID follows from its origin and digest, so that
// importing it again, when it has not been rotated, is no error and changes
// nothing: a token that was renamed or revoked since stays so.
//
// [ErrInvalidSpec], [ErrNameTaken], [ErrKeyTaken] (also for a token that was
// imported before and has been rotated since).
func (m *Manager) Import(ctx context.Context, specs ...ImportSpec) ([]Token, error) {
	now := m.options.Now()
	records := make([]Record, len(specs))
	tokens := make([]Token, len(specs))
	for i, spec := range specs {
		r, err := m.importRecord(spec, now)
		if err != nil {
			return nil, err
		}
		records[i], tokens[i] = r, r.Token
	}
	if err := m.store.Create(ctx, records...); err != nil {
		return nil, err
	}
	m.tell(ctx, Event{Kind: EventImported, Count: len(tokens)})
	return tokens, nil
}

func (m *Manager) importRecord(spec ImportSpec, now time.Time) (Record, error) {
	name, scopes, err := m.checkSpec(spec.UserID, spec.Name, spec.Scopes)
	if err != nil {
		return Record{}, err
	}
	if !syntax.IsWord(spec.Origin) || spec.Digest == (Digest{}) || spec.Hint != "" && (len(spec.Hint) > hintLength || !syntax.IsWord(spec.Hint)) {
		return Record{}, invalidSpec(errors.New("malformed origin, digest or hint"))
	}
	if spec.CreatedAt.IsZero() {
		spec.CreatedAt = now
	}
	for _, t := range []time.Time{spec.CreatedAt, spec.ExpiresAt, spec.LastUsedAt} {
		if t.Before(time.Time{}) || t.After(latestTime) || micros(t).IsZero() && !t.IsZero() { // which would become "never"
			return Record{}, invalidSpec(errors.New("a time outside the years 1 to 9999"))
		}
	}
	return Record{Digest: spec.Digest, Token: Token{
		ID: spec.ID(), UserID: spec.UserID, Name: name, Scopes: scopes,
		Hint: spec.Hint, Origin: spec.Origin,
		CreatedAt: micros(spec.CreatedAt), ExpiresAt: micros(spec.ExpiresAt), LastUsedAt: micros(spec.LastUsedAt),
	}}, nil
}

// ID returns the ID of the imported token, at every import of it. It tells nothing
// of the digest.
func (s ImportSpec) ID() string {
	sum := sha256.Sum256(append([]byte(s.Origin+"\x00"), s.Digest[:]...))
	return base32.StdEncoding.EncodeToString(sum[:])[:26]
}
