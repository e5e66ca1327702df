package differential

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// A generator generates the calls of a round.
type generator struct {
	*rand.Rand
	mode    mode
	store   *tokenauth.MemoryStore // after the steps so far
	records []tokenauth.Record     // contents of store
	steps   []step
	calls   int // number of steps without those from findsAround
	bulk    int // number of records from bulkRecords
}

// generate returns the steps of a round: at least the given number of calls. Most of them concern
// records that exist at that step.
func generate(m mode, seed uint64, calls int) []step {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 0)), mode: m, store: tokenauth.NewMemoryStore()}
	for tx := 1; g.calls < calls; tx++ {
		if !m.transactional {
			g.addCall(g.call(), 0)
			continue
		}
		before := g.records
		for range 1 + g.IntN(8) {
			g.addCall(g.call(), tx)
		}
		if g.steps[len(g.steps)-1].rollsBack() {
			g.store, g.records = holding(before), before
		}
	}
	return g.steps
}

// addCall adds a step. If the calls go through a cache, it also adds calls of Find before and after
// a change, so that the cache must evict records.
func (g *generator) addCall(c call, tx int) {
	var finds []call
	if g.mode.cached && c.method != "List" && c.method != "Find" {
		finds = g.findsAround(c)
	}
	for _, f := range finds {
		g.steps = append(g.steps, step{f, tx})
	}
	g.steps = append(g.steps, step{c, tx})
	g.calls++
	g.apply(c)
	for _, f := range finds {
		g.steps = append(g.steps, step{f, tx})
	}
}

// apply makes a call on the generator's store.
func (g *generator) apply(c call) {
	ctx := context.Background()
	before := g.records
	switch c.method {
	case "Find", "List":
		return
	case "Prune":
	default:
		if r := c.run(ctx, g.store); r.err == nil {
			g.records = contents(ctx, g.store)
		}
		return
	}
	// MemoryStore.Prune chooses tokens at random, but the steps must depend on the seed alone.
	limit := c.args[2].(int)
	newCall("Prune", c.args[0], c.args[1], math.MaxInt).run(ctx, g.store)
	left := contents(ctx, g.store)
	g.records = slices.DeleteFunc(slices.Clone(before), func(r tokenauth.Record) bool {
		isLeft := slices.ContainsFunc(left, func(l tokenauth.Record) bool { return l.Token.ID == r.Token.ID })
		if isLeft || limit <= 0 {
			return false
		}
		limit--
		return true
	})
	g.store = holding(g.records)
}

// findsAround returns calls of Find for the digests of the tokens that c may change.
func (g *generator) findsAround(c call) (finds []call) {
	add := func(r tokenauth.Record) {
		finds = append(finds, newCall("Find", r.Digest))
		if r.Retired != nil {
			finds = append(finds, newCall("Find", r.Retired.Digest))
		}
	}
	for _, arg := range c.args {
		switch x := arg.(type) {
		case tokenauth.Record:
			add(x)
		case tokenauth.Rotation:
			finds = append(finds, newCall("Find", x.Digest))
		}
	}
	for _, r := range g.records {
		concerned := slices.ContainsFunc(c.args, func(arg any) bool {
			use, _ := arg.(tokenauth.Use)
			return arg == r.Token.ID || use.ID == r.Token.ID || arg == r.Token.UserID && c.method == "RevokeAll" || c.method == "Prune"
		})
		if concerned && len(finds) < 16 {
			add(r)
		}
	}
	return finds
}

// call returns a random call.
func (g *generator) call() call {
	methods := []struct {
		weight int
		call   func() call
	}{
		{24, g.create}, {10, g.find}, {18, g.list}, {18, g.update}, {18, g.rotate}, {5, g.revoke}, {8, g.revokeExpired},
		{3, g.revokeAll}, {12, g.touch}, {3, g.prune},
	}
	total := 0
	for _, m := range methods {
		total += m.weight
	}
	for n := g.IntN(total); ; methods = methods[1:] {
		if n -= methods[0].weight; n < 0 {
			return methods[0].call()
		}
	}
}

