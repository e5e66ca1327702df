package tokenauth

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	randv2 "math/rand/v2"
	"regexp"
	"slices"
	"time"

	"github.com/go-tokenauth/tokenauth/internal/syntax"
)

// A Spec describes a token to issue.
type Spec struct {
	UserID string // 1 to 255 bytes, UTF-8, no control characters
	// Name has 1 to 64 characters, after trimming and after the replacement of rows of spaces by one
	// space. At least one character must be visible. Control
	// characters and invisible characters are refused, except in emoji and between letters of
	// scripts that need joiners. Letters that look alike are not refused.
	Name string
	// Scopes are scope-tokens of RFC 6749 section 3.3: at most 100, each of at most 128 characters.
	Scopes []string
	// ExpiresAt is at the latest in the year 9999. If ExpiresAt is zero, DefaultTTL or MaxTTL of
	// the Manager's Options applies.
	ExpiresAt time.Time
	// If NoExpiry is true, DefaultTTL does not apply and the token never expires. Issue refuses
	// NoExpiry if the Manager has a MaxTTL.
	NoExpiry bool
	// ID is the ID of the token: 26 characters A-Z and 2-7, such as crypto/rand.Text returns. A
	// form that contains an ID can issue only one token. If ID is empty, Issue chooses an ID.
	ID string
}

var tokenID = regexp.MustCompile("^[A-Z2-7]{26}$")

const issueAttempts = 16

// Issue creates a token and returns its first key and the token. The key cannot be read again
// later.
//
// Issue returns [ErrInvalidSpec], [ErrNameTaken], [ErrTooManyTokens] or [ErrConflict]. ErrConflict
// means that a token with the given ID exists, or that concurrent calls for the same user made all
// attempts of Issue fail. If the table of tokens has a foreign key and the user does not exist, the
// error wraps both [ErrInvalidSpec] and [ErrUserUnknown]. After any other error, the token may have
// been created: call List to look for its name.
//
// Issue revokes an expired token of the user that has the same name. If the user has MaxPerUser
// tokens, Issue revokes an expired token of the user to make room. A token that was unused for
// IdleTimeout plus 2 × TouchEvery counts as expired, unless the last-used times of this process
// cannot be written, or the Manager is in a transaction.
func (m *Manager) Issue(ctx context.Context, spec Spec) (Key, Token, error) {
	now := m.options.Now()
	r, err := m.newRecord(&spec, now)
	if err := cmp.Or(ctx.Err(), m.CheckUserID(spec.UserID), err); err != nil {
		return Key{}, Token{}, err
	}
	for attempt := range issueAttempts {
		if attempt > 0 || m.options.MaxPerUser > 0 {
			if err := m.makeRoom(ctx, &r, now); err != nil {
				return Key{}, Token{}, err
			}
		}
		key := generateKey(m.prefix)
		r.Token.ID = cmp.Or(spec.ID, rand.Text())
		r.Token.Hint = key.hint()
		r.Digest = DigestOf(key.Reveal())
		err = m.store.Create(ctx, r)
		m.changed(ctx, Event{Kind: EventIssued, Token: r.Token.clone()}, err)
		switch {
		case err == nil:
			return key, r.Token, nil
		case errors.Is(err, ErrKeyTaken) && spec.ID != "":
			return Key{}, Token{}, fmt.Errorf("%w: the ID is in use", ErrConflict)
		case !isAny(err, ErrSlotTaken, ErrNameTaken, ErrKeyTaken):
			return Key{}, Token{}, unknownUser(err)
		}
	}
	if errors.Is(err, ErrNameTaken) {
		return Key{}, Token{}, err
	}
	return Key{}, Token{}, fmt.Errorf("%w: gave up after %d attempts", ErrConflict, issueAttempts)
}

// unknownUser returns the error of the Manager for an error of Store.Create.
func unknownUser(err error) error {
	if !errors.Is(err, ErrUserUnknown) {
		return err
	}
	return fmt.Errorf("%w: %w", &SpecError{"user_id", "does not exist, or violates another foreign key of the table"}, err)
}

// CheckSpec returns the [*SpecError] that [Manager.Issue] would return for spec. It does not check
// UserID. A service can thereby refuse a request before it finds out who the user is.
func (m *Manager) CheckSpec(spec Spec) error {
	_, err := m.newRecord(&spec, m.Now())
	return err
}

// newRecord checks all of spec except UserID, and returns the record to store.
func (m *Manager) newRecord(spec *Spec, now time.Time) (Record, error) {
	t, err := m.newToken(spec.UserID, spec.Name, spec.Scopes)
	if err != nil {
		return Record{}, err
	}
	if spec.ID != "" && !tokenID.MatchString(spec.ID) {
		return Record{}, &SpecError{"id", "must have 26 characters A-Z and 2-7"}
	}
	if spec.NoExpiry && !spec.ExpiresAt.IsZero() {
		return Record{}, &SpecError{"expires_at", "must not be set together with NoExpiry"}
	}
	expiresAt := spec.ExpiresAt
	if ttl := cmp.Or(m.options.DefaultTTL, m.options.MaxTTL); ttl > 0 && expiresAt.IsZero() && !spec.NoExpiry {
		expiresAt = now.Add(ttl)
	}
	t.ExpiresAt, err = m.checkExpiry(expiresAt, now)
	t.Generation, t.CreatedAt = 1, micros(now)
	return Record{Token: t}, invalid("expires_at", err)
}

