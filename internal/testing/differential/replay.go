package differential

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"reflect"
	"slices"
	"time"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/storecache"
)

// A step is a call of a round.
type step struct {
	call call
	tx   int // number of the transaction; 0 if the call is not in a transaction
}

// rollsBack reports whether the step's transaction is rolled back.
func (s step) rollsBack() bool { return s.tx%4 == 3 }

// groups divides steps into transactions. A step outside a transaction is a group of its own.
func groups(steps []step) (all [][]step) {
	for i, s := range steps {
		if i > 0 && s.tx != 0 && s.tx == steps[i-1].tx {
			all[len(all)-1] = append(all[len(all)-1], s)
		} else {
			all = append(all, []step{s})
		}
	}
	return all
}

// A difference is a step after which the stores differ.
type difference struct {
	step int
	text string
}

// A replayer makes the same calls on the reference and on a target.
type replayer struct {
	target    Target
	mode      mode
	ctx       context.Context
	store     tokenauth.Store // of the target
	reference *tokenauth.MemoryStore
	step      int
}

// callTimeout is the longest duration of a round, in which a hanging call ends.
const callTimeout = 5 * time.Minute

// contentsEvery is the number of groups between two comparisons of the contents.
const contentsEvery = 8

// replay makes the calls of steps on the target and on a new MemoryStore. It returns the first
// difference, or nil. If thorough is true, replay compares the contents of the stores after each
// call.
func replay(target Target, m mode, steps []step, thorough bool) *difference {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	p := &replayer{target: target, mode: m, ctx: ctx, store: target.Open(), reference: tokenauth.NewMemoryStore()}
	if m.cached {
		// A record that the Cache should have evicted must not expire before it is found.
		opts := &storecache.Options{MaxStale: time.Hour, MaxEntries: 4 + len(steps)%40}
		p.store, _ = storecache.New(p.store, opts)
	}
	all := groups(steps)
	for i, group := range all {
		text := p.run(group, thorough)
		if text == "" && (thorough || i%contentsEvery == 0 || i == len(all)-1) {
			text = p.compareContents(p.store)
		}
		if text != "" {
			return &difference{min(p.step, len(steps)-1), text}
		}
	}
	return nil
}

// run runs a group of steps. It returns a description of the first difference.
func (p *replayer) run(group []step, thorough bool) string {
	if group[0].tx == 0 {
		defer func() { p.step++ }()
		return p.call(p.store, group[0].call)
	}
	tx, in, err := p.target.Begin(p.ctx, &sql.TxOptions{Isolation: p.mode.isolation})
	if err != nil {
		return fmt.Sprint("BeginTx: ", err)
	}
	defer func() { _ = tx.Rollback() }()
	before := contents(p.ctx, p.reference)
	for _, s := range group {
		text := p.call(in, s.call)
		if text == "" && thorough {
			text = p.compareContents(in)
		}
		if text != "" {
			return text
		}
		p.step++
	}
	if group[0].rollsBack() {
		p.reference = holding(before)
		err = tx.Rollback()
	} else {
		err = tx.Commit()
	}
	if err != nil {
		return fmt.Sprint("end of the transaction: ", err)
	}
	return ""
}

// call makes one call on the reference and on s, and compares the results.
func (p *replayer) call(s tokenauth.Store, c call) string {
	if c.method == "RevokeAll" || c.method == "Prune" {
		if limit := c.args[len(c.args)-1].(int); limit > 0 {
			return p.callLimited(s, c, limit)
		}
	}
	want, got := c.run(p.ctx, p.reference), c.run(p.ctx, s)
	if want.equal(got) {
		return ""
	}
	return fmt.Sprintf("%s\nwant: %s\ngot:  %s", c, want, got)
}

// callLimited makes a call that changes at most limit tokens. The store may choose these tokens.
// Afterwards the reference has the same contents as s.
func (p *replayer) callLimited(s tokenauth.Store, c call, limit int) string {
	before := contents(p.ctx, p.reference)
	unlimited := newCall(c.method, append(slices.Clone(c.args[:len(c.args)-1]), math.MaxInt)...)
	all := unlimited.run(p.ctx, p.reference)
	want := result{values: []any{min(limit, all.values[0].(int))}}
	got := c.run(p.ctx, s)
	if !want.equal(got) {
		return fmt.Sprintf("%s\nwant: %s\ngot:  %s", c, want, got)
	}
	now, err := s.List(p.ctx, everything)
	if err != nil {
		return fmt.Sprintf("after %s, List: %v", c, err)
	}
	if n := mixed(before, contents(p.ctx, p.reference), now); n != got.values[0] {
		return fmt.Sprintf("%s returns %v, but changes %d records (-1: a record has a wrong state)", c, got, n)
	}
	p.reference = holding(now)
	return ""
}

// mixed returns the number of records that are in now as in after, and not as in before. It returns
// -1 if a record is in now neither as in before nor as in after.
func mixed(before, after, now []tokenauth.Record) (changed int) {
	records := func(all []tokenauth.Record) map[string]*tokenauth.Record {
		m := map[string]*tokenauth.Record{}
		for i := range all {
			m[all[i].Token.ID] = &all[i]
		}
		return m
	}
	old, full, present := records(before), records(after), records(now)
	for id, r := range old {
		switch {
		case reflect.DeepEqual(present[id], r):
		case reflect.DeepEqual(present[id], full[id]):
			changed++
		default:
			return -1
		}
		delete(present, id)
	}
	if len(present) > 0 {
		return -1
	}
	return changed
}

var everything = tokenauth.Query{AllUsers: true, IncludeRevoked: true}

// compareContents returns a description of the first record that differs between the reference
// and s.
func (p *replayer) compareContents(s tokenauth.Store) string {
	want := contents(p.ctx, p.reference)
	got, err := s.List(p.ctx, everything)
	if err != nil {
		return fmt.Sprint("List of everything: ", err)
	}
	for i := range max(len(want), len(got)) {
		switch {
		case i >= len(want):
			return "the store has one record more: " + goSource(got[i])
		case i >= len(got):
			return "the store lacks the last record: " + goSource(want[i])
		case !reflect.DeepEqual(want[i], got[i]):
			return fmt.Sprintf("record %d of all records\nwant: %s\ngot:  %s", i, goSource(want[i]), goSource(got[i]))
		}
	}
	return ""
}

// contents returns all records of a MemoryStore.
func contents(ctx context.Context, s *tokenauth.MemoryStore) []tokenauth.Record {
	records, err := s.List(ctx, everything)
	if err != nil {
		panic(err)
	}
	return records
}

// holding returns a MemoryStore with the given records.
func holding(records []tokenauth.Record) *tokenauth.MemoryStore {
	s := tokenauth.NewMemoryStore()
	if err := s.Create(context.Background(), records...); err != nil {
		panic(err)
	}
	return s
}
