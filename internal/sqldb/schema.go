package sqldb

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
)

// schemaTable is the name of the table in the schema files.
const schemaTable = "tokenauth_tokens"

// A Part is the table itself, or a column, a unique key or an index of the table.
type Part struct {
	File string // name of the schema file that adds the part
	Name string // for example "column hint" or "unique key (user_id, slot)"; empty for the table itself

	// Statement adds the part. For a part of CREATE TABLE, Statement adds it to an existing table.
	// Statement is empty if that is impossible.
	Statement string
}

// Quote returns the quoted form of a table name. The name of the table's schema and a dot may
// precede the name.
func (e *Engine) Quote(table string) string {
	return e.quote + strings.ReplaceAll(table, ".", e.quote+"."+e.quote) + e.quote
}

// Migrations returns the schema files of a folder, with another name of the table.
func (e *Engine) Migrations(folder fs.FS, table string) fs.FS {
	var archive bytes.Buffer // the only file system in memory that the standard library has outside tests
	w := zip.NewWriter(&archive)
	for _, f := range e.files(folder, table) {
		to, _ := w.Create(f.name) // writing to a bytes.Buffer returns no error
		_, _ = to.Write([]byte(f.text))
	}
	_ = w.Close()
	r, _ := zip.NewReader(bytes.NewReader(archive.Bytes()), int64(archive.Len()))
	return r
}

type file struct{ name, text string }

// files returns the schema files in the order of their numbers.
func (e *Engine) files(folder fs.FS, table string) (files []file) {
	replacer := strings.NewReplacer(
		e.Quote(schemaTable), e.Quote(table),
		e.quote+schemaTable+".", e.quote+unqualified(table)+".", // names of indexes
	)
	names, _ := fs.Glob(folder, "*.sql") // the pattern is valid, and folder is embedded
	for _, name := range names {
		text, _ := fs.ReadFile(folder, name)
		files = append(files, file{name, replacer.Replace(string(text))})
	}
	return files
}

// unqualified returns a table name without the name of its schema.
func unqualified(table string) string { return table[strings.Index(table, ".")+1:] }

var (
	statements = regexp.MustCompile(`(?ms)^[A-Z].*?;$`)
	columns    = regexp.MustCompile(`(?m)(?:^ +|ADD COLUMN )([a-z_]+) `)
	keys       = regexp.MustCompile(`(PRIMARY KEY|UNIQUE|INDEX)\b[^(\n]*\(([a-z_, ]+)\)( WHERE [^;]+)?`)
)

// Parts returns the parts of a table in the order in which the schema files add them. The first
// part is the table itself.
func (e *Engine) Parts(folder fs.FS, table string) (parts []Part) {
	for _, f := range e.files(folder, table) {
		for _, statement := range statements.FindAllString(f.text, -1) {
			added := e.partsOf(statement, table)
			if strings.HasPrefix(statement, "CREATE TABLE") {
				parts = append(parts, Part{File: f.name, Statement: statement})
			} else {
				added[0].Statement = statement // which adds only one part
			}
			for _, part := range added {
				part.File = f.name
				parts = append(parts, part)
			}
		}
	}
	return parts
}

// partsOf returns the columns and the keys in a statement, with statements that add the keys to an
// existing table.
func (e *Engine) partsOf(statement, table string) (parts []Part) {
	for _, found := range columns.FindAllStringSubmatch(statement, -1) {
		parts = append(parts, Part{Name: "column " + found[1]})
	}
	for _, found := range keys.FindAllStringSubmatch(statement, -1) {
		kind, name, of := "INDEX", "index", found[2]
		if found[1] != "INDEX" {
			kind, name = "UNIQUE INDEX", "unique key"
		}
		// No table of a service has the name of the index, because the name contains a dot.
		index := e.quote + unqualified(table) + "." + strings.ReplaceAll(of, ", ", "_") + e.quote
		parts = append(parts, Part{
			Name:      fmt.Sprintf("%s (%s)%s", name, of, found[3]),
			Statement: fmt.Sprintf("CREATE %s %s ON %s (%s)", kind, index, e.Quote(table), of),
		})
	}
	return parts
}

