package tokencli

import (
	"bytes"
	"context"
	"database/sql"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

func TestMain(m *testing.M) { leak.Main(m) }

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// A program is a service that has mounted the commands.
type program struct {
	t       testing.TB
	store   tokenauth.Store
	manager *tokenauth.Manager
	now     time.Time
	opened  int // number of calls of the function open
	source  func(context.Context, string) (*sql.DB, tokenauth.Dialect, error)
}

func newProgram(t testing.TB, opts tokenauth.Options) *program {
	p := &program{t: t, store: tokenauth.NewMemoryStore(), now: noon}
	opts.Now = p.clock
	p.manager = must.Get(tokenauth.New(p.store, "acme", &opts))
	return p
}

func (p *program) clock() time.Time { return p.now }

func (p *program) root() *cobra.Command {
	root := &cobra.Command{Use: "service"}
	root.AddCommand(New(func(context.Context) (*tokenauth.Manager, error) {
		p.opened++
		return p.manager, nil
	}, &Options{Now: p.clock, OpenSource: p.source}))
	return root
}

// An output has the output and the error of a command.
type output struct {
	stdout, stderr string
	err            error
}

func (o output) code() int { return ExitCode(o.err) }

var keyForm = regexp.MustCompile(`acme_[0-9A-Za-z]{38}`)

// run runs a command, as in run("list", "--all-users"). If the command may print a key, the test
// run fails if any other output contains that key.
func (p *program) run(args ...string) output {
	p.t.Helper()
	return p.runWith(p.t.Context(), "", args...)
}

func (p *program) runWith(ctx context.Context, stdin string, args ...string) output {
	p.t.Helper()
	var stdout, stderr bytes.Buffer
	root := p.root()
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	root.SetArgs(append([]string{"tokens"}, args...))
	err := root.ExecuteContext(ctx)
	rest := stdout.String()
	if args[0] == "create" || args[0] == "rotate" {
		if key := keyForm.FindString(rest); key != "" {
			leak.Default.Secret(key)
			rest = strings.Replace(rest, key, "", 1)
		}
	}
	_, _ = leak.Default.Write([]byte(rest + "\n" + stderr.String()))
	return output{stdout.String(), stderr.String(), err}
}

// issue issues a token with the Manager.
func (p *program) issue(spec tokenauth.Spec) tokenauth.Token {
	p.t.Helper()
	key, token, err := p.manager.Issue(p.t.Context(), spec)
	require.NoError(p.t, err)
	leak.Default.Secret(key.Reveal())
	return token
}

// issueBy issues a token of user 42 with the Manager, on behalf of an actor.
func (p *program) issueBy(actor, name string) tokenauth.Token {
	p.t.Helper()
	key, token, err := p.manager.Issue(tokenauth.ContextWithActor(p.t.Context(), actor), tokenauth.Spec{UserID: "42", Name: name})
	require.NoError(p.t, err)
	leak.Default.Secret(key.Reveal())
	return token
}

// names returns the names in the list that a command prints as JSON.
func (p *program) names(args ...string) []string {
	p.t.Helper()
	got := p.run(append(args, "--json")...)
	require.NoError(p.t, got.err)
	names := []string{}
	for _, token := range decoded(p.t, got.stdout)["tokens"].([]any) {
		names = append(names, token.(map[string]any)["name"].(string))
	}
	slices.Sort(names)
	return names
}
