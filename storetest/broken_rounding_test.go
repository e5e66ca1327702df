package storetest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

const roundsFirst = "round a time down to the microsecond when it is stored, and not only when it is returned"

// A comparing is a store in which one method compares times in another form than the others. It
// remembers the times as Create, Update and Touch received them: not rounded, and in any time zone.
type comparing struct {
	*brokenStore
	stored, argument func(time.Time) time.Time // return the form of a time that is stored or an argument
	given            sync.Map                  // times by time and token ID
}

// comparesBy returns a function that breaks the method of a store with the given name.
func comparesBy(method string, stored, argument func(time.Time) time.Time) func(*brokenStore) {
	return func(s *brokenStore) {
		x := &comparing{brokenStore: s, stored: stored, argument: argument}
		switch method {
		case "List":
			s.list = x.list
		case "List with ExpiresBefore":
			s.list = x.listExpiring
		case "Update":
			s.update = x.updateBy
		case "Rotate":
			s.rotate = x.rotateBy
		case "RevokeExpired":
			s.revokeExpired = x.revokeBy
		case "Prune":
			s.prune = x.pruneBy
		}
		x.remember(method == "Touch")
	}
}

// remember lets the store remember the times that it receives.
func (x *comparing) remember(isTouchBroken bool) {
	s, update := x.brokenStore, x.update
	s.create = func(ctx context.Context, records ...tokenauth.Record) error {
		for _, r := range records {
			x.note(r.Token.ID, r.Token.CreatedAt, r.Token.ExpiresAt, r.Token.LastUsedAt, r.Token.RevokedAt)
		}
		return s.plainStore.Create(ctx, records...)
	}
	if update == nil {
		update = s.plainStore.Update
	}
	s.update = func(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
		if p.ExpiresAt != nil {
			x.note(id, *p.ExpiresAt)
		}
		return update(ctx, userID, id, p, at)
	}
	s.touch = func(ctx context.Context, uses ...tokenauth.Use) error {
		var later []tokenauth.Use
		for _, u := range uses {
			r, _ := s.get(withID(u.ID))
			if t := x.form(r).Token; !isTouchBroken || t.LastUsedAt.Before(t.CreatedAt) || x.argument(u.At).After(t.LastUsedAt) {
				later = append(later, u)
			}
			x.note(u.ID, u.At)
		}
		return s.plainStore.Touch(ctx, later...)
	}
}

func (x *comparing) note(id string, times ...time.Time) {
	for _, t := range times {
		x.given.Store(id+" "+micros(t).String(), t)
	}
}

// form returns r with all times in the form in which the store compares them.
func (x *comparing) form(r tokenauth.Record) tokenauth.Record {
	r = kept(r)
	for _, t := range []*time.Time{&r.Token.CreatedAt, &r.Token.ExpiresAt, &r.Token.LastUsedAt, &r.Token.RevokedAt} {
		if given, ok := x.given.Load(r.Token.ID + " " + t.String()); ok {
			*t = given.(time.Time)
		}
		*t = x.stored(*t)
	}
	return r
}

// formed returns a store with the rows of x, in the form in which the store compares them.
func (x *comparing) formed() *plainStore {
	formed := &plainStore{}
	for _, r := range x.all() {
		formed.rows = append(formed.rows, x.form(r))
	}
	return formed
}

func (x *comparing) list(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
	records, err := x.plainStore.List(ctx, q)
	slices.SortStableFunc(records, func(a, b tokenauth.Record) int {
		a, b = x.form(a), x.form(b)
		return compare(a.Token.Cursor(), b.Token.Cursor())
	})
	return records, err
}

func (x *comparing) listExpiring(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
	relaxed := q
	relaxed.ExpiresBefore, relaxed.Limit = time.Time{}, min(0, q.Limit)
	records, err := x.plainStore.List(ctx, relaxed)
	if !q.ExpiresBefore.IsZero() {
		records = where(records, func(r tokenauth.Record) bool {
			at := x.form(r).Token.ExpiresAt
			return !at.IsZero() && at.Before(x.argument(q.ExpiresBefore))
		})
	}
	if q.Limit > 0 {
		records = records[:min(q.Limit, len(records))]
	}
	return records, err
}

