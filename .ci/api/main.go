// Command api prints the exported API of the packages in the given folders, without comments. The
// text changes if an exported name, a signature or an exported field changes.
package main

import (
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	log.SetFlags(0)
	for _, folder := range os.Args[1:] {
		if err := write(os.Stdout, folder); err != nil {
			log.Fatal(err)
		}
	}
}

// write writes the exported API of the package in a folder.
func write(w io.Writer, folder string) error {
	names, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		if !ast.FileExports(file) {
			continue
		}
		fmt.Fprintln(w, "package", file.Name)
		for _, declared := range file.Decls {
			if function, ok := declared.(*ast.FuncDecl); ok {
				function.Body = nil
			}
			if err := format.Node(w, token.NewFileSet(), declared); err != nil { // without the positions of the file
				return err
			}
			fmt.Fprintln(w)
		}
	}
	return nil
}
