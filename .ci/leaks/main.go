// Command leaks fails if a package has tests that do not run through leak.Main of
// internal/testing/leak. Such tests could print keys, or leave goroutines and files behind. It must
// run in the root folder.
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"log"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	log.SetFlags(0)
	if _, err := os.Stat("go.mod"); err != nil {
		log.Fatal("run this command in the root folder: ", err) // another folder may have nothing to find
	}
	unchecked, err := search(".")
	if err != nil {
		log.Fatal(err)
	}
	for _, folder := range unchecked {
		fmt.Printf("%s: no TestMain calls leak.Main\n", folder)
	}
	if len(unchecked) != 0 {
		os.Exit(1)
	}
}

// search returns the folders below root whose tests have no TestMain that calls leak.Main.
func search(root string) (unchecked []string, err error) {
	checked := map[string]bool{} // for each folder with tests, whether a TestMain calls leak.Main
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == "benchmarks":
			return fs.SkipDir // the other libraries in benchmarks leave goroutines behind
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != root:
			return fs.SkipDir // .git, .ci, or the module cache of a CI system
		case d.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		folder := filepath.Dir(path)
		checked[folder] = checked[folder] || callsMain(file)
		return nil
	})
	for _, folder := range slices.Sorted(maps.Keys(checked)) {
		if !checked[folder] {
			unchecked = append(unchecked, folder)
		}
	}
	return unchecked, err
}

// callsMain reports whether the file has a TestMain that calls Main of package leak.
func callsMain(file *ast.File) bool {
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Name.Name != "TestMain" || f.Body == nil {
			continue
		}
		for n := range ast.Preorder(f.Body) {
			if call, ok := n.(*ast.CallExpr); ok && isMain(call.Fun, file.Name.Name) {
				return true
			}
		}
	}
	return false
}

// isMain reports whether a called function is leak.Main. Inside package leak, its name is Main.
func isMain(function ast.Expr, packageName string) bool {
	switch f := function.(type) {
	case *ast.Ident:
		return packageName == "leak" && f.Name == "Main"
	case *ast.SelectorExpr:
		from, ok := f.X.(*ast.Ident)
		return ok && from.Name == "leak" && f.Sel.Name == "Main"
	}
	return false
}