func (x *comparing) updateBy(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
	formed := p
	if p.ExpiresAt != nil {
		formed.ExpiresAt = new(x.stored(*p.ExpiresAt))
	}
	if p.Replaces != nil {
		formed.Replaces = &tokenauth.Token{Scopes: p.Replaces.Scopes, Resources: p.Replaces.Resources, ExpiresAt: x.argument(p.Replaces.ExpiresAt)}
	}
	if err := x.formed().Update(ctx, userID, id, formed, x.argument(at)); err != nil {
		return err
	}
	return x.plainStore.Update(ctx, userID, id, p, time.Time{}) // the expiry is checked already
}

func (x *comparing) rotateBy(ctx context.Context, userID, id string, rot tokenauth.Rotation, at time.Time) error {
	if err := x.formed().Rotate(ctx, userID, id, rot, x.argument(at)); err != nil {
		return err
	}
	return x.plainStore.Rotate(ctx, userID, id, rot, time.Time{})
}

func (x *comparing) revokeBy(ctx context.Context, userID, id string, at time.Time, by string, unusedSince time.Time) error {
	if err := x.formed().RevokeExpired(ctx, userID, id, x.argument(at), by, x.argument(unusedSince)); err != nil {
		return err
	}
	return x.plainStore.Revoke(ctx, userID, id, at, by)
}

func (x *comparing) pruneBy(ctx context.Context, before, unusedSince time.Time, limit int) (n int, err error) {
	formed := x.formed()
	if _, err := formed.Prune(ctx, x.argument(before), x.argument(unusedSince), limit); err != nil {
		return 0, err
	}
	rest := map[string]bool{}
	for _, r := range formed.rows {
		rest[r.Token.ID] = true
	}
	err = x.locked(ctx, func() error {
		before := len(x.rows)
		x.rows = slices.DeleteFunc(x.rows, func(r tokenauth.Record) bool { return !rest[r.Token.ID] })
		n = before - len(x.rows)
		return nil
	})
	return n, err
}

// clock returns what a clock in the time zone of t shows, as if it was a time in UTC.
func clock(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond()/1000*1000, time.UTC)
}

func asGiven(t time.Time) time.Time { return t }

// roundedUp returns t rounded up to the microsecond. A time that was not rounded when it was stored
// compares like the time rounded up with all times that have microseconds.
func roundedUp(t time.Time) time.Time {
	if t.Nanosecond()%1000 > 0 {
		return micros(t).Add(time.Microsecond)
	}
	return micros(t)
}

// roundingBugs are bugs of stores that compare times in the form in which they received them.
var roundingBugs = []bug{
	{"List sorts by times that are not rounded", comparesBy("List", roundedUp, micros), []string{roundsFirst}},
	{"List compares expiries that are not rounded", comparesBy("List with ExpiresBefore", asGiven, asGiven), []string{roundsFirst}},
	{"Update compares an expiry that is not rounded", comparesBy("Update", roundedUp, micros), []string{roundsFirst}},
	{"Rotate compares an expiry that is not rounded", comparesBy("Rotate", roundedUp, micros), []string{roundsFirst}},
	{"RevokeExpired compares times that are not rounded", comparesBy("RevokeExpired", roundedUp, micros), []string{roundsFirst}},
	{"Prune compares last-used times that are not rounded", comparesBy("Prune", roundedUp, micros), []string{roundsFirst}},

	{"List sorts by times without their time zone", comparesBy("List", clock, clock), []string{ordersTimes}},
	{"List compares expiries without their time zone", comparesBy("List with ExpiresBefore", clock, clock), []string{listsExpiryTimes}},
	{"Update compares times without their time zone", comparesBy("Update", clock, clock), []string{expiresTimes}},
	{"Rotate compares times without their time zone", comparesBy("Rotate", clock, clock), []string{expiresTimes}},
	{"RevokeExpired compares times without their time zone", comparesBy("RevokeExpired", clock, clock), []string{expiresTimes, idlesRevoked}},
	{"Touch compares times without their time zone", comparesBy("Touch", clock, clock), []string{usesTimes}},
	{"Prune compares times without their time zone", comparesBy("Prune", clock, clock), []string{prunesTimes, idlesTimes}},
}
