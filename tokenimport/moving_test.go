package tokenimport_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
	"github.com/go-tokenauth/tokenauth/tokenimport"
)

// A move has the code and the data for one of the pages docs/moving-from-*.md. The pages show code
// of this file.
type move struct {
	origin  string
	db      *sql.DB
	lines   []map[string]string // lines of the fixture
	user    string              // the column of lines with the user ID
	service func(*guide, tokenauth.Store, *sql.DB) error
	source  *tokenimport.Source
	left    func(context.Context, *tokenauth.Manager) (tokenimport.Remainder, error)
	forget  string   // statement with which the other system deletes the first token
	sql     []string // statements of the page
}

// A guide has the results of the first code of a page.
type guide struct {
	tokens *tokenauth.Manager
	auth   *tokenauth.Authenticator[*person]
}

type person struct{ ID, Name string }

type people struct{ db *sql.DB }

func (p people) ByID(ctx context.Context, id string) (*person, error) {
	who := &person{}
	err := p.db.QueryRowContext(ctx, "SELECT id, username FROM auth_user WHERE id = ? AND is_active", id).Scan(&who.ID, &who.Name)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, tokenauth.ErrNoUser
	}
	return who, err
}

type members struct{ db *sql.DB }

func (m members) ByID(ctx context.Context, id string) (*person, error) {
	who := &person{}
	err := m.db.QueryRowContext(ctx, "SELECT id, name FROM users WHERE id = ?", id).Scan(&who.ID, &who.Name)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, tokenauth.ErrNoUser
	}
	return who, err
}

func dryRun(ctx context.Context, w io.Writer, tokens *tokenauth.Manager, source *tokenimport.Source) (tokenimport.Report, error) {
	report, err := tokenimport.Run(ctx, tokens, source, &tokenimport.Options{
		DryRun:    true,
		OnRefused: func(r tokenimport.Refusal) { fmt.Fprintf(w, "not imported: %s: %s\n", r.Row, r.Reason) },
	})
	return report, err
}

func importAll(ctx context.Context, tokens *tokenauth.Manager, source *tokenimport.Source) (tokenimport.Report, error) {
	report, err := tokenimport.Run(ctx, tokens, source, nil)
	return report, err
}

// walk follows the steps of the page. After each step, it checks what clients get.
func (m *move) walk(t *testing.T) {
	ctx, db := t.Context(), m.db
	stored := "SELECT count(*) FROM tokenauth_tokens"
	made := &guide{}
	require.NoError(t, m.service(made, sqlite.NewStore(t, db, nil), db))
	tokens, auth := made.tokens, made.auth
	clients := auth.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, _ := auth.User(r.Context())
		_, _ = w.Write([]byte(who.ID))
	}))
	first := m.accepted()[0]
	require.Equal(t, 401, statusOf(clients, "Token "+first["key"]), "before the import")

	dry, err := dryRun(ctx, &leak.Default, tokens, m.source)
	require.NoError(t, err)
	require.Equal(t, []string{"0"}, column(t, db, stored))
	report, err := importAll(ctx, tokens, m.source)
	require.NoError(t, err)
	require.Equal(t, dry, report)
	require.Equal(t, 200, statusOf(clients, "Token "+first["key"]))
	execute(t, db, m.sql[0]) // deletes the tokens of the trial import
	require.Equal(t, []string{"0"}, column(t, db, stored))

	execute(t, db, m.forget)
	first["accepted"] = "0"
	if m.origin == "knox" {
		execute(t, db, strings.Replace(m.sql[1], "2028-01-01", "2345-01-01", 1)) // a year in which this test does not run
	}
	report, err = importAll(ctx, tokens, m.source)
	require.NoError(t, err)
	require.Equal(t, dry.Imported-1, report.Imported)
	requireSameResponses(t, clients, "Token", m.lines, m.user)

	// One key is rotated, and the other keys expire.
	rotated := m.accepted()[0]
	token, err := tokens.Authenticate(ctx, rotated["key"])
	require.NoError(t, err)
	key, token, err := tokens.Rotate(ctx, token.UserID, token.ID, 7*24*time.Hour)
	require.NoError(t, err)
	leak.Default.Secret(key.Reveal())
	for _, k := range []string{key.Reveal(), rotated["key"]} {
		require.Equal(t, 200, statusOf(clients, "Token "+k))
	}
	left, err := m.left(ctx, tokens)
	require.NoError(t, err)
	require.Equal(t, report.Imported-1, left.Tokens)
	if m.origin == "knox" {
		require.NotEqual(t, []string{"0"}, column(t, db, stored+" WHERE expires_at = "+micros(time.Date(2345, 1, 1, 0, 0, 0, 0, time.UTC))))
	} else {
		soon := micros(time.Now().Add(time.Hour))
		execute(t, db, regexp.MustCompile(`\d{16}`).ReplaceAllString(m.sql[1], soon))
		requireSameResponses(t, clients, "Token", m.lines, m.user) // the keys have not expired yet
		require.Equal(t, []string{strconv.Itoa(left.Tokens)}, column(t, db, stored+" WHERE generation = 0 AND expires_at <= "+soon))
	}
	execute(t, db, "UPDATE tokenauth_tokens SET expires_at = created_at WHERE generation = 0") // the expiry has passed
	left, err = m.left(ctx, tokens)
	require.NoError(t, err)
	require.Zero(t, left)

	execute(t, db, m.sql[2])
	tokens = must.Get(tokenauth.New(sqlite.NewStore(t, db, nil), "acme", nil)) // does not accept keys of the other system
	require.Equal(t, []string{"1"}, column(t, db, stored))
	_, err = tokens.Authenticate(ctx, key.Reveal())
	require.NoError(t, err)
	for _, line := range m.lines {
		_, err = tokens.Authenticate(ctx, line["key"])
		require.ErrorIs(t, err, tokenauth.ErrInvalidKey)
	}
	require.NoError(t, tokens.Revoke(ctx, token.UserID, token.ID))
	pruned, err := tokens.Prune(ctx, time.Now().Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, 1, pruned, "Prune must delete the imported token like any other token")
}

