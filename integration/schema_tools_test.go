package integration

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"ariga.io/atlas/sql/migrate"
	atlasmysql "ariga.io/atlas/sql/mysql"
	atlaspostgres "ariga.io/atlas/sql/postgres"
	"ariga.io/atlas/sql/schema"
	atlassqlite "ariga.io/atlas/sql/sqlite"
	golangmigrate "github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"
	migratemysql "github.com/golang-migrate/migrate/v4/database/mysql"
	migratepgx "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	migratesqlite "github.com/golang-migrate/migrate/v4/database/sqlite"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"github.com/pressly/goose/v3"
	goosedatabase "github.com/pressly/goose/v3/database"

	"github.com/go-tokenauth/tokenauth"
)

// A migrationTool runs the files of the schema. docs/migrations.md shows the code of these tools.
type migrationTool struct {
	// up runs the files that the tool has not run yet.
	up func(ctx context.Context, d tokenauth.Dialect, db *sql.DB, store *tokenauth.SQLStore) error

	// baseline makes the tool skip the files up to a number.
	baseline func(ctx context.Context, d tokenauth.Dialect, db *sql.DB, store *tokenauth.SQLStore, newest int) error
}

var migrationTools = map[string]migrationTool{
	"goose":          {gooseUp, gooseBaseline},
	"golang-migrate": {golangMigrateUp, golangMigrateBaseline},
	"Atlas":          {atlasUp, atlasBaseline},
}

var gooseDialects = map[tokenauth.Dialect]goose.Dialect{
	tokenauth.SQLite: goose.DialectSQLite3, tokenauth.PostgreSQL: goose.DialectPostgres, tokenauth.MySQL: goose.DialectMySQL,
}

func gooseUp(ctx context.Context, d tokenauth.Dialect, db *sql.DB, store *tokenauth.SQLStore) error {
	dialect := gooseDialects[d]
	// docs: goose
	provider, err := goose.NewProvider(dialect, db, store.Migrations(), goose.WithTableName("tokenauth_versions"))
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
	// docs: end
}

func gooseBaseline(ctx context.Context, d tokenauth.Dialect, db *sql.DB, _ *tokenauth.SQLStore, newest int) error {
	dialect := gooseDialects[d]
	// docs: goose baseline
	versions, err := goosedatabase.NewStore(dialect, "tokenauth_versions")
	if err != nil {
		return err
	}
	if err := versions.CreateVersionTable(ctx, db); err != nil {
		return err
	}
	for n := range newest + 1 { // goose starts with version 0
		if err := versions.Insert(ctx, db, goosedatabase.InsertRequest{Version: int64(n)}); err != nil {
			return err
		}
	}
	return nil
	// docs: end
}

// onGolangMigrate calls f with a Migrate of golang-migrate, and closes db.
func onGolangMigrate(d tokenauth.Dialect, db *sql.DB, store *tokenauth.SQLStore, f func(*golangmigrate.Migrate) error) (err error) {
	const table = "tokenauth_versions"
	var target database.Driver
	switch d {
	case tokenauth.SQLite:
		target, err = migratesqlite.WithInstance(db, &migratesqlite.Config{MigrationsTable: table})
	case tokenauth.PostgreSQL:
		target, err = migratepgx.WithInstance(db, &migratepgx.Config{MigrationsTable: table})
	default: // without multiStatements=true in the DSN
		target, err = migratemysql.WithInstance(db, &migratemysql.Config{MigrationsTable: table})
	}
	if err != nil {
		return err
	}
	// docs: golang-migrate
	source, err := iofs.New(store.Migrations(), ".")
	if err != nil {
		return err
	}
	m, err := golangmigrate.NewWithInstance("tokenauth", source, "", target)
	if err != nil {
		return err
	}
	// docs: end
	defer func() { err = errors.Join(err, target.Close()) }()
	return f(m)
}

func golangMigrateUp(_ context.Context, d tokenauth.Dialect, db *sql.DB, store *tokenauth.SQLStore) error {
	return onGolangMigrate(d, db, store, func(m *golangmigrate.Migrate) error {
		// docs: golang-migrate up
		if err := m.Up(); err != nil && err != golangmigrate.ErrNoChange {
			return err
		}
		// docs: end
		return nil
	})
}

