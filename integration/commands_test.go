package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// An operator who moves to this library copies the commands of docs/moving-from-*.md. The commands
// must work without changes.
func TestMovingGuidesRunAsPrinted(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	output(t, nil, "go", "build", "-C", "../cmd/tokenauth", "-o", bin+"/tokenauth", ".")
	for page, c := range map[string]struct {
		fixture  string
		imported string
	}{
		"drf":     {"drf/many_tokens", "140"},
		"knox":    {"knox/knox5", "28"},
		"sanctum": {"sanctum/sanctum", "38"},
	} {
		t.Run(page, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			db := open(t, "sqlite", "file:"+filepath.Join(folder, "app.db")+modernc)
			statements, err := os.ReadFile("../tokenimport/testdata/" + c.fixture + ".sql")
			require.NoError(t, err)
			_, err = db.ExecContext(t.Context(), string(statements))
			require.NoError(t, err)

			text, err := os.ReadFile("../docs/moving-from-" + page + ".md")
			require.NoError(t, err)
			blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1)
			require.Len(t, blocks, 3)
			env := []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "TOKENAUTH_DSN=sqlite:app.db", "TOKENAUTH_PREFIX=acme", "HOME=" + folder}
			do := func(i int) string { return output(t, env, "sh", "-ec", "cd "+folder+"\n"+blocks[i][1]) }

			count := "SELECT count(*) FROM tokenauth_tokens"
			require.Regexp(t, `(?m)^Imported +`+c.imported+`$`, do(0))
			var stored string
			require.NoError(t, db.QueryRowContext(t.Context(), count).Scan(&stored))
			require.Equal(t, "0", stored, "a dry run must import nothing")
			require.Regexp(t, `(?m)^Imported +`+c.imported+`$`, do(1))
			require.NoError(t, db.QueryRowContext(t.Context(), count).Scan(&stored))
			require.Equal(t, c.imported, stored)
			require.True(t, strings.HasPrefix(do(2), c.imported+" tokens; last used: "))
		})
	}
}

// output returns what a command writes to standard output.
func output(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = env // nil means the environment of this process
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	return string(out)
}