func (m *move) accepted() (lines []map[string]string) {
	for _, line := range m.lines {
		if line["accepted"] == "1" {
			lines = append(lines, line)
		}
	}
	return lines
}

func micros(t time.Time) string { return strconv.FormatInt(t.UnixMicro(), 10) }

// The steps of docs/moving-from-drf.md must work as the page describes them.
// Cases K10, K11.
func TestMovingFromDRFWorksAsDocumented(t *testing.T) {
	t.Parallel()
	for fixture, table := range map[string]string{"drf/many_tokens": "tokens_token", "drf/stock_authtoken": "authtoken_token"} {
		t.Run(table, func(t *testing.T) {
			t.Parallel()
			db := loaded(t, fixture)
			source := tokenimport.DRF(db, tokenauth.SQLite, nil) // Django's own rest_framework.authtoken
			if table == "tokens_token" {
				source = namedTokens(db)
			}
			m := &move{origin: "drf", db: db, lines: keysOf(t, fixture), user: "user_id", source: source, sql: pageSQL(t, "moving-from-drf.md")}
			for _, line := range m.lines {
				line["accepted"] = line["is_active"]
			}
			m.forget = "DELETE FROM " + table + " WHERE key = '" + m.accepted()[0]["key"] + "'"
			m.sql[2] = strings.Replace(m.sql[2], "tokens_token", table, 1)
			m.service = (*guide).afterDRF
			m.left = func(ctx context.Context, tokens *tokenauth.Manager) (tokenimport.Remainder, error) {
				left, err := tokenimport.Remaining(ctx, tokens, "drf") // left.Tokens and left.LastUsedAt
				return left, err
			}
			m.walk(t)
		})
	}
}

func namedTokens(db *sql.DB) *tokenimport.Source {
	source := tokenimport.DRF(db, tokenauth.SQLite, &tokenimport.DRFOptions{Table: "tokens_token", ID: "id", Name: "name"})
	return source
}

func (g *guide) afterDRF(store tokenauth.Store, db *sql.DB) error {
	tokens, err := tokenauth.New(store, "acme", &tokenauth.Options{
		Legacy: []tokenauth.LegacyFormat{tokenimport.DRFFormat()},
	})
	if err != nil {
		return err
	}
	auth, err := tokenauth.NewAuthenticator(tokens, people{db}.ByID, nil)
	g.tokens, g.auth = tokens, auth
	return err
}

