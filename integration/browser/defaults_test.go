package browser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenpage"
)

// The pages must meet the accessibility rules also with the default options, and with options that
// differ from those of examples/server.
func TestPagesWithOtherOptionsAreAccessible(t *testing.T) {
	needShared(t)
	t.Parallel()
	many := memoryManager(-1, 0)
	for i := range 103 {
		_, _, err := many.Issue(t.Context(), tokenauth.Spec{UserID: "42", Name: fmt.Sprint("program ", i), Scopes: []string{"notes:read"}})
		require.NoError(t, err)
	}
	rightToLeft := &tokenpage.Options{Texts: tokenpage.Texts{Lang: "ar", Title: "الرموز", RightToLeft: true}, Scopes: map[string]string{"notes:read": "قراءة"}}
	name := mouse{}.write("#tp-name", "laptop")
	checkEach(t, []setup{
		{"defaults", accountPage(memoryManager(0, 0), nil), []view{
			{"empty", at("/"), 200, "API tokens"},
			{"error", wrong("/new", mouse{}.write("#tp-name", " ")), 422, "Error: New token" + ofUser},
			{"key", sending("/new", name), 200, "Your new key" + ofUser},
			{"list", at("/"), 200, "API tokens"},
		}},
		{"right to left", accountPage(memoryManager(0, 0), rightToLeft), []view{
			{"form", at("/new"), 200, "New token – الرموز"},
			{"key", sending("/new", name), 200, "Your new key – الرموز"},
			{"list", at("/"), 200, "الرموز"},
		}},
		{"tokens must expire soon", accountPage(memoryManager(0, 5*day), nil), []view{
			{"form", at("/new"), 200, "New token" + ofUser},
			{"error", wrong("/new", name, mouse{}.choose("[name=expires][value=date]")), 422, "Error: New token" + ofUser},
		}},
		{"many", accountPage(many, nil), []view{
			{"second page", func(b *tab) {
				b.visit("/")
				b.load(mouse{}.press("[rel=next]"))
				require.Equal(b.t, 3, b.count(".tp-token"))
			}, 200, "API tokens"},
		}},
	})
}

// A setup is a page without the frame of a service, and its views.
type setup struct {
	name    string
	handler http.Handler
	views   []view
}

// checkEach checks that the views of all setups are valid HTML and meet the accessibility rules.
func checkEach(t *testing.T, setups []setup) {
	dir := t.TempDir()
	for _, tt := range setups {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(tt.handler)
			defer server.Close()
			b := newTab(t, &site{url: server.URL}, desk, true)
			b.withAxe()
			for _, v := range tt.views {
				v.open(b)
				require.Equal(t, v.status, b.status, v.name)
				require.Equal(t, v.title, eval[string](b, "document.title"), v.name)
				require.NoError(t, os.WriteFile(filepath.Join(dir, tt.name+" "+v.name+".html"), []byte(b.html()), 0o600))
				b.checkAccess()
				b.resize(desk)
			}
		})
	}
	checkHTML(t, dir)
}

// accountPage returns the page of the user with the ID 42.
func accountPage(m *tokenauth.Manager, options *tokenpage.Options) http.Handler {
	return must.Get(tokenpage.New(m, func(*http.Request) (string, error) { return "42", nil }, options))
}

// memoryManager returns a Manager with a memory store.
func memoryManager(maxPerUser int, maxTTL time.Duration) *tokenauth.Manager {
	return must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "notes", &tokenauth.Options{MaxPerUser: maxPerUser, MaxTTL: maxTTL}))
}