// token returns a stored record in most cases, and otherwise a record with a random user ID and
// token ID.
func (g *generator) token() tokenauth.Record {
	if len(g.records) == 0 || g.chance(8) {
		return tokenauth.Record{Token: tokenauth.Token{ID: pick(g, ids), UserID: pick(g, users)}, Digest: g.digest()}
	}
	r := pick(g, g.records)
	for range 12 { // prefer live tokens
		if !r.Token.RevokedAt.IsZero() {
			r = pick(g, g.records)
		}
	}
	if g.chance(12) {
		r.Token.UserID = pick(g, users)
	}
	return r
}

func (g *generator) record() tokenauth.Record {
	r := tokenauth.Record{
		Token: tokenauth.Token{
			ID: pick(g, ids), UserID: pick(g, users[:5]), Name: pick(g, names), Scopes: g.scopes(), Hint: pick(g, hints),
			Generation: g.IntN(3), Origin: pick(g, origins), CreatedAt: g.time(), ExpiresAt: g.timeOrZero(),
			Resources: g.resources(), CreatedBy: pick(g, actors),
		},
		Digest: g.newDigest(), Slot: pick(g, slots),
	}
	if g.chance(3) {
		r.Token.UserID = pick(g, users)
	}
	if g.chance(3) {
		r.Token.LastUsedAt = g.time()
	}
	if g.chance(6) {
		r.Token.RevokedAt, r.Token.RevokedBy = g.time(), pick(g, actors)
	}
	if g.chance(4) {
		r.Retired = &tokenauth.RetiredKey{Digest: g.newDigest(), Until: g.time()}
	}
	if !g.chance(4) {
		g.separate(&r)
	} else if g.chance(2) {
		g.collide(&r)
	}
	if r.Retired != nil && r.Retired.Digest == r.Digest {
		r.Retired = nil
	}
	return r
}

// separate gives r an ID and digests that no stored record has.
func (g *generator) separate(r *tokenauth.Record) {
	used := func(r *tokenauth.Record, other tokenauth.Record) bool {
		return other.Token.ID == r.Token.ID || other.Digest == r.Digest || other.Retired != nil && other.Retired.Digest == r.Digest
	}
	for range 10 {
		if !slices.ContainsFunc(g.records, func(other tokenauth.Record) bool { return used(r, other) }) {
			return
		}
		r.Token.ID, r.Digest, r.Retired = pick(g, ids), g.newDigest(), nil
	}
}

// collide gives r a value of a stored record.
func (g *generator) collide(r *tokenauth.Record) {
	other := g.token()
	switch g.IntN(6) {
	case 0:
		r.Digest = g.digest()
	case 1:
		r.Retired = &tokenauth.RetiredKey{Digest: g.digest(), Until: g.time()}
	case 2:
		r.Token.ID, r.Digest = other.Token.ID, other.Digest
	case 3:
		r.Token.ID, r.Digest, r.Token.UserID = other.Token.ID, other.Digest, other.Token.UserID
	case 4:
		r.Token.UserID, r.Token.Name = other.Token.UserID, other.Token.Name
	case 5:
		r.Token.UserID, r.Slot = other.Token.UserID, other.Slot
	}
}

func (g *generator) create() call {
	if g.chance(60) {
		return newCall("Create", g.bulkRecords()...)
	}
	var records []any
	for range g.IntN(2) * g.IntN(8) {
		records = append(records, g.record())
		if g.chance(10) {
			records = append(records, pick(g, records))
		}
	}
	if len(records) == 0 && !g.chance(20) {
		records = append(records, g.record())
	}
	return newCall("Create", records...)
}

// bulkRecords returns up to 250 records that can all be created, except perhaps one.
func (g *generator) bulkRecords() (records []any) {
	user := pick(g, users)
	for range 1 + g.IntN(250) {
		g.bulk++
		records = append(records, tokenauth.Record{
			Token: tokenauth.Token{
				ID: fmt.Sprint("bulk", g.bulk), UserID: user, Name: fmt.Sprint("bulk", g.bulk), Scopes: g.scopes(), Generation: 1,
				CreatedAt: g.time(), ExpiresAt: g.timeOrZero(), Resources: g.resources(), CreatedBy: pick(g, actors),
			},
			Digest: digest(digests + g.bulk%bulkDigests),
		})
	}
	if g.chance(2) {
		records[g.IntN(len(records))] = g.record()
	}
	return records
}

