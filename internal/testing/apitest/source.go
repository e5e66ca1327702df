package apitest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A Source contains string literals from the Go files of a package.
type Source struct {
	Routes  map[string][]string // by function name, the paths that the function passes to h.route
	Members map[string][]string // by function name, the sorted keys of its body.Members literals
}

// ReadSource reads the Go files of the package under test, except its tests.
func ReadSource(t testing.TB) Source {
	t.Helper()
	s := Source{map[string][]string{}, map[string][]string{}}
	text := func(e ast.Expr) string {
		text, err := strconv.Unquote(e.(*ast.BasicLit).Value)
		require.NoError(t, err)
		return text
	}
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		require.NoError(t, err)
		function := ""
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				function = n.Name.Name
			case *ast.CallExpr:
				if f, ok := n.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "route" {
					s.Routes[function] = append(s.Routes[function], text(n.Args[0]))
				}
			case *ast.CompositeLit:
				if kind, ok := n.Type.(*ast.SelectorExpr); ok && kind.Sel.Name == "Members" {
					for _, member := range n.Elts {
						s.Members[function] = append(s.Members[function], text(member.(*ast.KeyValueExpr).Key))
					}
					slices.Sort(s.Members[function])
				}
			}
			return true
		})
	}
	return s
}