// The steps of docs/moving-from-knox.md must work as the page describes them.
// Cases K10, K11.
func TestMovingFromKnoxWorksAsDocumented(t *testing.T) {
	t.Parallel()
	db := loaded(t, "knox/knox5")
	source := tokenimport.Knox(db, tokenauth.SQLite, tokenimport.Knox5, nil)
	m := &move{origin: "knox", db: db, lines: keysOf(t, "knox/knox5"), user: "user_id", source: source, sql: pageSQL(t, "moving-from-knox.md")}
	first := m.accepted()[0]
	text, ok := tokenimport.KnoxFormat(tokenimport.Knox5, "acme_").Canonical(first["key"])
	require.True(t, ok)
	m.forget = "DELETE FROM knox_authtoken WHERE digest = '" + text + "'"
	m.service = func(g *guide, store tokenauth.Store, db *sql.DB) error {
		tokens, err := tokenauth.New(store, "acme", &tokenauth.Options{
			Legacy: []tokenauth.LegacyFormat{tokenimport.KnoxFormat(tokenimport.Knox5, "acme_")}, // TOKEN_PREFIX, or ""
		})
		if err != nil {
			return err
		}
		auth, err := tokenauth.NewAuthenticator(tokens, people{db}.ByID, nil)
		g.tokens, g.auth = tokens, auth
		return err
	}
	m.left = func(ctx context.Context, tokens *tokenauth.Manager) (tokenimport.Remainder, error) {
		left, err := tokenimport.Remaining(ctx, tokens, "knox") // left.Tokens and left.LastUsedAt
		return left, err
	}
	m.walk(t)
}

// The steps of docs/moving-from-sanctum.md must work as the page describes them.
// Cases K10, K11.
func TestMovingFromSanctumWorksAsDocumented(t *testing.T) {
	t.Parallel()
	db := loaded(t, "sanctum/sanctum")
	source := tokenimport.Sanctum(db, tokenauth.SQLite, &tokenimport.SanctumOptions{
		Scopes: func(ability string) ([]string, error) {
			switch ability {
			case "*":
				return []string{"orders:read", "orders:write"}, nil
			case "orders:read", "orders:write":
				return []string{ability}, nil
			case "read orders": // not a valid scope, because it contains a space
				return []string{"orders:read"}, nil
			}
			return nil, nil // no handler requires this ability any more
		},
	})
	m := &move{origin: "sanctum", db: db, lines: keysOf(t, "sanctum/sanctum"), user: "tokenable_id", source: source, sql: pageSQL(t, "moving-from-sanctum.md")}
	for _, line := range m.lines {
		if line["note"] == "another tokenable" {
			line["accepted"] = "0"
		}
	}
	m.forget = "DELETE FROM personal_access_tokens WHERE id = " + m.accepted()[0]["id"]
	m.service = func(g *guide, store tokenauth.Store, db *sql.DB) error {
		tokens, err := tokenauth.New(store, "acme", &tokenauth.Options{
			Scopes: []string{"orders:read", "orders:write"},
			Legacy: []tokenauth.LegacyFormat{tokenimport.SanctumFormat("acme_")}, // token_prefix of config/sanctum.php, or ""
		})
		if err != nil {
			return err
		}
		auth, err := tokenauth.NewAuthenticator(tokens, members{db}.ByID, nil)
		g.tokens, g.auth = tokens, auth
		return err
	}
	m.left = func(ctx context.Context, tokens *tokenauth.Manager) (tokenimport.Remainder, error) {
		left, err := tokenimport.Remaining(ctx, tokens, "sanctum") // left.Tokens and left.LastUsedAt
		return left, err
	}
	m.walk(t)
}

// pageSQL returns the SQL statements of a page, in the order of the page.
func pageSQL(t *testing.T, page string) (statements []string) {
	t.Helper()
	statements = blocksOf(t, page, "sql")
	require.Len(t, statements, 3)
	return statements
}

func blocksOf(t *testing.T, page, language string) (blocks []string) {
	t.Helper()
	text, err := os.ReadFile("../docs/" + page)
	require.NoError(t, err)
	for _, match := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		blocks = append(blocks, match[1])
	}
	require.NotEmpty(t, blocks)
	return blocks
}
