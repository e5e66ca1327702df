package differential

import (
	"math"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

func (g *generator) list() call {
	r := g.token()
	q := tokenauth.Query{UserID: r.Token.UserID, IncludeRevoked: g.chance(2), Limit: pick(g, []int{0, 0, 0, 1, 2, 3, 7, 1000, math.MaxInt})}
	if g.chance(2) {
		q.AllUsers, q.UserID = true, ""
	}
	if g.chance(3) {
		q.IDs = g.someIDs()
	}
	if g.chance(4) {
		q.Name = pick(g, []string{r.Token.Name, r.Token.Name, pick(g, names)})
	}
	if g.chance(4) {
		q.MinSlot, q.MaxSlot = pick(g, slots), pick(g, slots)
		if q.MinSlot > q.MaxSlot && !g.chance(10) {
			q.MinSlot, q.MaxSlot = q.MaxSlot, q.MinSlot
		}
	}
	if g.chance(3) {
		q.CreatedBy, q.ExpiresBefore = g.creatorAndExpiry(&r)
	}
	if g.chance(3) {
		after := g.token()
		q.After = pick(g, []tokenauth.Cursor{
			after.Token.Cursor(), {CreatedAt: after.Token.CreatedAt, ID: pick(g, ids)}, {CreatedAt: g.timeNear(&after)}, {CreatedAt: g.timeNear(&after), ID: after.Token.ID},
			{ID: after.Token.ID},
		})
	}
	if g.chance(40) {
		q.AllUsers = !q.AllUsers // which makes the query invalid
	}
	if g.chance(40) {
		q.Limit = -1
	}
	return newCall("List", q)
}

// creatorAndExpiry returns values of a query that r may meet. At least one of them is usually not
// zero.
func (g *generator) creatorAndExpiry(r *tokenauth.Record) (by string, before time.Time) {
	n := g.IntN(5)
	if n < 3 {
		by = pick(g, []string{r.Token.CreatedBy, pick(g, actors), pick(g, actors[:6])})
	}
	if n > 1 {
		before = g.timeNear(r)
	}
	return by, before
}

// someIDs returns an empty list, or a list with IDs of stored and of other tokens.
func (g *generator) someIDs() []string {
	some := []string{}
	n := g.IntN(6)
	if g.chance(10) {
		n = 600
	}
	for range n {
		some = append(some, g.token().Token.ID)
	}
	return some
}
