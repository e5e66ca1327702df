// Command functions prints each function in the given Go files that is longer than -over lines,
// from func to its closing brace, and fails if there is one.
package main

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log"
	"os"
)

func main() {
	log.SetFlags(0)
	over := flag.Int("over", 50, "number of `lines` that a function may have")
	flag.Parse()
	files := token.NewFileSet()
	failed := false
	for _, name := range flag.Args() {
		file, err := parser.ParseFile(files, name, nil, parser.SkipObjectResolution)
		if err != nil {
			log.Fatal(err)
		}
		for function := range ast.Preorder(file) {
			switch function.(type) {
			case *ast.FuncDecl, *ast.FuncLit:
				begin := files.Position(function.Pos())
				if lines := files.Position(function.End()).Line - begin.Line + 1; lines > *over {
					failed = true
					fmt.Printf("%s:%d: a function of %d lines\n", begin.Filename, begin.Line, lines)
				}
			}
		}
	}
	if failed {
		os.Exit(1)
	}
}
