package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

const fewestWords = 4 // of a sentence; less is a label

// sentencesOf returns the sentences of a file in the order of their lines.
func sentencesOf(file string, source []byte) ([]sentence, error) {
	p := prose{file: file}
	if filepath.Ext(file) == ".md" {
		p.markdown(strings.Split(string(source), "\n"))
	} else if err := p.golang(source); err != nil {
		return nil, err
	}
	slices.SortStableFunc(p.found, func(a, b sentence) int { return a.line - b.line })
	return p.found, nil
}

// prose collects the sentences of a file.
type prose struct {
	file      string
	found     []sentence
	paragraph []word
}

// A word knows its line.
type word struct {
	text string
	line int
}

var (
	listItem  = regexp.MustCompile(`^\s*([-*]|\d+\.)\s+`)
	directive = regexp.MustCompile(`^//([a-z]+:[a-z]|line |export )|^// ?\+build `)
	output    = regexp.MustCompile(`(?i)^//\s*(unordered )?output:`)
)

// golang collects from comments, and from the texts of errors.New, fmt.Errorf and panic.
func (p *prose) golang(source []byte) error {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, p.file, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	for _, group := range file.Comments {
		for _, comment := range group.List {
			if output.MatchString(comment.Text) {
				break
			}
			if directive.MatchString(comment.Text) {
				continue
			}
			line := files.Position(comment.Pos()).Line
			text := strings.TrimSuffix(strings.TrimPrefix(comment.Text, "/*"), "*/")
			for i, text := range strings.Split(strings.TrimPrefix(text, "//"), "\n") {
				p.line(text, line+i, strings.HasPrefix(text, "\t") || strings.HasPrefix(text, "    "))
			}
		}
		p.end()
	}
	for call := range ast.Preorder(file) {
		if call, ok := call.(*ast.CallExpr); ok && makesError(call) {
			if text, ok := call.Args[0].(*ast.BasicLit); ok && text.Kind == token.STRING {
				unquoted, err := strconv.Unquote(text.Value)
				if err != nil {
					return err
				}
				p.line(strings.ReplaceAll(unquoted, "\n", " "), files.Position(text.Pos()).Line, false)
				p.end()
			}
		}
	}
	return nil
}

func makesError(call *ast.CallExpr) bool {
	if len(call.Args) == 0 {
		return false
	}
	switch function := call.Fun.(type) {
	case *ast.Ident:
		return function.Name == "panic"
	case *ast.SelectorExpr:
		from, ok := function.X.(*ast.Ident)
		return ok && (from.Name == "errors" && function.Sel.Name == "New" || from.Name == "fmt" && function.Sel.Name == "Errorf")
	}
	return false
}

// markdown collects from paragraphs, list items and cells of tables.
func (p *prose) markdown(lines []string) {
	fenced := false
	for i, text := range lines {
		if strings.HasPrefix(strings.TrimSpace(text), "```") {
			fenced = !fenced
			p.end()
			continue
		}
		if strings.HasPrefix(text, "|") {
			for cell := range strings.SplitSeq(text, "|") {
				p.end()
				p.line(cell, i+1, false)
			}
			p.end()
			continue
		}
		heading := strings.HasPrefix(text, "#")
		if heading {
			p.end()
		}
		p.line(strings.TrimLeft(text, "#>"), i+1, fenced)
		if heading {
			p.end()
		}
	}
	p.end()
}

// line adds a line to the paragraph. Code, and an empty line, end the paragraph, as a list item
// does, which begins another.
func (p *prose) line(text string, number int, code bool) {
	item := listItem.FindString(text)
	if code || item != "" || strings.TrimSpace(text) == "" {
		p.end()
	}
	if code && item == "" {
		return
	}
	for _, w := range strings.Fields(text[len(item):]) {
		p.paragraph = append(p.paragraph, word{w, number})
	}
}

// end splits the paragraph into sentences.
func (p *prose) end() {
	begin := 0
	for i := range p.paragraph {
		if i+1 == len(p.paragraph) || ends(p.paragraph[i].text, p.paragraph[i+1].text) {
			if words := p.paragraph[begin : i+1]; len(words) >= fewestWords {
				p.found = append(p.found, sentence{p.file, words[0].line, join(words)})
			}
			begin = i + 1
		}
	}
	p.paragraph = nil
}

// ends reports whether a sentence ends between two words.
func ends(last, next string) bool {
	last = strings.TrimRight(last, "\"')]*_`")
	switch last {
	case "e.g.", "i.e.", "vs.", "etc.":
		return false
	}
	if !strings.HasSuffix(last, ".") && !strings.HasSuffix(last, "!") && !strings.HasSuffix(last, "?") {
		return false
	}
	first := []rune(strings.TrimLeft(next, "\"'([*_"))
	return len(first) != 0 && !unicode.IsLower(first[0])
}

func join(words []word) string {
	var texts []string
	for _, w := range words {
		texts = append(texts, w.text)
	}
	return strings.Join(texts, " ")
}
