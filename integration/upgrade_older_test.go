package integration

import (
	"archive/tar"
	"bufio"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
)

// olderFolder contains the library of 2026-11-26, a program that uses it, and its databases.
const olderFolder = "testdata/2026-11-26"

// buildOlder builds the program with the library of 2026-11-26, and returns its path.
func buildOlder(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	require.NoError(t, os.CopyFS(folder, os.DirFS(filepath.Join(olderFolder, "program"))))
	unpack(t, filepath.Join(olderFolder, "library.tar.gz"), filepath.Join(folder, "library"))
	path := filepath.Join(folder, "older")
	output(t, append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly -buildvcs=false"), "go", "build", "-C", folder, "-o", path, ".")
	return path
}

// unpack extracts the files of a .tar.gz archive to a new folder.
func unpack(t *testing.T, archive, folder string) {
	t.Helper()
	f, err := os.Open(archive)
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	zipped, err := gzip.NewReader(f)
	require.NoError(t, err)
	for files := tar.NewReader(zipped); ; {
		header, err := files.Next()
		if err == io.EOF {
			return
		}
		require.NoError(t, err)
		if header.Typeflag != tar.TypeReg {
			continue
		}
		name := filepath.Join(folder, filepath.FromSlash(header.Name))
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o700))
		text, err := io.ReadAll(files)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(name, text, 0o600))
	}
}

// An older is a running instance of the older program.
type older struct {
	url    string
	client *http.Client
}

// startOlder starts the program on a table. The process is killed when the test ends.
func startOlder(t *testing.T, program, driver, dsn, table string, args ...string) *older {
	t.Helper()
	args = append([]string{"-driver", driver, "-dsn", dsn, "-table", table}, args...)
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	transport := &http.Transport{MaxIdleConnsPerHost: 32}
	t.Cleanup(func() { // t.Context is done, so the process is killed
		_ = in.Close()
		_ = cmd.Wait()
		transport.CloseIdleConnections()
	})
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan(), "the program did not print its address")
	return &older{"http://" + lines.Text(), &http.Client{Transport: transport, Timeout: time.Minute}}
}

// send sends a request, with a key unless key is empty.
func (o *older) send(ctx context.Context, method, path, key string) (status int, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, method, o.url+path, nil)
	if err != nil {
		return 0, nil, err
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := o.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// me presents a key, and returns the status and the ID of the token.
func (o *older) me(ctx context.Context, key string) (status int, id string, err error) {
	status, body, err := o.send(ctx, http.MethodGet, "/me", key)
	if status != http.StatusOK {
		_, _ = leak.Default.Write(body)
	}
	return status, string(body), err
}

// An issuedKey is the response to a change. Key is empty if the change creates no key.
type issuedKey struct {
	Key   string
	Token olderToken
}

// tryChange sends a change, such as "/rotate". The program may refuse the change.
func (o *older) tryChange(ctx context.Context, path string, form url.Values) (got issuedKey, status int, err error) {
	status, body, err := o.send(ctx, http.MethodPost, path+"?"+form.Encode(), "")
	if err == nil && status == http.StatusOK {
		err = json.Unmarshal(body, &got)
	}
	if got.Key != "" {
		registered(got.Key)
	}
	return got, status, err
}

// change sends a change, which must succeed.
func (o *older) change(t *testing.T, path string, form url.Values) issuedKey {
	t.Helper()
	got, status, err := o.tryChange(t.Context(), path, form)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status)
	return got
}

// An olderToken is the JSON of a token of the older library.
type olderToken struct {
	ID, UserID, Name                            string
	Scopes                                      []string
	Hint                                        string
	Generation                                  int
	Origin                                      string
	CreatedAt, ExpiresAt, LastUsedAt, RevokedAt time.Time
}

func (t olderToken) token() tokenauth.Token {
	return tokenauth.Token{
		ID: t.ID, UserID: t.UserID, Name: t.Name, Scopes: t.Scopes, Hint: t.Hint, Generation: t.Generation, Origin: t.Origin,
		CreatedAt: t.CreatedAt, ExpiresAt: t.ExpiresAt, LastUsedAt: t.LastUsedAt, RevokedAt: t.RevokedAt,
	}
}

// list returns all tokens as the older library reads them.
func (o *older) list(t *testing.T) []tokenauth.Token {
	t.Helper()
	status, body, err := o.send(t.Context(), http.MethodGet, "/tokens", "")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status)
	var all []olderToken
	require.NoError(t, json.Unmarshal(body, &all))
	tokens := make([]tokenauth.Token, len(all))
	for i := range all {
		tokens[i] = all[i].token()
	}
	return tokens
}

// A presented is a key, and the expected result of a request with this key.
type presented struct {
	key      string
	id       string // ID of the token
	good     bool
	previous bool // a rotation has replaced the key
}

