package tokenauth

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	randv2 "math/rand/v2"
	"regexp"
	"slices"
	"sync"
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
	// Resources are the resources that the token is restricted to: 1 to 100 of those that
	// [Options].Resources returns. Nil means that the token is not restricted. An empty list that is
	// not nil is refused.
	Resources []string
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
	if err := m.checkResources(ctx, spec.UserID, r.Token.Resources); err != nil {
		return Key{}, Token{}, err
	}
	r.Token.CreatedBy = ActorFrom(ctx)
	room := m.roomFor(ctx, &r, now)
	for range issueAttempts {
		again, failure := room.takeSlot(ctx)
		if failure != nil {
			return Key{}, Token{}, failure
		}
		if again {
			continue
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
		case errors.Is(err, ErrNameTaken):
			if _, err := room.freeName(ctx); err != nil {
				return Key{}, Token{}, err
			}
		case errors.Is(err, ErrKeyTaken) && spec.ID != "":
			return Key{}, Token{}, fmt.Errorf("%w: the ID is in use", ErrConflict)
		case !isAny(err, ErrSlotTaken, ErrKeyTaken):
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

// CheckSpec returns the [*SpecError] that [Manager.Issue] would return for spec. It checks neither
// UserID nor whether the user has the resources. A service can thereby refuse a request before it
// finds out who the user is.
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
	if t.Resources, err = syntax.Resources(spec.Resources); err != nil {
		return Record{}, invalid("resources", err)
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

// A room makes room for a token that Issue creates: it finds a slot, and revokes expired tokens.
//
// The reads of a room may be outdated when Issue calls Create. Create then fails, because names and
// slots are unique in the store, and Issue retries. Therefore concurrent calls cannot exceed
// MaxPerUser. The cost of a room does not depend on the number of the user's tokens, unless nearly
// all slots are taken, or the service has lowered MaxPerUser.
type room struct {
	*Manager
	r           *Record // token to create
	now         time.Time
	unusedSince func() time.Time // result of Manager.unusedSince, which writes last-used times
}

func (m *Manager) roomFor(ctx context.Context, r *Record, now time.Time) *room {
	unusedSince := sync.OnceValue(func() time.Time { return m.unusedSince(ctx, now) })
	return &room{Manager: m, r: r, now: now, unusedSince: unusedSince}
}

const slotWindow = 256 // number of slots that takeSlot reads per query

// takeSlot gives the token a free slot. If all slots are taken, takeSlot revokes expired tokens,
// and reports that Issue must call it again. If too few tokens are expired, takeSlot returns
// ErrNameTaken or ErrTooManyTokens.
func (o *room) takeSlot(ctx context.Context) (again bool, err error) {
	limit := o.options.MaxPerUser
	if limit < 0 {
		return false, nil
	}
	o.r.Slot = 0
	slots := Query{UserID: o.r.Token.UserID, MinSlot: limit + 1, MaxSlot: maxSlot}
	if limit <= slotWindow {
		slots.MinSlot = 1
	}
	held, err := o.store.List(ctx, slots)
	if err == nil && len(held) > 0 && slots.MinSlot > 1 { // the service has lowered MaxPerUser
		slots.MinSlot = 1
		held, err = o.store.List(ctx, slots)
	}
	switch {
	case err != nil:
		return false, err
	case slots.MinSlot > 1:
		held, err = o.searchSlot(ctx, limit)
	default:
		if found, err := o.freeNameOf(ctx, held); found {
			return true, err
		}
		o.r.Slot = freeSlot(1, usableSlots(held, limit), held)
	}
	if o.r.Slot != 0 || err != nil {
		return false, err
	}
	return true, o.makeRoom(ctx, held)
}

// searchSlot gives the token a free slot from 1 to limit, if there is one. It begins at a random
// slot, so that concurrent calls seldom choose the same slot. searchSlot returns the tokens that
// hold the slots it has read.
func (o *room) searchSlot(ctx context.Context, limit int) (held []Record, err error) {
	begin := randv2.IntN(limit)
	for seen := 0; seen < limit; {
		first := (begin+seen)%limit + 1
		last := min(first+slotWindow-1, first+limit-seen-1, limit)
		used, err := o.store.List(ctx, Query{UserID: o.r.Token.UserID, MinSlot: first, MaxSlot: last})
		if err != nil {
			return nil, err
		}
		if o.r.Slot = freeSlot(first, last, used); o.r.Slot != 0 {
			return nil, nil
		}
		held = append(held, used...)
		seen += last - first + 1
	}
	return held, nil
}

// usableSlots returns the number of slots that new tokens may use. For each token that holds a
// higher slot, one slot is not usable. held are all tokens that hold a slot.
func usableSlots(held []Record, limit int) int {
	slots := make([]int, len(held))
	for i := range held {
		slots[i] = held[i].Slot
	}
	slices.Sort(slots)
	n := limit
	for _, slot := range slices.Backward(slots) {
		if slot > n {
			n--
		}
	}
	return max(n, 0)
}

// freeSlot returns a random slot from first to last that none of the tokens holds, or 0.
func freeSlot(first, last int, tokens []Record) int {
	taken := map[int]bool{}
	for i := range tokens {
		if slot := tokens[i].Slot; first <= slot && slot <= last {
			taken[slot] = true
		}
	}
	n := last - first + 1
	if len(taken) >= n {
		return 0
	}
	i := randv2.IntN(n)
	for taken[first+i] {
		i = (i + 1) % n
	}
	return first + i
}

const mostRevoked = 50 // maximum number of tokens that makeRoom revokes per attempt of Issue

// makeRoom revokes as many expired tokens as needed to free one slot, but at most 50, because a
// request waits. held are the tokens that hold a slot.
func (o *room) makeRoom(ctx context.Context, held []Record) error {
	if found, err := o.freeName(ctx); found || err != nil {
		return err
	}
	needed := len(held) - o.options.MaxPerUser + 1
	expired := slices.DeleteFunc(held, func(r Record) bool { return !o.isExpired(&r.Token) })
	if len(expired) < needed {
		return ErrTooManyTokens
	}
	// In random order, so that concurrent calls seldom revoke the same token.
	for _, i := range randv2.Perm(len(expired))[:max(0, min(needed, mostRevoked))] {
		if err := o.revokeExpired(ctx, &expired[i].Token); err != nil {
			return err
		}
	}
	return nil
}

// freeName revokes the live token that has the name of the new token, and reports whether there is
// one. If that token is not expired, freeName returns ErrNameTaken.
func (o *room) freeName(ctx context.Context) (found bool, err error) {
	tokens, err := o.store.List(ctx, Query{UserID: o.r.Token.UserID, Name: o.r.Token.Name})
	if err != nil {
		return false, err
	}
	return o.freeNameOf(ctx, tokens)
}

// freeNameOf is like freeName, for the given tokens of the user.
func (o *room) freeNameOf(ctx context.Context, tokens []Record) (found bool, err error) {
	i := slices.IndexFunc(tokens, func(r Record) bool { return r.Token.Name == o.r.Token.Name })
	switch {
	case i < 0:
		return false, nil
	case !o.isExpired(&tokens[i].Token):
		return true, ErrNameTaken
	}
	return true, o.revokeExpired(ctx, &tokens[i].Token)
}

func (o *room) isExpired(t *Token) bool {
	return t.ExpiredAt(o.now) || o.isIdle(t, o.now.Add(-o.lag())) && !o.unusedSince().IsZero()
}

// revokeExpired revokes a token if the token is expired. If the token is gone or no longer expired,
// revokeExpired returns nil. Create then fails if the token's name or slot is still taken, and
// Issue retries.
func (o *room) revokeExpired(ctx context.Context, t *Token) error {
	var unusedSince time.Time
	if !t.ExpiredAt(o.now) {
		unusedSince = o.unusedSince()
	}
	err := o.store.RevokeExpired(ctx, t.UserID, t.ID, o.now, ActorFrom(ctx), unusedSince)
	o.changed(ctx, Event{Kind: EventRevoked, Token: t.clone(), Count: 1}, err)
	if isAny(err, ErrNotFound, ErrConflict) {
		return nil
	}
	return err
}
