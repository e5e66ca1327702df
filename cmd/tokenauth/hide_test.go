package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/tokencli"
)

const marker = "Xs3cretX"

// badDSNs are malformed DSNs, and DSNs of databases that do not exist. Each contains the marker as
// its password, or at a place where a typing error may put a password.
var badDSNs = []string{
	"postgres://app:" + marker + "@127.0.0.1:1/app",
	"postgres://app:" + marker + "@127.0.0.1:1/" + marker,
	"postgres://" + marker + "@127.0.0.1:1/app",
	"postgres://app:12/" + marker + "@127.0.0.1/app",
	"postgres://app:12#" + marker + "@127.0.0.1/app",
	"postgres://127.0.0.1:1/app?" + marker + "=x",
	"postgres://127.0.0.1:1/app?sslmode=" + marker,
	"postgres://127.0.0.1:1/app?pool_max_conns=" + marker,
	"postgres://127.0.0.1:1/app?connect_timeout=" + marker,
	"postgres://127.0.0.1:1/app?sslrootcert=/" + marker,
	"postgres://127.0.0.1:1/app?passfile=/" + marker,
	"postgres://127.0.0.1:" + marker + "/app",
	"postgres://app:a%" + marker + "@127.0.0.1/app",
	"postgres://app:a b" + marker + "@127.0.0.1:1/app",
	"postgres:///app?host=/" + marker,
	"postgres:host=/nowhere password=" + marker,
	"postgres:" + marker,
	"postgresql://app:x@" + marker + ".invalid:1/app",
	"postgresql://app:x@127.0.0.1:1/%58s3cret%58",
	"mysql:app:" + marker + "@tcp(127.0.0.1:1)/app",
	"mysql:app:p@" + marker + "(127.0.0.1:1)/app",
	"mysql:app:p@tcp(" + marker + ".invalid:1)/app",
	"mysql:app:p@unix(/" + marker + ")/app",
	"mysql:app:p%zz@unix(/%58s3cret%58)/app",
	"mysql:app:" + marker + "@tcp(127.0.0.1:1)/app?tls=" + marker,
	"mysql:app:" + marker + "@tcp(127.0.0.1:1/app",
	"mysql:" + marker,
	"mysql://app:" + marker + "@127.0.0.1/app",
	"sqlite:/nowhere/" + marker + ".db",
	"sqlite:/nowhere/app.db?_pragma=key('" + marker + "')",
	"sqlite:app.db?key=" + marker + "\x00",
	"/nowhere/" + marker + ".db",
	"app:" + marker + ".db",
	"app:" + marker + "@tcp(127.0.0.1:1)/app",
	"app:" + marker + "@127.0.0.1/app.db",
	"host=127.0.0.1 user=app password=" + marker + " dbname=app.db",
	"password=" + marker,
	"oracle://app:" + marker + "@127.0.0.1/app",
	"file:" + marker + ".db?mode=ro",
	":" + marker, marker,
}

// Operators paste the errors of commands into tickets and chats, and jobs log them. An error must
// not show any part of a DSN except its scheme, because a typing error can put the password
// anywhere.
func TestErrorsShowNothingOfDSN(t *testing.T) {
	for _, dsn := range badDSNs {
		for name, args := range map[string][]string{
			"dsn":    {"list", "--all-users", "--prefix", "acme", "--dsn", dsn},
			"schema": {"schema", "--create", "--dsn", dsn},
			"source": {"import", "drf", "--prefix", "acme", "--dsn", "sqlite:" + existingDatabase(t), "--source", dsn},
		} {
			if name == "schema" && (strings.HasPrefix(dsn, "sqlite:app") || strings.HasSuffix(dsn, "s3cretX.db")) {
				continue // creates the file
			}
			code, output := runInProcess(t, args...)
			require.Contains(t, []int{tokencli.Usage, tokencli.Unavailable}, code, "%s %s: %s", name, dsn, output)
			require.NotContains(t, strings.ToLower(output), "s3cret", "%s %s", name, dsn)
		}
	}
}

