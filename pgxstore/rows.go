package pgxstore

import (
	"bytes"
	"database/sql"
	"encoding/binary"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
)

// rows adapts the rows of pgx to [tokenauth.SQLRows].
type rows struct {
	pgx.Rows
	conn *pgxpool.Conn // released by Close; nil in a transaction
}

func (r *rows) Close() error {
	r.Rows.Close()
	if r.conn != nil {
		r.conn.Release()
		r.conn = nil
	}
	return r.Err()
}

// Scan copies the values of the current row. If a column does not have the type and the format that
// scan expects, Scan calls Scan of pgx instead. For example, user_id may be a UUID, and in the
// modes exec and simple_protocol of pgx, the format of all values is text.
func (r *rows) Scan(dest ...any) error {
	if scan(dest, r.RawValues(), r.FieldDescriptions()) {
		return nil
	}
	return r.Rows.Scan(dest...)
}

// scan copies values that have the types of the schema, in the formats that pgx requests by
// default. If a value has another type or format, scan returns false. Scan of pgx allocates a plan
// per query and a string per column. scan allocates one string for all columns.
func scan(dest []any, values [][]byte, fields []pgconn.FieldDescription) bool {
	if len(dest) != len(values) || len(dest) != len(fields) {
		return false
	}
	var buffer [256]byte // on the stack, if the texts fit
	texts := buffer[:0]
	for i, value := range values {
		kind, binaryFormat := fields[i].DataTypeOID, fields[i].Format == pgx.BinaryFormatCode
		isInt := binaryFormat && (kind == pgtype.Int4OID || kind == pgtype.Int8OID)
		var ok bool
		switch dest[i].(type) {
		case *string:
			ok = kind == pgtype.TextOID && value != nil
			texts = append(texts, value...)
		case *sql.NullString:
			ok = kind == pgtype.TextOID
			texts = append(texts, value...)
		case *int:
			ok = isInt && value != nil
		case *sql.NullInt64:
			ok = isInt
		case *[]byte:
			ok = kind == pgtype.ByteaOID && binaryFormat
		}
		if !ok {
			return false
		}
	}
	rest := string(texts)
	for i, value := range values {
		switch d := dest[i].(type) {
		case *string:
			*d, rest = rest[:len(value)], rest[len(value):]
		case *sql.NullString:
			*d, rest = sql.NullString{String: rest[:len(value)], Valid: value != nil}, rest[len(value):]
		case *int:
			*d = int(readInt(value))
		case *sql.NullInt64:
			*d = sql.NullInt64{Int64: readInt(value), Valid: value != nil}
		case *[]byte:
			*d = bytes.Clone(value)
		}
	}
	return true
}

// readInt returns the value of an integer or a bigint, and 0 for NULL.
func readInt(value []byte) int64 {
	switch len(value) {
	case 4:
		return int64(int32(binary.BigEndian.Uint32(value)))
	case 8:
		return int64(binary.BigEndian.Uint64(value))
	}
	return 0
}
