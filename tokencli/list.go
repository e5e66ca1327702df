package tokencli

import (
	"context"
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/go-tokenauth/tokenauth"
)

const (
	pageSize   = 5000 // large, because the store sorts the remaining tokens for each page
	wordsWidth = 40   // maximum width of a column with scopes or resources
)

func (c *cli) list() *cobra.Command {
	var q tokenauth.Query
	var expiring string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the tokens of a user, or of all users",
		Long: "List the live tokens of a user, or of all users, oldest first. An expired token is live until it is revoked or\n" +
			"pruned. With --expiring, list only the tokens that are not expired yet, and print nothing if there are none, so\n" +
			"that cron then sends no mail.",
		Example: "  list --user 42\n  list --all-users --created-by token:WXPDONZ7K66MON5RYFABNBXI4J\n  list --all-users --expiring 14d",
	}
	jsonFlag(cmd)
	cmd.Flags().StringVarP(&q.UserID, "user", "u", "", "`ID` of the user")
	cmd.Flags().BoolVar(&q.AllUsers, "all-users", false, "list the tokens of all users")
	cmd.Flags().BoolVar(&q.IncludeRevoked, "revoked", false, "also list revoked tokens")
	createdByFlag(cmd, &q.CreatedBy, "list only the tokens that `ACTOR` created, such as token:ID, user:42, login or cli")
	cmd.Flags().StringVar(&expiring, "expiring", "", "list only the tokens that will expire within this `DURATION`, such as 14d")
	complete(cmd, "user")
	complete(cmd, "expiring", "7d", "14d", "30d")
	return c.managed(cmd, func(cmd *cobra.Command, m *tokenauth.Manager, _ []string) error {
		if q.AllUsers == (q.UserID != "") {
			return usage("exactly one of --user and --all-users is required")
		}
		if expiring != "" {
			length, err := parseDuration(expiring)
			if err != nil {
				return usage("--expiring: " + err.Error())
			}
			if length == 0 { // no token would expire within it
				return usage("--expiring: must be longer than 0")
			}
			if q.IncludeRevoked {
				return usage("--expiring lists only live tokens, so it cannot be combined with --revoked")
			}
			q.ExpiresBefore = c.options.Now().Add(length)
		}
		var to listing = &tableListing{c: c, m: m, q: q, table: newTable(cmd)}
		if asJSON(cmd) {
			to = &jsonListing{out: cmd.OutOrStdout()}
		}
		if err := writePages(cmd.Context(), m, q, to); err != nil {
			return err
		}
		if to.count() == 0 && !asJSON(cmd) && expiring == "" {
			say(cmd, "No tokens.")
		}
		return to.end()
	})
}

func createdByFlag(cmd *cobra.Command, by *string, help string) {
	cmd.Flags().StringVar(by, "created-by", "", help)
	complete(cmd, "created-by")
}

// writePages writes the tokens that q selects. If q has an ExpiresBefore, it omits tokens that are
// already expired.
func writePages(ctx context.Context, m *tokenauth.Manager, q tokenauth.Query, to listing) error {
	q.Limit = pageSize
	for {
		tokens, err := m.List(ctx, q)
		if err != nil {
			return err
		}
		last := len(tokens) < pageSize
		if !last {
			q.After = tokens[len(tokens)-1].Cursor()
		}
		if !q.ExpiresBefore.IsZero() {
			tokens = slices.DeleteFunc(tokens, func(t tokenauth.Token) bool { return m.Expired(&t) })
		}
		if err := to.page(tokens); err != nil || last {
			return err
		}
	}
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
	for _, title := range []string{"NAME", "SCOPES", "RESOURCES", "KEY", "CREATED", "LAST USED", "EXPIRES"} {
		row = append(row, cell{title, bold})
	}
	if l.q.IncludeRevoked {
		row = append(row, cell{"REVOKED", bold})
	}
	return row
}

func (l *tableListing) row(t *tokenauth.Token) []cell {
	usual, expiry := plain, plain
	switch {
	case !t.RevokedAt.IsZero():
		usual, expiry = dim, dim
	case l.m.Expired(t):
		expiry = red
	case l.m.ExpiresSoon(t):
		expiry = yellow
	}
	row := []cell{{t.ID, usual}}
	if l.q.AllUsers {
		row = append(row, cell{t.UserID, usual})
	}
	row = append(row, cell{t.Name, usual}, cell{cut(strings.Join(t.Scopes, " "), wordsWidth), usual},
		cell{cut(resourcesOf(t), wordsWidth), usual}, cell{l.key(t), usual},
		cell{l.c.relative(t.CreatedAt), usual}, cell{l.c.relative(t.LastUsedAt), usual}, cell{l.c.expiry(l.m, t, l.c.relative), expiry})
	if l.q.IncludeRevoked {
		row = append(row, cell{orEmpty(t.RevokedAt, l.c.relative), usual})
	}
	return row
}

// key returns the last characters of the key, and the end of the previous key if that still works.
func (l *tableListing) key(t *tokenauth.Token) string {
	end := l.c.previousUntil(l.m, t)
	if end.IsZero() {
		return hint(t)
	}
	return hint(t) + " (previous ends " + l.c.relative(end) + ")"
}

// previousUntil returns the time until which the previous key of a token works. If it does not
// work, previousUntil returns the zero time.
func (c *cli) previousUntil(m *tokenauth.Manager, t *tokenauth.Token) time.Time {
	if m.Expired(t) || !t.PreviousKeyUntil.After(c.options.Now()) {
		return time.Time{}
	}
	return t.PreviousKeyUntil
}

func (l *tableListing) end() error { return nil }
func (l *tableListing) count() int { return l.n }

// resourcesOf returns the resources that a token is restricted to, or "all".
func resourcesOf(t *tokenauth.Token) string {
	if t.Resources == nil {
		return "all"
	}
	return strings.Join(t.Resources, " ")
}

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
			{"Resources", resourcesOf(&t)}, {"Key", hint(&t)}, {"Generation", strconv.Itoa(t.Generation)},
			{"Previous key works until", orEmpty(c.previousUntil(m, &t), c.absolute)}, {"Imported from", t.Origin},
			{"Created", c.absolute(t.CreatedAt)}, {"Created by", t.CreatedBy}, {"Last used", c.absolute(t.LastUsedAt)},
			{"Expires", c.expiry(m, &t, c.absolute)}, {"Revoked", orEmpty(t.RevokedAt, c.absolute)}, {"Revoked by", t.RevokedBy},
		} {
			if line[1] != "" {
				rows = append(rows, []cell{{line[0], bold}, {line[1], plain}})
			}
		}
		return newTable(cmd).write(rows...)
	})
}
