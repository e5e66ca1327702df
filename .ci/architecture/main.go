// Command architecture fails if a package imports another package of this repository that the
// table below does not allow. It must run in the root folder.
package main

import (
	"bytes"
	"fmt"
	"log"
	"os"
	"os/exec"
	"slices"
	"strings"
)

const root = "github.com/go-tokenauth/tokenauth"

// allowed lists every package that is not test support, and the packages of this repository
// that it may import outside its tests. The name "." stands for the root package.
var allowed = map[string][]string{
	".": {
		"internal/bearer", "internal/challenge", "internal/keyform", "internal/lastuse", "internal/sqldb", "internal/syntax",
	},

	"internal/bearer":     {},
	"internal/body":       {"internal/challenge", "internal/syntax"},
	"internal/challenge":  {},
	"internal/keyform":    {},
	"internal/lastuse":    {},
	"internal/secondlook": {"."},
	"internal/sqldb":      {},
	"internal/syntax":     {},

	"storecache":    {"."},
	"storetest":     {"."},
	"tokenapi":      {".", "internal/body", "internal/challenge", "internal/secondlook", "internal/syntax"},
	"tokenauthtest": {"."},
	"tokenimport":   {".", "internal/syntax"},
	"tokenlogin":    {".", "internal/body", "internal/challenge", "internal/secondlook", "internal/syntax"},
	"tokenpage":     {".", "internal/body", "internal/challenge", "internal/secondlook", "internal/syntax"},

	"examples":            {},
	"examples/quickstart": {"."},
	"examples/server":     {".", "storecache", "tokenapi", "tokenlogin", "tokenpage"},

	// Modules of their own. They import no internal package, because the versions of the modules
	// in a user's program may differ.
	"pgxstore":      {"."},
	"tokencli":      {".", "tokenimport"},
	"cmd/tokenauth": {".", "tokencli"},
}

// modules are the folders of the modules that the table covers.
var modules = []string{".", "pgxstore", "tokencli", "cmd/tokenauth"}

// isTestSupport reports whether only tests, and other test support, may import a package. Test
// support itself may import every package.
func isTestSupport(name string) bool {
	return name == "internal/systemtest" || strings.HasPrefix(name, "internal/testing/")
}

func main() {
	log.SetFlags(0)
	var wrong []string
	for _, module := range modules {
		for _, line := range list(module) {
			name, imports := line[0], line[1:]
			may, known := allowed[name]
			switch {
			case isTestSupport(name):
				continue
			case !known:
				wrong = append(wrong, name+" is not in the table of .ci/architecture")
				continue
			}
			for _, imported := range imports {
				if !slices.Contains(may, imported) {
					wrong = append(wrong, name+" imports "+imported)
				}
			}
		}
	}
	if len(wrong) != 0 {
		fmt.Println(strings.Join(wrong, "\n"))
		os.Exit(1)
	}
}

// list returns the packages of a module. Each is its own name, followed by the names of the
// packages of this repository that it imports outside its tests.
func list(module string) (packages [][]string) {
	command := exec.Command("go", "list", "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, "./...")
	command.Dir = module
	command.Stderr = os.Stderr
	output, err := command.Output()
	if err != nil {
		log.Fatal(err)
	}
	for line := range bytes.Lines(output) {
		var names []string
		for _, path := range strings.Fields(string(line)) {
			if path == root {
				names = append(names, ".")
			} else if name, ok := strings.CutPrefix(path, root+"/"); ok {
				names = append(names, name)
			}
		}
		packages = append(packages, names)
	}
	return packages
}
