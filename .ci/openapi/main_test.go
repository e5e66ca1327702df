package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A route or a member that only one of document and sources has must be reported.
func TestCompare(t *testing.T) {
	t.Chdir("../..")
	routes, members, err := readSources("tokenapi", "tokenlogin")
	require.NoError(t, err)
	text, err := os.ReadFile("tokenapi/openapi.json")
	require.NoError(t, err)
	without := func(schema string) string { // renames a member of the schema
		before, after, found := strings.Cut(string(text), `"`+schema+`": {`)
		require.True(t, found)
		return before + `"` + schema + `": {` + strings.Replace(after, `"grace_seconds"`, `"other_seconds"`, 1)
	}
	for name, c := range map[string]struct {
		document string
		routes   []string
		want     string // part of the only problem; empty if there is none
	}{
		"the same":               {string(text), routes, ""},
		"an undocumented route":  {string(text), append([]string{"/hidden"}, routes...), "/hidden"},
		"an undocumented member": {without("Rotate"), routes, "/tokens/{id}/rotate"},
		"an undocumented member of the second operation": {without("RotateSelf"), routes, "/tokens/self/rotate"},
	} {
		problems, err := compare([]byte(c.document), c.routes, members)
		require.NoError(t, err, name)
		if c.want == "" {
			require.Empty(t, problems, name)
			continue
		}
		require.Len(t, problems, 1, name)
		require.Contains(t, problems[0], c.want, name)
	}
}