// keysOf returns the current and the previous keys of a token that the older program created.
func keysOf(t tokenauth.Token) (all []presented) {
	live := t.RevokedAt.IsZero() && !t.ExpiredAt(time.Now())
	inGrace := strings.HasPrefix(strings.ToLower(t.Name), "in grace")
	for generation := range t.Generation + 1 {
		if generation == 0 && t.Origin == "" {
			continue
		}
		previous := generation < t.Generation
		good := live && (!previous || generation == t.Generation-1 && inGrace)
		all = append(all, presented{olderKey(t.CreatedAt, generation), t.ID, good, previous})
	}
	return all
}

// olderKey returns the key of a generation of a token that the older program created at createdAt.
// The program and olderKey derive the key from these two values. docs/key-format.md describes the
// format.
func olderKey(createdAt time.Time, generation int) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	seed := sha256.Sum256(fmt.Append(nil, createdAt.UnixMicro(), "/", generation))
	if generation == 0 {
		return registered(hex.EncodeToString(seed[:20])) // an imported key
	}
	key := []byte("acme_")
	var random [64]byte
	_, _ = rand.NewChaCha8(seed).Read(random[:])
	for _, b := range random {
		if b < 248 && len(key) < len("acme_")+32 {
			key = append(key, digits[b%62])
		}
	}
	sum, check := crc32.ChecksumIEEE(key), make([]byte, 6)
	for i := len(check) - 1; i >= 0; i-- {
		check[i] = digits[sum%62]
		sum /= 62
	}
	return registered(string(append(key, check...)))
}

// registered registers a key with package leak, and returns the key.
func registered(key string) string {
	leak.Default.Secret(key)
	return key
}

// requireOlderKeepsRestriction changes a token that is restricted to a resource with both
// libraries. The older library does not know the columns resources, created_by and revoked_by. It
// does not enforce the restriction, but must serve the token, and must not remove what the columns
// hold.
func requireOlderKeepsRestriction(t *testing.T, store tokenauth.Store, o *older, user string) {
	t.Helper()
	ctx := tokenauth.ContextWithActor(t.Context(), "staff:7")
	m := fixture.NewManager(store, &tokenauth.Options{Resources: func(context.Context, string) ([]tokenauth.Resource, error) {
		return []tokenauth.Resource{{ID: "p"}, {ID: "q"}}, nil
	}})
	t.Cleanup(func() { require.NoError(t, m.Close(context.Background())) })
	secret, token, err := m.Issue(ctx, tokenauth.Spec{UserID: user, Name: "restricted", Resources: []string{"p", "q"}})
	require.NoError(t, err)
	form := url.Values{"user": {user}, "id": {token.ID}, "name": {"renamed"}, "grace": {"yes"}}
	o.change(t, "/rename", form)
	second := o.change(t, "/rotate", form)
	_, err = m.Update(ctx, user, token.ID, tokenauth.Patch{Resources: &[]string{"p"}})
	require.NoError(t, err)
	for _, key := range []string{revealed(secret), second.Key} {
		status, id, err := o.me(ctx, key)
		require.NoError(t, err)
		require.Equal(t, []any{http.StatusOK, token.ID}, []any{status, id}, "the older library enforces no restriction")
		got, err := m.Authenticate(ctx, key)
		require.NoError(t, fixture.Noted(err))
		require.Equal(t, []bool{true, false}, []bool{got.Allows("p"), got.Allows("q")})
		require.Equal(t, []any{"renamed", "staff:7"}, []any{got.Name, got.CreatedBy})
	}

	third, created, err := m.Issue(ctx, tokenauth.Spec{UserID: user, Name: "restricted", Resources: []string{"p"}})
	require.NoError(t, err)
	require.NoError(t, m.Revoke(ctx, user, created.ID))
	o.change(t, "/revoke", form)
	for _, key := range []string{second.Key, revealed(third)} {
		status, _, err := o.me(ctx, key)
		require.NoError(t, err)
		require.Equal(t, http.StatusUnauthorized, status)
		_, err = m.Authenticate(ctx, key)
		require.ErrorIs(t, fixture.Noted(err), tokenauth.ErrInvalidKey)
	}
	for id, by := range map[string]string{token.ID: "", created.ID: "staff:7"} {
		got, err := store.List(ctx, tokenauth.Query{UserID: user, IDs: []string{id}, IncludeRevoked: true})
		require.NoError(t, err)
		require.Len(t, got, 1)
		require.Equal(t, []any{[]string{"p"}, "staff:7", by}, []any{got[0].Token.Resources, got[0].Token.CreatedBy, got[0].Token.RevokedBy})
	}
	listed := o.list(t)
	for _, id := range []string{token.ID, created.ID} {
		i := slices.IndexFunc(listed, func(t tokenauth.Token) bool { return t.ID == id })
		require.GreaterOrEqual(t, i, 0)
		require.False(t, listed[i].RevokedAt.IsZero())
	}
}

// byID compares tokens by ID, because some tokens have the same time of creation.
func byID(a, b tokenauth.Token) int { return cmp.Compare(a.ID, b.ID) }
