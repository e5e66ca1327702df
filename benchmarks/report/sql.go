package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/benchmarks/chains"
	"github.com/go-tokenauth/tokenauth/benchmarks/databases"
	"github.com/go-tokenauth/tokenauth/internal/testing/limit"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/storecache"
)

// A findResult is what a lookup takes beside the bare SELECT that asks for the
// current digest, one that asks for the retired digest too, and that with a deadline.
type findResult struct {
	database                  string
	rows                      int
	bare, both, deadline, own timing
}

func (r *report) measureDatabase(ctx context.Context, name string) error {
	d, err := databases.Start(name, r.dir)
	if errors.Is(err, databases.ErrMissing) {
		fmt.Fprintln(os.Stderr, err)
		return nil
	}
	if err != nil {
		return err
	}
	for _, n := range sizesOf(name) {
		if n > r.plan.rows {
			continue
		}
		if err := r.measureTable(ctx, d, n); err != nil {
			return err
		}
	}
	return nil
}

// A table is filled with a population.
type table struct {
	*chains.Population
	database *databases.Database
	name     string
	db       *sql.DB
	store    *tokenauth.SQLStore
}

func fillTable(ctx context.Context, d *databases.Database, p *chains.Population, name string) (*table, error) {
	db, err := d.Open()
	if err != nil {
		return nil, err
	}
	t := &table{Population: p, database: d, name: name, db: db}
	if t.store, err = t.open(db); err != nil {
		return nil, err
	}
	if err := t.store.CreateSchema(ctx); err != nil {
		return nil, err
	}
	if err := p.Fill(ctx, t.store); err != nil {
		return nil, err
	}
	return t, d.Analyze(db, name)
}

// open returns a store on the table, through a handle of the same database.
func (t *table) open(db *sql.DB) (*tokenauth.SQLStore, error) {
	return tokenauth.NewSQLStore(db, t.database.Dialect, &tokenauth.SQLOptions{Table: t.name, Timeout: time.Minute})
}

// clock lets only those wait that wait for a server.
func (t *table) clock() clock {
	if t.database.Dialect == tokenauth.SQLite {
		return cpuClock
	}
	return wallClock
}

func (r *report) measureTable(ctx context.Context, d *databases.Database, n int) error {
	p := chains.NewPopulation(n, 10, "read", "write")
	t, err := fillTable(ctx, d, p, fmt.Sprintf("tokens_%d", n))
	if err != nil {
		return err
	}
	defer t.db.Close()
	if err := r.measureFind(ctx, t); err != nil {
		return err
	}
	switch n {
	case tableSizes[0]:
		if err := r.measureTouch(ctx, t); err != nil { // while no last use is known
			return err
		}
		return r.measureSQLChains(t)
	case tableSizes[1]:
		return r.measurePruneTable(ctx, t)
	}
	return nil
}

func (r *report) measurePruneTable(ctx context.Context, t *table) error {
	expired := len(t.Records) / 2
	expire := fmt.Sprintf("UPDATE %s SET expires_at = created_at + 1 WHERE id < '%s'", t.name, t.Records[expired].Token.ID)
	if _, err := t.db.ExecContext(ctx, expire); err != nil {
		return err
	}
	return r.measurePrune(ctx, t.database.Name, t.store, t.Records[expired:], expired)
}

func (r *report) measureFind(ctx context.Context, t *table) error {
	ctx, cancel := context.WithCancel(ctx) // as that of a request
	defer cancel()
	bare, err := limit.NewSelect(ctx, t.db, t.database.Dialect, t.name, 1)
	if err != nil {
		return err
	}
	defer bare.Close()
	both, err := limit.NewSelect(ctx, t.db, t.database.Dialect, t.name, 2)
	if err != nil {
		return err
	}
	defer both.Close()
	in := func(find func(d *tokenauth.Digest) error) func() {
		i := 0
		return func() {
			i = (i + 7919) % len(t.Records)
			if err := find(&t.Records[i].Digest); err != nil {
				panic(err)
			}
		}
	}
	calls := []func(){
		in(func(d *tokenauth.Digest) error { return bare.Find(ctx, d) }),
		in(func(d *tokenauth.Digest) error { return both.Find(ctx, d) }),
		in(func(d *tokenauth.Digest) error {
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			return both.Find(ctx, d)
		}),
		in(func(d *tokenauth.Digest) error { _, err := t.store.Find(ctx, *d); return err }),
	}
	for _, call := range calls {
		for range min(len(t.Records), 1000) { // the statements are prepared, and the pages read
			call()
		}
	}
	timings := inTurns(r.plan.each, t.clock(), calls...)
	r.finds = append(r.finds, findResult{t.database.Name, len(t.Records), timings[0], timings[1], timings[2], timings[3]})
	r.set(lineFind(t.database.Name, len(t.Records)), timings[3].times)
	return nil
}

// measureSQLChains measures whole requests, and counts their statements.
func (r *report) measureSQLChains(t *table) error {
	var n atomic.Int64
	counting, err := t.database.OpenCounting(&n)
	if err != nil {
		return err
	}
	defer counting.Close()
	counted, err := t.open(counting)
	if err != nil {
		return err
	}
	for _, f := range fronts(t.database.Name) {
		results, err := r.compare(t.clock(), []*chains.Chain{t.Limit(), t.Tokenauth(f.name, f.before(t.store), nil)})
		if err != nil {
			return err
		}
		request := t.Tokenauth(f.name, f.before(counted), nil).Requester()
		n.Store(0)
		requests := 10 * len(t.Keys)
		for range requests {
			request()
		}
		results[1].statements = float64(n.Load()) / float64(requests)
		r.addChains(true, results[1])
	}
	return nil
}

// A front is what stands before a store.
type front struct {
	name   string
	before func(tokenauth.Store) tokenauth.Store
}

// fronts returns those that are measured: caches only once, since a database behind
// them is not felt.
func fronts(database string) []front {
	all := []front{{"tokenauth, " + database, func(s tokenauth.Store) tokenauth.Store { return s }}}
	if database == databases.Modernc {
		all = append(all,
			front{"tokenauth, storecache over SQLite", func(s tokenauth.Store) tokenauth.Store { return must.Get(storecache.New(s, nil)) }},
			front{"tokenauth, otter over SQLite", func(s tokenauth.Store) tokenauth.Store { return chains.NewOtter(s) }})
	}
	return all
}

// measureTouch counts the statements that write the last uses of many tokens.
func (r *report) measureTouch(ctx context.Context, t *table) error {
	var n atomic.Int64
	db, err := t.database.OpenCounting(&n)
	if err != nil {
		return err
	}
	defer db.Close()
	store, err := t.open(db)
	if err != nil {
		return err
	}
	manager := must.Get(tokenauth.New(store, "acme", nil))
	for _, key := range t.Keys {
		if _, err := manager.Authenticate(ctx, key); err != nil {
			return err
		}
	}
	if err := manager.Flush(ctx); err != nil { // waits for what runs in the background, too
		return err
	}
	writes := n.Load() - int64(len(t.Keys)) // without the lookups
	if writes <= 0 {
		return errors.New("no last use was written")
	}
	r.raise(lineTouchWrites, float64(writes)*500/float64(len(t.Keys)))
	return nil
}
