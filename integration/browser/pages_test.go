package browser

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A view is a page, and the expected status and title.
type view struct {
	name   string
	open   func(*tab) // opens the page
	status int
	title  string // title of the document
}

// Each page must be valid HTML, and usable with low vision and with a screen reader.
func TestPagesAreAccessibleAndValid(t *testing.T) {
	needShared(t)
	t.Parallel()
	dir := t.TempDir()
	t.Run("of", func(t *testing.T) { // returns when all parallel subtests have ended
		check := func(u user, views []view) {
			t.Run(u.name, func(t *testing.T) {
				t.Parallel()
				b := signedIn(t, u)
				if u.name == nobody {
					b = newTab(t, u.site, desk, true)
				}
				b.withAxe()
				for _, v := range views {
					t.Run(v.name, func(t *testing.T) {
						b.t = t
						b.resize(desk)
						v.open(b)
						require.Equal(t, v.status, b.status)
						require.Equal(t, v.title+" – Notes", eval[string](b, "document.title"))
						require.NoError(t, os.WriteFile(filepath.Join(dir, u.name+" "+v.name+".html"), []byte(b.html()), 0o600))
						b.checkAccess()
					})
				}
			})
		}
		s := shared.site
		many, few, forms := s.newUser(t, "many", false), s.newUser(t, "few", false), s.newUser(t, "wrong", false)
		issueMany(t, many, 100)
		check(many, manyViews())
		check(s.newUser(t, nobody, false), visitorViews())
		check(s.newUser(t, "new", false), emptyViews())
		check(few, fewViews(t, few))
		check(forms, wrongViews(t, forms))
		check(s.newUser(t, "staff", true), staffViews(t, s.newUser(t, "of staff", false)))
	})
	if !t.Failed() {
		checkHTML(t, dir)
	}
}