// An error must still show the cause. Otherwise, an operator cannot find the cause.
func TestErrorsShowCauseOfFailure(t *testing.T) {
	for dsn, want := range map[string]string{
		"postgres://app:p@127.0.0.1:1/orders":   "connection refused",
		"mysql:app:p@tcp(127.0.0.1:1)/orders":   "connection refused",
		"sqlite:/nowhere/orders.db":             "no such file or directory",
		"postgres://app:p@none.invalid/orders":  "user=… database=…",
		"postgres:///orders?host=/nowhere/sock": "no such file or directory",
	} {
		code, output := runInProcess(t, "list", "--all-users", "--prefix", "acme", "--dsn", dsn)
		require.Equal(t, tokencli.Unavailable, code, output)
		require.Contains(t, output, want)
		require.NotContains(t, output, "orders")
	}
}

// MySQL names the database in the error of a failed foreign key. The command must hide the name,
// also if the error does not mean that the store failed.
func TestErrorOfForeignKeyShowsNothingOfDSN(t *testing.T) {
	t.Parallel()
	a := &app{dsns: []string{"mysql:app:p@tcp(127.0.0.1:1)/orders"}}
	failed := &mysql.MySQLError{Number: 1452, Message: "a foreign key constraint fails (`orders`.`tokenauth_tokens`)"}
	var stderr strings.Builder
	a.printError(t.Context(), &stderr, &tokencli.Error{Code: tokencli.Usage, Err: fmt.Errorf("%w: %w", tokenauth.ErrUserUnknown, failed)})
	require.Contains(t, stderr.String(), "(`…`.`tokenauth_tokens`)")
}

func existingDatabase(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "existing.sqlite3")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	return path
}

// runInProcess runs a command in the test process. It returns the exit code, and the text on
// standard output and standard error.
func runInProcess(t *testing.T, args ...string) (code int, output string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	a := &app{}
	defer a.close()
	cmd := newCommand(a)
	var stderr strings.Builder
	cmd.SetArgs(args)
	cmd.SetOut(&stderr)
	cmd.SetErr(&stderr)
	err := cmd.ExecuteContext(ctx)
	if err != nil {
		a.printError(ctx, &stderr, err)
	}
	return tokencli.ExitCode(err), stderr.String()
}

// A typing error can put the password into any part of a DSN. An error that shows any part of the
// DSN must hide the password.
func TestHideFindsPasswordAnywhere(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	const typed = "aZ09:/@?&=#%()[]+ '\"\\äß\x01"
	for range 2000 {
		before, after, _ := strings.Cut(badDSNs[random.IntN(len(badDSNs))], marker)
		dsn := []rune(before + after)
		for range random.IntN(4) {
			at := random.IntN(len(dsn) + 1)
			dsn = slices.Insert(dsn, at, []rune(typed)[random.IntN(utf8.RuneCountInString(typed))])
		}
		dsn = slices.Insert(dsn, random.IntN(len(dsn)+1), []rune(marker)...)
		requireHidden(t, string(dsn))
	}
}

func requireHidden(t *testing.T, dsn string) {
	t.Helper()
	scheme, rest, _ := strings.Cut(dsn, ":")
	if strings.Contains(scheme, marker) {
		return
	}
	a := &app{}
	defer a.close()
	if _, _, err := a.open(dsn, use); err != nil {
		require.NotContains(t, err.Error(), marker, "%q", dsn)
	}
	settings := []any{dsn, rest}
	if config, err := pgx.ParseConfig(dsn); err == nil {
		settings = append(settings, config.User, config.Password, config.Host, config.Database, config.RuntimeParams)
	}
	if config, err := mysql.ParseDSN(rest); err == nil {
		settings = append(settings, config.User, config.Passwd, config.Net, config.Addr, config.DBName, config.Params)
	}
	for _, setting := range settings {
		text := fmt.Sprintf("setting %v `%s` %q", setting, setting, setting)
		require.NotContains(t, strings.ToLower(hide(text, a.dsns)), strings.ToLower(marker), "%q", dsn)
	}
}
