// Command openapi fails if tokenapi/openapi.json lacks a route that package tokenapi registers, or
// a member of a body that package tokenapi or tokenlogin reads. A generated client could not use
// such a route or member. It also fails if the document has a route or a member that the packages
// lack. It must run in the root folder.
package main

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// operations maps the functions that read a body to their operations in the document.
var operations = map[string][]operation{
	"tokenapi.create": {{"/tokens", "post"}},
	"tokenapi.update": {{"/tokens/{id}", "patch"}},
	"tokenapi.rotate": {{"/tokens/{id}/rotate", "post"}, {"/tokens/self/rotate", "post"}},
	"tokenlogin.read": {{"/login", "post"}},
}

type operation struct{ path, method string }

// A document is the part of an OpenAPI document that this command checks.
type document struct {
	Paths      map[string]map[string]json.RawMessage `json:"paths"`
	Components struct {
		Schemas map[string]schema `json:"schemas"`
	} `json:"components"`
}

// A request is the part of an operation that describes its body.
type request struct {
	RequestBody struct {
		Content map[string]struct {
			Schema schema `json:"schema"`
		} `json:"content"`
	} `json:"requestBody"`
}

type schema struct {
	Ref        string                     `json:"$ref"`
	Properties map[string]json.RawMessage `json:"properties"`
}

func main() {
	log.SetFlags(0)
	routes, members, err := readSources("tokenapi", "tokenlogin")
	if err != nil {
		log.Fatal(err)
	}
	text, err := os.ReadFile("tokenapi/openapi.json")
	if err != nil {
		log.Fatal(err)
	}
	problems, err := compare(text, routes, members)
	if err != nil {
		log.Fatal(err)
	}
	if len(problems) != 0 {
		fmt.Println(strings.Join(problems, "\n"))
		os.Exit(1)
	}
}

// compare returns the differences between the document and the sources.
func compare(text []byte, routes []string, members map[string][]string) (problems []string, err error) {
	doc := document{}
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	documented := slices.Sorted(maps.Keys(doc.Paths))
	if !slices.Equal(documented, routes) {
		problems = append(problems, fmt.Sprintf("paths of the document: %q; routes: %q", documented, routes))
	}
	functions := slices.Sorted(maps.Keys(members))
	if want := slices.Sorted(maps.Keys(operations)); !slices.Equal(functions, want) {
		problems = append(problems, fmt.Sprintf("functions that read a body: %q; the table of this command: %q", functions, want))
	}
	for _, function := range functions {
		for _, op := range operations[function] {
			found, err := doc.compareBody(op, function, members[function])
			if err != nil {
				return nil, err
			}
			problems = append(problems, found...)
		}
	}
	return problems, nil
}

// compareBody returns the differences between the body of an operation and the members that a
// function reads.
func (doc *document) compareBody(op operation, function string, members []string) (problems []string, err error) {
	var r request
	if err := json.Unmarshal(doc.Paths[op.path][op.method], &r); err != nil {
		return nil, fmt.Errorf("%s %s: %w", op.method, op.path, err)
	}
	if len(r.RequestBody.Content) == 0 {
		problems = append(problems, fmt.Sprintf("the document has no body for %s %s", op.method, op.path))
	}
	for contentType, body := range r.RequestBody.Content {
		properties := doc.Components.Schemas[filepath.Base(body.Schema.Ref)].Properties
		if body.Schema.Ref == "" {
			properties = body.Schema.Properties
		}
		if got := slices.Sorted(maps.Keys(properties)); !slices.Equal(got, members) {
			problems = append(problems, fmt.Sprintf("%s %s, %s: members of the document: %q; members that %s reads: %q",
				op.method, op.path, contentType, got, function, members))
		}
	}
	return problems, nil
}

// readSources returns the sorted paths that the packages in the folders pass to h.route, with
// /login, which a service registers itself. By function, it also returns the sorted keys of the
// body.Members literals.
func readSources(folders ...string) (routes []string, members map[string][]string, err error) {
	routes, members = []string{"/login"}, map[string][]string{}
	for _, folder := range folders {
		files, err := filepath.Glob(folder + "/*.go")
		if err != nil {
			return nil, nil, err
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
			if err != nil {
				return nil, nil, err
			}
			function := ""
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.FuncDecl:
					function = folder + "." + n.Name.Name
				case *ast.CallExpr:
					if f, ok := n.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "route" {
						routes = append(routes, literal(n.Args[0]))
					}
				case *ast.CompositeLit:
					if kind, ok := n.Type.(*ast.SelectorExpr); ok && kind.Sel.Name == "Members" {
						for _, member := range n.Elts {
							members[function] = append(members[function], literal(member.(*ast.KeyValueExpr).Key))
						}
						slices.Sort(members[function])
					}
				}
				return true
			})
		}
	}
	slices.Sort(routes)
	return slices.Compact(routes), members, nil
}

// literal returns the text of a string literal. It panics on another expression, which this command
// cannot check.
func literal(e ast.Expr) string {
	text, err := strconv.Unquote(e.(*ast.BasicLit).Value)
	if err != nil {
		panic(err)
	}
	return text
}
