package sqldb

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// An error about the schema must not say that the outcome is unknown, as after a broken connection.
func TestLacksIsNoLostConnection(t *testing.T) {
	t.Parallel()
	for _, part := range []Part{{File: "0001.sql"}, {File: "0001.sql", Name: "column hint"}} {
		for name, e := range Engines {
			require.False(t, e.IsLost(Lacks("tokens", part)), name)
		}
	}
}

// PostgreSQL cuts names after 63 bytes, and then two indexes could have the same name. No name of
// an index may be the name of a table that a service can choose.
func TestIndexNamesAreDistinct(t *testing.T) {
	t.Parallel()
	index := regexp.MustCompile(`^CREATE (?:UNIQUE )?INDEX (?:IF NOT EXISTS )?(\S+) ON`)
	for name, e := range Engines {
		names := map[string]bool{}
		parts := e.Parts(os.DirFS("../../schema/"+name), "auth."+strings.Repeat("t", 40))
		require.Len(t, parts, 1+16+9+4+3, name)
		require.Equal(t, "CREATE TABLE", parts[0].Statement[:12])
		for _, part := range parts {
			found := index.FindStringSubmatch(part.Statement)
			if found == nil {
				require.False(t, strings.Contains(part.Name, "("), part.Name)
				continue
			}
			quoted := strings.Trim(found[1], e.quote)
			require.LessOrEqual(t, len(quoted), 63)
			require.False(t, names[quoted], quoted)
			names[quoted] = true
			if name != "mysql" { // where the names of indexes belong to their tables
				require.Contains(t, quoted, strings.Repeat("t", 40)+".")
			}
		}
		require.Len(t, names, 5+4+3, name)
	}
}