// newToken checks a name and scopes, and returns a Token with them and the user ID. The name is
// trimmed, and the scopes are sorted.
func (m *Manager) newToken(userID, name string, scopes []string) (Token, error) {
	name, err := syntax.Name(name)
	if err != nil {
		return Token{}, invalid("name", err)
	}
	scopes, err = syntax.Scopes(scopes, m.scopes)
	return Token{UserID: userID, Name: name, Scopes: scopes}, invalid("scopes", err)
}

// checkExpiry checks an expiry against MaxTTL and the current time, and returns the time to store.
// A zero expiry means never.
func (m *Manager) checkExpiry(expiresAt, now time.Time) (time.Time, error) {
	maxTTL := m.options.MaxTTL
	rounded := micros(expiresAt)
	switch { // expiresAt itself is checked first, because rounding a very late time overflows
	case expiresAt.After(latestTime):
		return expiresAt, errors.New("must not be later than the year 9999")
	case expiresAt.IsZero() && maxTTL > 0:
		return expiresAt, errors.New("must be set")
	case expiresAt.IsZero():
		return rounded, nil
	case !expiresAt.After(now) || !rounded.After(now):
		return expiresAt, errors.New("must be in the future")
	case maxTTL > 0 && rounded.After(now.Add(maxTTL)):
		return expiresAt, fmt.Errorf("must not be more than %v ahead", maxTTL)
	}
	return rounded, nil
}

// makeRoom chooses a slot for r and revokes expired tokens that have the name of r or a slot that r
// needs. The list that makeRoom reads may be outdated when Issue calls Create. Create then fails,
// because slots and names are unique in the store, and Issue retries. Therefore concurrent calls
// cannot exceed MaxPerUser.
func (m *Manager) makeRoom(ctx context.Context, r *Record, now time.Time) error {
	live, err := m.store.List(ctx, Query{UserID: r.Token.UserID})
	if err != nil {
		return err
	}
	idleAt := now.Add(-m.lag())
	var unusedSince time.Time // stays zero if no token is idle, to save the call of Flush
	if slices.ContainsFunc(live, func(r Record) bool { return m.isIdle(&r.Token, idleAt) }) {
		unusedSince = m.unusedSince(ctx, now)
	}
	used := map[int]bool{}
	var expired []*Record // expired tokens that hold a slot
	for i := range live {
		other := &live[i]
		isExpired := other.Token.ExpiredAt(now) || !unusedSince.IsZero() && m.isIdle(&other.Token, idleAt)
		switch {
		case other.Token.Name == r.Token.Name && !isExpired:
			return ErrNameTaken
		case other.Token.Name == r.Token.Name:
			if err := m.revokeExpired(ctx, &other.Token, now, unusedSince); err != nil {
				return err
			}
		case other.Slot != 0:
			used[other.Slot] = true
			if isExpired {
				expired = append(expired, other)
			}
		}
	}
	return m.takeSlot(ctx, r, used, expired, now, unusedSince)
}

// takeSlot gives r a free slot. If all slots are used, takeSlot first revokes expired tokens to
// free their slots.
func (m *Manager) takeSlot(ctx context.Context, r *Record, used map[int]bool, expired []*Record, now, unusedSince time.Time) error {
	limit := m.options.MaxPerUser
	if limit < 0 {
		return nil
	}
	for len(used) >= limit {
		if len(expired) == 0 {
			return ErrTooManyTokens
		}
		if err := m.revokeExpired(ctx, &expired[0].Token, now, unusedSince); err != nil {
			return err
		}
		delete(used, expired[0].Slot)
		expired = expired[1:]
	}
	r.Slot = freeSlot(used, limit)
	return nil
}

// revokeExpired revokes a token if the token is expired. If the token is gone or no longer expired,
// revokeExpired returns nil. Create then fails if the token's name or slot is still taken, and
// Issue retries.
func (m *Manager) revokeExpired(ctx context.Context, t *Token, now, unusedSince time.Time) error {
	err := m.store.RevokeExpired(ctx, t.UserID, t.ID, now, unusedSince)
	m.changed(ctx, Event{Kind: EventRevoked, Token: t.clone(), Count: 1}, err)
	if isAny(err, ErrNotFound, ErrConflict) {
		return nil
	}
	return err
}

// freeSlot returns a random free slot, so that concurrent calls seldom choose the same slot. The
// caller guarantees that fewer than limit slots are used. If the service has lowered MaxPerUser,
// tokens may hold slots above limit. For each such token, freeSlot excludes one more of the highest
// slots up to limit from the choice. Otherwise concurrent calls could exceed the limit.
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