func (g *generator) find() call { return newCall("Find", g.digest()) }

func (g *generator) update() call {
	r := g.token()
	var p tokenauth.Patch
	if g.chance(2) {
		p.Name = new(pick(g, []string{pick(g, names), pick(g, names), r.Token.Name, g.nameOf(r.Token.UserID)}))
		if *p.Name == "" { // the user has no token
			p.Name = new("n")
		}
	}
	if g.chance(2) {
		p.Scopes = new([]string(g.scopes()))
	}
	if g.chance(3) {
		p.Resources = new(g.resources())
	}
	if g.chance(2) {
		p.ExpiresAt = new(g.timeOrZero())
	}
	if g.chance(2) {
		p.Replaces = &tokenauth.Token{Scopes: r.Token.Scopes, Resources: r.Token.Resources, ExpiresAt: r.Token.ExpiresAt}
		if g.chance(4) {
			p.Replaces.Scopes = g.scopes()
		}
		if g.chance(4) {
			p.Replaces.Resources = g.resources()
		}
		if g.chance(4) {
			p.Replaces.ExpiresAt = g.timeOrZero()
		}
	}
	return newCall("Update", r.Token.UserID, r.Token.ID, p, g.timeNear(&r))
}

// nameOf returns the name of a random live token of a user, or an empty text.
func (g *generator) nameOf(user string) (name string) {
	for i, n := range g.Perm(len(g.records)) {
		if t := &g.records[n].Token; t.UserID == user && t.RevokedAt.IsZero() || i > 200 {
			return t.Name
		}
	}
	return ""
}

func (g *generator) rotate() call {
	r := g.token()
	rotation := tokenauth.Rotation{Replaces: r.Token.Generation, Digest: g.newDigest(), Hint: pick(g, hints), GraceUntil: g.time()}
	if g.chance(5) {
		rotation.Replaces += g.IntN(3) - 1
	}
	switch g.IntN(5) {
	case 0:
		rotation.Digest = r.Digest
	case 1:
		rotation.Digest = g.digest()
	case 2:
		if r.Retired != nil {
			rotation.Digest = r.Retired.Digest
		}
	}
	return newCall("Rotate", r.Token.UserID, r.Token.ID, rotation, g.timeNear(&r))
}

func (g *generator) revoke() call {
	r := g.token()
	return newCall("Revoke", r.Token.UserID, r.Token.ID, g.time(), pick(g, actors))
}

func (g *generator) revokeExpired() call {
	r := g.token()
	unusedSince := pick(g, []time.Time{{}, g.timeNear(&r), g.idleSince(&r)})
	return newCall("RevokeExpired", r.Token.UserID, r.Token.ID, g.timeNear(&r), pick(g, actors), unusedSince)
}

func (g *generator) revokeAll() call {
	return newCall("RevokeAll", g.token().Token.UserID, g.time(), pick(g, actors), pick(g, []int{1, 2, 5, 1000, 1000, math.MaxInt32, 0, -1}))
}

func (g *generator) touch() call {
	var uses []any
	for _, id := range g.someIDs() {
		uses = append(uses, tokenauth.Use{ID: id, At: g.time()})
	}
	for range g.IntN(4) {
		r := g.token()
		uses = append(uses, tokenauth.Use{ID: r.Token.ID, At: g.timeNear(&r)})
	}
	return newCall("Touch", uses...)
}

func (g *generator) prune() call {
	before, unusedSince := g.timeOrZero(), g.timeOrZero()
	if g.chance(2) { // otherwise most calls delete most records
		r := g.token()
		before, unusedSince = times[5], g.idleSince(&r)
	}
	return newCall("Prune", before, unusedSince, pick(g, []int{1, 2, 5, 1000, math.MaxInt32, 0, -1}))
}