// Missing returns the parts that a table lacks. found has the results of the query
// [Engine.Catalog]. If the table does not exist, Missing returns only the first part.
func Missing(parts []Part, found []string) (missing []Part) {
	if len(found) == 0 {
		return parts[:1]
	}
	for _, part := range parts[1:] {
		columns, isIndex := strings.CutPrefix(part.Name, "index ")
		if !slices.Contains(found, part.Name) && !(isIndex && slices.Contains(found, "unique key "+columns)) {
			missing = append(missing, part)
		}
	}
	return missing
}

// Lacks returns an error that names missing parts of a table, and the files that add them.
func Lacks(table string, missing ...Part) error {
	if missing[0].Name == "" {
		return OwnError(fmt.Sprintf("table %s does not exist (%s)", table, missing[0].File))
	}
	text, separator := "table "+table+" lacks ", ""
	for i, part := range missing {
		text += separator + part.Name
		if i+1 == len(missing) || missing[i+1].File != part.File {
			text += " (" + part.File + ")"
		}
		separator = ", "
	}
	return OwnError(text)
}

// Catalog returns a query for the columns and the keys of a table. Each row has one text, which
// has the form of [Part.Name]. Names of indexes do not matter, so the text has the columns of an
// index. If the table does not exist, the query returns no row.
func (e *Engine) Catalog(table string) string {
	schema, name, qualified := strings.Cut(table, ".")
	if !qualified {
		schema, name = "", schema
	}
	return strings.NewReplacer("{table}", e.Quote(table), "{schema}", schema, "{name}", name).Replace(e.catalog)
}

const (
	// LEFT JOIN, because the catalog has no statement for an index of a unique key.
	sqliteCatalog = `SELECT 'column ' || name FROM pragma_table_info('{name}')
		UNION ALL SELECT iif(i."unique", 'unique key (', 'index (')
			|| (SELECT group_concat(coalesce(name, '?'), ', ') FROM pragma_index_info(i.name)) || ')'
			|| iif(i.partial, coalesce(substr(s.sql, instr(s.sql, ' WHERE ')), '?'), '')
		FROM pragma_index_list('{name}') i LEFT JOIN sqlite_master s ON s.type = 'index' AND s.name = i.name`

	// An index that is not valid is still being built, or its construction failed. ON CONFLICT DO
	// NOTHING does not support a deferrable key. With NULLS NOT DISTINCT, a user could have only one
	// revoked token. Indexes of other kinds than B-trees have no order.
	postgresqlCatalog = `SELECT 'column ' || CAST(attname AS text) FROM pg_catalog.pg_attribute
		WHERE attrelid = to_regclass('{table}') AND attnum > 0 AND NOT attisdropped
		UNION ALL SELECT CASE WHEN indisunique AND indimmediate
				AND pg_get_indexdef(indexrelid) NOT LIKE '%NULLS NOT DISTINCT%' THEN 'unique key (' ELSE 'index (' END
			|| (SELECT string_agg(pg_get_indexdef(indexrelid, k, true), ', ' ORDER BY k)
				FROM generate_series(1, CAST(indnkeyatts AS integer)) k) || ')'
			|| coalesce(' WHERE ' || pg_get_expr(indpred, indrelid, true), '')
		FROM pg_catalog.pg_index WHERE indrelid = to_regclass('{table}') AND indisvalid
			AND pg_get_indexdef(indexrelid) NOT SIMILAR TO '% USING (hash|gin|gist|spgist|brin) %'`

	mysqlCatalog = `SELECT concat('column ', column_name) FROM information_schema.columns
		WHERE table_schema = coalesce(nullif('{schema}', ''), database()) AND table_name = '{name}'
		UNION ALL SELECT concat(if(non_unique, 'index (', 'unique key ('),
			group_concat(if(sub_part IS NULL, coalesce(column_name, '?'), '?') ORDER BY seq_in_index SEPARATOR ', '), ')')
		FROM information_schema.statistics
		WHERE table_schema = coalesce(nullif('{schema}', ''), database()) AND table_name = '{name}'
		GROUP BY index_name, non_unique`
)