func golangMigrateBaseline(_ context.Context, d tokenauth.Dialect, db *sql.DB, store *tokenauth.SQLStore, newest int) error {
	return onGolangMigrate(d, db, store, func(m *golangmigrate.Migrate) error {
		// docs: golang-migrate baseline
		return m.Force(newest)
		// docs: end
	})
}

func atlasUp(ctx context.Context, d tokenauth.Dialect, db *sql.DB, store *tokenauth.SQLStore) error {
	// Without this option, Atlas refuses a database with other tables.
	return onAtlas(ctx, d, db, store, migrate.WithAllowDirty(true))
}

func atlasBaseline(ctx context.Context, d tokenauth.Dialect, db *sql.DB, store *tokenauth.SQLStore, newest int) error {
	names, err := fs.Glob(store.Migrations(), "*.sql")
	if err != nil {
		return err
	}
	return onAtlas(ctx, d, db, store, migrate.WithBaselineVersion(names[newest-1][:4]))
}

// onAtlas runs the files with the library of Atlas.
func onAtlas(ctx context.Context, d tokenauth.Dialect, db *sql.DB, store *tokenauth.SQLStore, options ...migrate.ExecutorOption) error {
	driver, err := map[tokenauth.Dialect]func(schema.ExecQuerier) (migrate.Driver, error){
		tokenauth.SQLite: atlassqlite.Open, tokenauth.PostgreSQL: atlaspostgres.Open, tokenauth.MySQL: atlasmysql.Open,
	}[d](db)
	if err != nil {
		return err
	}
	revisions := &atlasRevisions{db}
	if err := revisions.create(ctx); err != nil {
		return err
	}
	// docs: Atlas
	dir := &migrate.MemDir{}
	names, err := fs.Glob(store.Migrations(), "*.sql")
	if err != nil {
		return err
	}
	for _, name := range names {
		text, err := fs.ReadFile(store.Migrations(), name)
		if err != nil {
			return err
		}
		if err := dir.WriteFile(name, text); err != nil {
			return err
		}
	}
	sum, err := dir.Checksum()
	if err != nil {
		return err
	}
	if err := migrate.WriteSumFile(dir, sum); err != nil {
		return err
	}
	executor, err := migrate.NewExecutor(driver, dir, revisions, options...)
	if err != nil {
		return err
	}
	if err := executor.ExecuteN(ctx, 0); err != nil && err != migrate.ErrNoPendingFiles {
		return err
	}
	// docs: end
	return nil
}

// atlasRevisions records which files Atlas has run. A service brings a type like this one, because
// the library of Atlas has none.
type atlasRevisions struct{ db *sql.DB }

func (r *atlasRevisions) create(ctx context.Context) error {
	_, err := r.db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS tokenauth_versions (version VARCHAR(20) PRIMARY KEY, applied INTEGER, total INTEGER)")
	return err
}

func (*atlasRevisions) Ident() *migrate.TableIdent {
	return &migrate.TableIdent{Name: "tokenauth_versions"}
}

func (r *atlasRevisions) ReadRevisions(ctx context.Context) (all []*migrate.Revision, err error) {
	rows, err := r.db.QueryContext(ctx, "SELECT version, applied, total FROM tokenauth_versions ORDER BY version")
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		v := &migrate.Revision{}
		if err := rows.Scan(&v.Version, &v.Applied, &v.Total); err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

func (r *atlasRevisions) ReadRevision(ctx context.Context, version string) (*migrate.Revision, error) {
	all, err := r.ReadRevisions(ctx)
	if i := slices.IndexFunc(all, func(v *migrate.Revision) bool { return v.Version == version }); i >= 0 {
		return all[i], nil
	}
	if err == nil {
		err = migrate.ErrRevisionNotExist
	}
	return nil, err
}

func (r *atlasRevisions) WriteRevision(ctx context.Context, v *migrate.Revision) error {
	if err := r.DeleteRevision(ctx, v.Version); err != nil {
		return err
	}
	_, err := r.db.ExecContext(ctx, fmt.Sprintf("INSERT INTO tokenauth_versions VALUES ('%s', %d, %d)", v.Version, v.Applied, v.Total))
	return err
}

func (r *atlasRevisions) DeleteRevision(ctx context.Context, version string) error {
	_, err := r.db.ExecContext(ctx, fmt.Sprintf("DELETE FROM tokenauth_versions WHERE version = '%s'", version))
	return err
}
