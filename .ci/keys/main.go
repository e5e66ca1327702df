// Command keys fails if a file of the repository contains a string that looks like a real API key
// or private key. Secret scanners would report the repository, and every copy of its docs. It must
// run in the root folder.
package main

import (
	"fmt"
	"io/fs"
	"log"
	"os"
	"regexp"
	"strings"

	"github.com/go-tokenauth/tokenauth"
)

// providers matches API keys of well-known services, such as GitHub and AWS, as secret scanners do.
var providers = regexp.MustCompile(strings.Join([]string{
	`gh[opsur]_[0-9A-Za-z]{36}`, `github_pat_[0-9A-Za-z_]{22}`, `glpat-[0-9A-Za-z_-]{20}`, `A(KIA|SIA)[0-9A-Z]{16}`, `AIza[0-9A-Za-z_-]{35}`,
	`[rs]k_(live|test)_[0-9A-Za-z]{10}`, `xox[abeoprs]-[0-9A-Za-z-]{10}`, `npm_[0-9A-Za-z]{36}`, `pypi-[0-9A-Za-z_-]{16}`, `dop_v1_[0-9a-f]{64}`,
	`SG\.[0-9A-Za-z_-]{22}\.`, `hf_[A-Za-z]{34}`, `sk-[0-9A-Za-z_-]{20}`, `eyJ[0-9A-Za-z_-]{10,}\.eyJ`,
}, "|"))

const (
	wordCharacters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-."
	shortest       = 14 // number of characters of the shortest word that can be a key
)

var (
	ownForm    = regexp.MustCompile(`[a-z][0-9a-z_]*_[0-9A-Za-z]{38}\b`)
	privateKey = regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----`)
)

// exampleKeys holds keys on purpose. testdata/README.md explains them.
const exampleKeys = "testdata/keys.json"

func main() {
	log.SetFlags(0)
	if _, err := os.Stat("go.mod"); err != nil {
		log.Fatal("run this command in the root folder: ", err) // another folder may have nothing to find
	}
	found, err := search(os.DirFS("."))
	if err != nil {
		log.Fatal(err)
	}
	if len(found) != 0 {
		fmt.Println(strings.Join(found, "\n"))
		os.Exit(1)
	}
}

// search returns the suspicious strings in the files of root.
func search(root fs.FS) (found []string, err error) {
	err = fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != "." && path != ".ci":
			return fs.SkipDir // .git, or the module cache of a CI system
		case !d.Type().IsRegular() || path == exampleKeys:
			return nil
		}
		text, err := fs.ReadFile(root, path)
		for _, s := range suspicious(string(text)) {
			found = append(found, path+": looks like a real key: "+s)
		}
		return err
	})
	return found, err
}

// suspicious returns the strings in text that look like real keys.
func suspicious(text string) (found []string) {
	isBetweenWords := func(c rune) bool { return !strings.ContainsRune(wordCharacters, c) }
	for word := range strings.FieldsFuncSeq(text, isBetweenWords) {
		if len(word) < shortest {
			continue
		}
		if providers.MatchString(word) {
			found = append(found, word)
		}
		for _, own := range ownForm.FindAllString(word, -1) {
			if prefix, err := tokenauth.CheckKey(own); err == nil && !isExample(prefix) {
				found = append(found, own)
			}
		}
	}
	return append(found, privateKey.FindAllString(text, -1)...)
}

// isExample reports whether keys with this prefix are examples that no service accepts.
func isExample(prefix string) bool {
	return prefix == "acme" || strings.HasPrefix(prefix, "acme_") || strings.HasPrefix(prefix, "tokenauthtest")
}
