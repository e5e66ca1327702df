package sqldb

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Complete must number the placeholders of PostgreSQL in order. With a wrong number, an INSERT
// would store a value in the wrong column.
func TestCompleteNumbersPlaceholders(t *testing.T) {
	t.Parallel()
	const query = "INSERT INTO {table} ({columns}) VALUES (?, ?, ?)"
	for name, want := range map[string]string{
		"sqlite":     "INSERT INTO t (a, b, c) VALUES (?, ?, ?)",
		"mysql":      "INSERT INTO t (a, b, c) VALUES (?, ?, ?)",
		"postgresql": "INSERT INTO t (a, b, c) VALUES ($1, $2, $3)",
	} {
		require.Equal(t, want, Engines[name].Complete(query, "t", "a, b, c"), name)
	}
}
