package tokenauth

import (
	"context"
	"database/sql"
	"fmt"
	"reflect"
	"slices"
)

// DB is a database handle: *sql.DB, *sql.Tx and *sql.Conn implement it, and so do structs that
// embed one of them.
//
// The methods of a handle show what it is. A handle with the method BeginTx of *sql.DB is a pool or
// a connection. A handle with the methods Commit and Rollback of *sql.Tx is a transaction, even if
// it also has the method BeginTx of *sql.DB. [NewSQLStore] refuses any other handle, and a handle
// whose BeginTx has another type, because a refused handle could change the statements of the
// store.
type DB interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// A beginner is a pool or a connection, unless it is also a committer.
type beginner interface {
	BeginTx(context.Context, *sql.TxOptions) (*sql.Tx, error)
}

// A committer is a transaction.
type committer interface {
	Commit() error
	Rollback() error
}

// A preparer is a handle on which the store can prepare the query of Find.
type preparer interface {
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}

// inspect reports whether db is a transaction. If the store must refuse db, inspect returns an
// error that names the handle to use instead. It panics if db is nil, or embeds a nil handle.
func inspect(db DB) (transaction bool, err error) {
	_, transaction = db.(committer)
	inner := innerHandle(db, transaction)
	if isNil(db) || inner == "nil" {
		panic("tokenauth: nil database handle")
	}
	if _, begins := db.(beginner); begins {
		return transaction, nil
	}
	why := "neither BeginTx nor Commit and Rollback"
	if _, own := reflect.TypeOf(db).MethodByName("BeginTx"); own {
		why = "its own BeginTx"
	} else if transaction {
		return true, nil
	}
	return false, fmt.Errorf("%T has %s; pass %s", db, why, inner)
}

var handles = []reflect.Type{reflect.TypeFor[*sql.DB](), reflect.TypeFor[*sql.Tx](), reflect.TypeFor[*sql.Conn]()}

// innerHandle describes the database/sql handle in an exported field of db. It returns "nil" if db
// embeds a nil handle. If db is a transaction, innerHandle skips pools, because tokens on the pool
// would be outside the transaction. It does not search the struct of a database/sql handle itself.
func innerHandle(db DB, transaction bool) string {
	const unknown = "the *sql.DB or *sql.Tx under it"
	v := reflect.Indirect(reflect.ValueOf(db))
	if v.Kind() != reflect.Struct || slices.Contains(handles, reflect.TypeOf(db)) {
		return unknown
	}
	for _, f := range reflect.VisibleFields(v.Type()) {
		field, err := v.FieldByIndexErr(f.Index)
		if err == nil && field.Kind() == reflect.Interface && !field.IsNil() {
			field = field.Elem()
			f.Type = field.Type()
		}
		switch {
		case !f.IsExported() || !slices.Contains(handles, f.Type), transaction && f.Type == handles[0]:
		case err == nil && !field.IsNil():
			return fmt.Sprintf("its field %s, a %s", f.Name, f.Type)
		case f.Anonymous:
			return "nil"
		}
	}
	return unknown
}
