package tokencli

import (
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/go-tokenauth/tokenauth"
)

const (
	pageSize    = 5000 // large, because the store sorts the remaining tokens for each page
	scopesWidth = 40
	soon        = 7 * day // a token that expires within this time is yellow
)

func (c *cli) list() *cobra.Command {
	var q tokenauth.Query
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the tokens of a user, or of all users",
		Long: "List the live tokens of a user, or of all users, oldest first. An expired token is live until it is revoked or\n" +
			"pruned.",
	}
	jsonFlag(cmd)
	cmd.Flags().StringVarP(&q.UserID, "user", "u", "", "`ID` of the user")
	cmd.Flags().BoolVar(&q.AllUsers, "all-users", false, "list the tokens of all users")
	cmd.Flags().BoolVar(&q.IncludeRevoked, "revoked", false, "also list revoked tokens")
	complete(cmd, "user")
	return c.managed(cmd, func(cmd *cobra.Command, m *tokenauth.Manager, _ []string) error {
		if q.AllUsers == (q.UserID != "") {
			return usage("exactly one of --user and --all-users is required")
		}
		var to listing = &tableListing{c: c, m: m, q: q, table: newTable(cmd)}
		if asJSON(cmd) {
			to = &jsonListing{out: cmd.OutOrStdout()}
		}
		q.Limit = pageSize
		for {
			tokens, err := m.List(cmd.Context(), q)
			if err != nil {
				return err
			}
			if err := to.page(tokens); err != nil {
				return err
			}
			if len(tokens) < pageSize {
				break
			}
			q.After = tokens[len(tokens)-1].Cursor()
		}
		if to.count() == 0 && !asJSON(cmd) {
			say(cmd, "No tokens.")
		}
		return to.end()
	})
}

// A listing writes a list page by page, so that memory use does not depend on its length.
type listing interface {
	page([]tokenauth.Token) error
	end() error
	count() int
}

// A jsonListing writes the list as one JSON document. If the list fails, the output is incomplete
// and thus not valid JSON.
type jsonListing struct {
	out io.Writer
	n   int
}

func (l *jsonListing) page(tokens []tokenauth.Token) error {
	var text []byte
	for i := range tokens {
		open := ",\n"
		if l.n == 0 {
			open = `{"tokens":[` + "\n"
		}
		object, err := json.Marshal(tokens[i])
		if err != nil {
			return err
		}
		text = append(append(text, open...), object...)
		l.n++
	}
	_, err := l.out.Write(text)
	return written(err)
}

func (l *jsonListing) end() error {
	end := "\n]}\n"
	if l.n == 0 {
		end = `{"tokens":[]}` + "\n"
	}
	_, err := io.WriteString(l.out, end)
	return written(err)
}

func (l *jsonListing) count() int { return l.n }

type tableListing struct {
	c     *cli
	m     *tokenauth.Manager
	q     tokenauth.Query
	table *table
	n     int
}

func (l *tableListing) page(tokens []tokenauth.Token) error {
	var rows [][]cell
	if l.n == 0 && len(tokens) > 0 {
		rows = append(rows, l.header())
	}
	for i := range tokens {
		rows = append(rows, l.row(&tokens[i]))
	}
	l.n += len(tokens)
	return l.table.write(rows...)
}

func (l *tableListing) header() []cell {
	row := []cell{{"ID", bold}}
	if l.q.AllUsers {
		row = append(row, cell{"USER", bold})
	}
	for _, title := range []string{"NAME", "SCOPES", "KEY", "CREATED", "LAST USED", "EXPIRES"} {
		row = append(row, cell{title, bold})
	}
	if l.q.IncludeRevoked {
		row = append(row, cell{"REVOKED", bold})
	}
	return row
}

func (l *tableListing) row(t *tokenauth.Token) []cell {
	now := l.c.options.Now()
	usual, expiry := plain, plain
	switch {
	case !t.RevokedAt.IsZero():
		usual, expiry = dim, dim
	case l.m.Expired(t):
		expiry = red
	case t.ExpiredAt(now.Add(soon)):
		expiry = yellow
	}
	row := []cell{{t.ID, usual}}
	if l.q.AllUsers {
		row = append(row, cell{t.UserID, usual})
	}
	row = append(row, cell{t.Name, usual}, cell{cut(strings.Join(t.Scopes, " "), scopesWidth), usual}, cell{hint(t), usual},
		cell{l.c.relative(t.CreatedAt), usual}, cell{l.c.relative(t.LastUsedAt), usual}, cell{l.c.expiry(l.m, t, l.c.relative), expiry})
	if l.q.IncludeRevoked {
		row = append(row, cell{orEmpty(t.RevokedAt, l.c.relative), usual})
	}
	return row
}

func (l *tableListing) end() error { return nil }
func (l *tableListing) count() int { return l.n }

// hint returns the last characters of the key. It returns the empty string for an imported key
// without a hint.
func hint(t *tokenauth.Token) string {
	if t.Hint == "" {
		return ""
	}
	return "…" + t.Hint
}

// expiry returns the expiry of a token, as text that format returns. If the service refuses the
// token because it is idle, expiry returns another text.
func (c *cli) expiry(m *tokenauth.Manager, t *tokenauth.Token, format func(time.Time) string) string {
	if t.RevokedAt.IsZero() && m.Expired(t) && !t.ExpiredAt(c.options.Now()) {
		return "unused for too long"
	}
	return format(t.ExpiresAt)
}

func orEmpty(t time.Time, format func(time.Time) string) string {
	if t.IsZero() {
		return ""
	}
	return format(t)
}

func (c *cli) show() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show TOKEN",
		Short: "Show a token, even if it is revoked",
	}
	jsonFlag(cmd)
	return c.managed(c.aboutToken(cmd), func(cmd *cobra.Command, m *tokenauth.Manager, args []string) error {
		t, err := find(cmd, m, args[0])
		if err != nil {
			return err
		}
		if asJSON(cmd) {
			return writeJSON(cmd, t)
		}
		var rows [][]cell
		for _, line := range [][2]string{
			{"ID", t.ID}, {"User", t.UserID}, {"Name", t.Name}, {"Scopes", strings.Join(t.Scopes, " ")},
			{"Key", hint(&t)}, {"Generation", strconv.Itoa(t.Generation)}, {"Imported from", t.Origin},
			{"Created", c.absolute(t.CreatedAt)}, {"Last used", c.absolute(t.LastUsedAt)},
			{"Expires", c.expiry(m, &t, c.absolute)}, {"Revoked", orEmpty(t.RevokedAt, c.absolute)},
		} {
			if line[1] != "" {
				rows = append(rows, []cell{{line[0], bold}, {line[1], plain}})
			}
		}
		return newTable(cmd).write(rows...)
	})
}
