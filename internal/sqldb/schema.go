package sqldb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

// Options are a table's settings. Every zero field is the default.
type Options struct {
	Table   string
	Timeout time.Duration
}

const (
	defaultTable   = "tokenauth_tokens" // as in the schemas
	defaultTimeout = 2 * time.Second
)

// Open returns the table of an engine, known by name, without a handle: see On.
// The schemas are files, one for each engine. An error for which isAnswer is true
// is what the caller says to its own caller, not a failure to say it.
func Open(engine string, opts Options, schemas fs.FS, isAnswer func(error) bool) (*Table, error) {
	t := &Table{
		engine:   engines[engine],
		name:     cmp.Or(opts.Table, defaultTable),
		timeout:  cmp.Or(opts.Timeout, defaultTimeout),
		isAnswer: isAnswer,
	}
	if t.engine == nil {
		return nil, fmt.Errorf("unknown dialect %q", engine)
	}
	if err := checkName(t.name); err != nil {
		return nil, err
	}
	if t.timeout < 0 {
		return nil, errors.New("negative timeout")
	}
	schema, err := fs.ReadFile(schemas, "schema/"+t.engine.schema)
	t.schema = strings.ReplaceAll(string(schema), defaultTable, t.name)
	return t, err
}

// checkName keeps a table's name to what stands in a statement unquoted, and
// leaves room for the names of its indexes.
func checkName(name string) error {
	valid := len(name) > 0 && len(name) <= 40 && (name[0] < '0' || name[0] > '9')
	for i := range len(name) {
		c := name[i]
		valid = valid && (c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '_')
	}
	if !valid {
		return fmt.Errorf("table name %q must be 1 to 40 letters, digits and _, not starting with a digit", name)
	}
	return nil
}

// Schema returns the statements that create the table.
func (t *Table) Schema() string { return t.schema }

// CreateSchema creates what is missing of the table, without a deadline.
func (t *Table) CreateSchema(ctx context.Context) error {
	// Some drivers take one statement at a time. No string or comment in a schema
	// holds a semicolon.
	for statement := range strings.SplitSeq(t.schema, ";") {
		if statement = strings.TrimSpace(statement); statement == "" {
			continue
		}
		err := t.repeat(ctx, "create schema", unknown, func(ctx context.Context) error {
			_, err := t.exec(ctx, statement) // two at once may break a key of the database's own
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// CheckSchema asks once whether the table is there with all its columns.
func (t *Table) CheckSchema(ctx context.Context) error {
	_, err := t.read(ctx, "check schema", "SELECT {columns}, live_name FROM {table} WHERE id = ''")
	return err
}
