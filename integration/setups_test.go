package integration

import (
	"context"
	"database/sql"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/integration/servers"
)

// A setup is an engine, a driver and the settings by which a service reaches its database.
type setup struct {
	name    string
	driver  string
	dialect tokenauth.Dialect
	dsn     func(t testing.TB) string
	nodes   func(t testing.TB) []string // DSNs of several nodes, which all accept writes; replaces dsn
	load    bool                        // whether load tests use the setup
	inLong  bool                        // whether only long runs use the setup
	dirty   bool                        // whether reads see uncommitted changes
}

// open returns a handle for each node of the setup. If the setup has no nodes, open returns one
// handle.
func (s setup) open(t testing.TB) []*sql.DB {
	t.Helper()
	if s.nodes == nil {
		return []*sql.DB{open(t, s.driver, s.dsn(t))}
	}
	var all []*sql.DB
	for _, dsn := range s.nodes(t) {
		all = append(all, open(t, s.driver, dsn))
	}
	return all
}

func onPostgres(parameters ...string) func(testing.TB) string {
	return func(t testing.TB) string { return servers.Started(t, postgres).DSN("postgres", parameters...) }
}

func onPgBouncer(parameters ...string) func(testing.TB) string {
	return func(t testing.TB) string { return servers.Started(t, pgBouncer).DSN("postgres", parameters...) }
}

func onMariaDB(parameters ...string) func(testing.TB) string {
	return func(t testing.TB) string { return servers.Started(t, mariaDB).DSN("t", parameters...) }
}

// onGalera returns a function that returns the DSNs of the three nodes.
func onGalera(parameters ...string) func(testing.TB) []string {
	return func(t testing.TB) []string {
		var all []string
		for _, node := range servers.Started(t, galera).Nodes {
			all = append(all, node.DSN("t", parameters...))
		}
		return all
	}
}

// onTiDB returns a function that returns the DSN of a TiDB server. Compiling the server takes many
// minutes, so only long runs use it.
func onTiDB(parameters ...string) func(testing.TB) string {
	return func(t testing.TB) string {
		if !long() {
			t.Skip("only long runs use TiDB")
		}
		return servers.Started(t, tiDB).DSN("t", parameters...)
	}
}

// setups are the setups on which the conformance suite runs. ncruces/go-sqlite3 has a package of
// its own, because it registers the same name as mattn/go-sqlite3.
var setups = []setup{
	{name: "SQLite, modernc", load: true, driver: "sqlite", dialect: tokenauth.SQLite,
		dsn: func(t testing.TB) string { return sqliteFile(t) + modernc }},
	{name: "SQLite, mattn", load: true, driver: "sqlite3", dialect: tokenauth.SQLite,
		dsn: func(t testing.TB) string { return sqliteFile(t) + mattn }},

	{name: "PostgreSQL, pgx", load: true, driver: "pgx", dialect: tokenauth.PostgreSQL, dsn: onPostgres()},
	{name: "PostgreSQL, lib-pq", driver: "postgres", dialect: tokenauth.PostgreSQL, dsn: onPostgres()},
	{name: "PostgreSQL serializable, pgx", load: true, driver: "pgx", dialect: tokenauth.PostgreSQL,
		dsn: onPostgres("default_transaction_isolation=serializable")},
	{name: "PostgreSQL serializable, lib-pq", driver: "postgres", dialect: tokenauth.PostgreSQL,
		dsn: onPostgres("default_transaction_isolation=serializable")},
	{name: "PostgreSQL repeatable read, pgx", driver: "pgx", dialect: tokenauth.PostgreSQL,
		dsn: onPostgres("default_transaction_isolation=repeatable%20read")},
	{name: "PostgreSQL and standby, pgx", driver: "pgx", dialect: tokenauth.PostgreSQL,
		dsn: func(t testing.TB) string { return servers.Started(t, twoHosts) }},
	{name: "PgBouncer, pgx", load: true, driver: "pgx", dialect: tokenauth.PostgreSQL, dsn: onPgBouncer("default_query_exec_mode=exec")},
	{name: "PgBouncer, lib-pq", driver: "postgres", dialect: tokenauth.PostgreSQL, dsn: onPgBouncer("binary_parameters=yes")},
	{name: "pgxstore", load: true, driver: "pgxstore", dialect: tokenauth.PostgreSQL, dsn: onPostgres()},
	{name: "pgxstore, serializable", inLong: true, driver: "pgxstore", dialect: tokenauth.PostgreSQL,
		dsn: onPostgres("default_transaction_isolation=serializable")},
	{name: "pgxstore, PgBouncer", load: true, driver: "pgxstore", dialect: tokenauth.PostgreSQL,
		dsn: onPgBouncer("default_query_exec_mode=exec")},

	{name: "MariaDB", load: true, driver: "mysql", dialect: tokenauth.MySQL, dsn: onMariaDB()},
	{name: "MariaDB, clientFoundRows", driver: "mysql", dialect: tokenauth.MySQL, dsn: onMariaDB("clientFoundRows=true")},
	{name: "MariaDB, interpolateParams", load: true, driver: "mysql", dialect: tokenauth.MySQL,
		dsn: onMariaDB("interpolateParams=true", "clientFoundRows=true")},
	{name: "MariaDB, without strict mode", driver: "mysql", dialect: tokenauth.MySQL, dsn: onMariaDB("sql_mode=%27%27")},
	{name: "MariaDB, another time zone", driver: "mysql", dialect: tokenauth.MySQL,
		dsn: onMariaDB("time_zone=%27%2B03:00%27", "parseTime=true", "loc=Asia%2FKolkata")},
	{name: "MariaDB, read uncommitted", dirty: true, driver: "mysql", dialect: tokenauth.MySQL, dsn: onMariaDB("tx_isolation=%27READ-UNCOMMITTED%27")},
	{name: "MariaDB, read committed", driver: "mysql", dialect: tokenauth.MySQL, dsn: onMariaDB("tx_isolation=%27READ-COMMITTED%27")},
	{name: "MariaDB, serializable", driver: "mysql", dialect: tokenauth.MySQL, dsn: onMariaDB("tx_isolation=%27SERIALIZABLE%27")},
	{name: "MariaDB, snapshot isolation", driver: "mysql", dialect: tokenauth.MySQL, dsn: onMariaDB("innodb_snapshot_isolation=ON")},

	{name: "Galera, one node", driver: "mysql", dialect: tokenauth.MySQL,
		dsn: func(t testing.TB) string { return onGalera("wsrep_sync_wait=7")(t)[0] }},
	{name: "Galera, all nodes", load: true, driver: "mysql", dialect: tokenauth.MySQL,
		nodes: onGalera("wsrep_sync_wait=7")},
	{name: "Galera, all nodes, read committed", inLong: true, driver: "mysql", dialect: tokenauth.MySQL,
		nodes: onGalera("wsrep_sync_wait=7", "tx_isolation=%27READ-COMMITTED%27")},
	{name: "Galera, all nodes, interpolateParams", driver: "mysql", dialect: tokenauth.MySQL,
		nodes: onGalera("wsrep_sync_wait=7", "interpolateParams=true", "wsrep_retry_autocommit=10")},

	{name: "TiDB", load: true, inLong: true, driver: "mysql", dialect: tokenauth.MySQL, dsn: onTiDB()},
	{name: "TiDB, interpolateParams", inLong: true, driver: "mysql", dialect: tokenauth.MySQL,
		dsn: onTiDB("interpolateParams=true", "clientFoundRows=true")},
	{name: "TiDB, read committed", inLong: true, driver: "mysql", dialect: tokenauth.MySQL,
		dsn: onTiDB("tx_isolation=%27READ-COMMITTED%27")},
	{name: "TiDB, optimistic", load: true, inLong: true, driver: "mysql", dialect: tokenauth.MySQL,
		dsn: onTiDB("tidb_txn_mode=%27optimistic%27")},
}

