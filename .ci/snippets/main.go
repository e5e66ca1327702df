// Command snippets fails if a page shows Go code that no test compiles. Each block of Go code on a
// page of the table below must stand in one of the Go files beside it. Each page with Go code must
// be in the table. The command must run in the root folder.
//
// In a Go file, the comments "// docs: NAME" and "// docs: end" enclose code that a page shows. The
// command also fails if the page does not show that code.
package main

import (
	"fmt"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A page is a Markdown file. Its code stands in the Go files that match the patterns in sources,
// which are separated by spaces.
type page struct{ file, sources string }

var pages = []page{
	{"README.md", "examples/quickstart/main.go"},
	{"docs/command-line.md", "tokencli/example_test.go"},
	{"docs/concepts.md", "examples/concepts_test.go"},
	{"docs/databases.md", "internal/systemtest/databases_test.go integration/operations_test.go integration/databases_test.go"},
	{"docs/databases/mysql.md", "integration/databases_test.go"},
	{"docs/databases/postgresql.md", "integration/databases_test.go integration/pgxstore_test.go"},
	{"docs/databases/sqlite.md", "integration/databases_test.go"},
	{"docs/databases/tidb.md", "integration/databases_test.go"},
	{"docs/faq.md", "examples/sessions_test.go"},
	{"docs/fine-grained-tokens.md", "examples/resources_test.go"},
	{"docs/frameworks.md", "integration/frameworks/chi_test.go integration/frameworks/echo_test.go integration/frameworks/fiber_test.go integration/frameworks/gin_test.go integration/frameworks/gorilla_test.go integration/frameworks/huma_test.go integration/frameworks/nethttp_test.go integration/frameworks/oapi_test.go integration/frameworks/openapi_test.go"},
	{"docs/handles.md", "integration/handles/*_test.go"},
	{"docs/logins.md", "examples/server/*.go integration/frameworks/cors_test.go"},
	{"docs/manage-tokens.md", "examples/server/*.go integration/recipes/admin.go"},
	{"docs/migrations.md", "integration/schema_tools_test.go"},
	{"docs/moving-from-drf.md", "tokenimport/moving_test.go"},
	{"docs/moving-from-knox.md", "tokenimport/moving_test.go"},
	{"docs/moving-from-sanctum.md", "tokenimport/moving_test.go"},
	{"docs/observability.md", "integration/observability_test.go integration/telemetry_test.go"},
	{"docs/organizations.md", "examples/organizations_test.go"},
	{"docs/production.md", "integration/recipes/*_test.go integration/recipes/accesslog.go integration/recipes/prune.go integration/recipes/ratelimit.go integration/recipes/service.go"},
	{"docs/reverse-proxies.md", "integration/forward/forward.go"},
	{"docs/rotate-own-key.md", "examples/server/handler.go"},
	{"docs/rpc.md", "integration/frameworks/connect_test.go integration/frameworks/connectv1_test.go integration/frameworks/grpc_test.go"},
	{"docs/testing.md", "tokenauthtest/docs_test.go"},
	{"docs/your-own-store.md", "integration/boltstore/*.go integration/redisstore/*.go"},
}

var goBlock = regexp.MustCompile("(?sm)^```go\n(.*?)^```$")

func main() {
	log.SetFlags(0)
	problems, err := unlisted("*.md", "docs/*.md", "docs/*/*.md")
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range pages {
		found, err := p.check()
		if err != nil {
			log.Fatal(err)
		}
		problems = append(problems, found...)
	}
	if len(problems) != 0 {
		fmt.Println(strings.Join(problems, "\n"))
		os.Exit(1)
	}
}

// unlisted returns the pages with Go code that match one of the patterns and are not in the table.
func unlisted(patterns ...string) (problems []string, err error) {
	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			isFile := func(p page) bool { return p.file == file }
			if goBlock.Match(text) && !slices.ContainsFunc(pages, isFile) {
				problems = append(problems, file+" has Go code, and is not in the table of .ci/snippets")
			}
		}
	}
	return problems, nil
}

// check returns the problems of the page.
func (p page) check() (problems []string, err error) {
	text, err := os.ReadFile(p.file)
	if err != nil {
		return nil, err
	}
	blocks := blocksOf(string(text))
	var files, sources []string
	for _, pattern := range strings.Fields(p.sources) {
		matches, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		files = append(files, matches...)
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		sources = append(sources, string(source))
		snippets, err := marked(string(source))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		for _, code := range snippets {
			if !slices.Contains(blocks, code) {
				problems = append(problems, fmt.Sprintf("%s does not show this code of %s:\n%s", p.file, file, code))
			}
		}
	}
	if len(blocks) == 0 {
		problems = append(problems, p.file+" has no Go code where .ci/snippets expects it")
	}
	for _, block := range blocks {
		isSource := func(source string) bool { return contains(source, block) }
		if !slices.ContainsFunc(sources, isSource) {
			problems = append(problems, fmt.Sprintf("%s shows code that is not in %s:\n%s", p.file, p.sources, block))
		}
	}
	return problems, nil
}

// blocksOf returns the blocks of Go code on a page.
func blocksOf(text string) (blocks []string) {
	for _, match := range goBlock.FindAllStringSubmatch(text, -1) {
		blocks = append(blocks, match[1])
	}
	return blocks
}

// contains reports whether source has the lines of block, all indented by the same number of tabs.
func contains(source, block string) bool {
	lines, want := strings.Split(source, "\n"), strings.Split(strings.TrimSuffix(block, "\n"), "\n")
	for i := range len(lines) - len(want) + 1 {
		indent, ok := strings.CutSuffix(lines[i], want[0])
		if ok && strings.Trim(indent, "\t") == "" && slices.Equal(dedent(lines[i:i+len(want)], indent), want) {
			return true
		}
	}
	return false
}

// dedent returns the lines without the prefix indent.
func dedent(lines []string, indent string) (all []string) {
	for _, line := range lines {
		all = append(all, strings.TrimPrefix(line, indent))
	}
	return all
}

// marked returns the code between the markers in a Go file, without its indentation. Each marker
// must have an end.
func marked(source string) (all []string, err error) {
	lines := strings.Split(source, "\n")
	begin := 0 // index of the first line of the code, or 0
	for i, line := range lines {
		indent, mark, found := strings.Cut(line, "// docs: ")
		switch {
		case !found || strings.Trim(indent, "\t") != "":
		case (mark == "end") != (begin > 0):
			return nil, fmt.Errorf("line %d: the marker %q does not follow the marker before", i+1, mark)
		case mark != "end":
			begin = i + 1
		default:
			code := strings.Join(dedent(lines[begin:i], indent), "\n")
			all = append(all, strings.Trim(code, "\n")+"\n")
			begin = 0
		}
	}
	if begin > 0 {
		return nil, fmt.Errorf("line %d: the marker has no end", begin)
	}
	return all, nil
}