// newStore returns the store of a setup. With several nodes, the store sends each call to the next
// node.
func (s setup) newStore(t testing.TB, dbs []*sql.DB) tokenauth.Store {
	t.Helper()
	return s.newStoreOn(t, dbs, newTable())
}

// newStoreOn is like newStore, but uses the given options.
func (s setup) newStoreOn(t testing.TB, dbs []*sql.DB, opts *tokenauth.SQLOptions) tokenauth.Store {
	t.Helper()
	all := new(inTurn)
	for _, db := range dbs {
		all.stores = append(all.stores, newStore(t, db, s.dialect, opts))
	}
	if len(all.stores) == 1 {
		return all.stores[0]
	}
	return all
}

// inTurn is a store that sends each call to the next of several stores on one cluster.
type inTurn struct {
	stores []tokenauth.Store
	calls  atomic.Int64
}

func (s *inTurn) next() tokenauth.Store { return s.stores[s.calls.Add(1)%int64(len(s.stores))] }

func (s *inTurn) Create(ctx context.Context, records ...tokenauth.Record) error {
	return s.next().Create(ctx, records...)
}

func (s *inTurn) Find(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
	return s.next().Find(ctx, d)
}

func (s *inTurn) List(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
	return s.next().List(ctx, q)
}

func (s *inTurn) Update(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
	return s.next().Update(ctx, userID, id, p, at)
}

func (s *inTurn) Rotate(ctx context.Context, userID, id string, r tokenauth.Rotation, at time.Time) error {
	return s.next().Rotate(ctx, userID, id, r, at)
}

func (s *inTurn) Revoke(ctx context.Context, userID, id string, at time.Time, by string) error {
	return s.next().Revoke(ctx, userID, id, at, by)
}

func (s *inTurn) RevokeExpired(ctx context.Context, userID, id string, at time.Time, by string, unusedSince time.Time) error {
	return s.next().RevokeExpired(ctx, userID, id, at, by, unusedSince)
}

func (s *inTurn) RevokeAll(ctx context.Context, userID string, at time.Time, by string, limit int) (int, error) {
	return s.next().RevokeAll(ctx, userID, at, by, limit)
}

func (s *inTurn) Touch(ctx context.Context, uses ...tokenauth.Use) error {
	return s.next().Touch(ctx, uses...)
}

func (s *inTurn) Prune(ctx context.Context, before, unusedSince time.Time, limit int) (int, error) {
	return s.next().Prune(ctx, before, unusedSince, limit)
}
