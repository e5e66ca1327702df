// Package client tests the API with a client that is generated from its OpenAPI document, and with
// the script of docs/rotate-own-key.md.
package client

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/apitest"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/load"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenapi"
)

func TestMain(m *testing.M) { leak.Main(m) }

const generator = "github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2"

// A client that oapi-codegen generates from the OpenAPI document, as it is, must be able to use the
// API. The client is generated in a temporary folder, so that it is never older than the document.
func TestGeneratedClientUsesAPI(t *testing.T) {
	if !load.Long() {
		t.Skip("compiles oapi-codegen")
	}
	folder := t.TempDir()
	command(t, "go", "run", generator, "-generate", "types,client", "-package", "main", "-o", folder+"/client.gen.go", "../../tokenapi/openapi.json")
	file := must.Get(filepath.Abs("testdata/program/client.gen.go")) // where the compiler finds the generated file
	overlay := must.Get(json.Marshal(map[string]any{"Replace": map[string]string{file: folder + "/client.gen.go"}}))
	require.NoError(t, os.WriteFile(folder+"/overlay.json", overlay, 0o600))
	command(t, "go", "build", "-overlay", folder+"/overlay.json", "-o", folder+"/program", "./testdata/program")

	tokens := fixture.NewManager(tokenauth.NewMemoryStore(), &tokenauth.Options{
		Resources: func(context.Context, string) ([]tokenauth.Resource, error) {
			return []tokenauth.Resource{{ID: "p1"}, {ID: "p2"}}, nil
		},
	})
	api := must.Get(tokenapi.New(apitest.NewAuth(tokens, nil), apitest.SignedIn, &tokenapi.Options{SelfScope: "tokens:self"}))
	server := fixture.NewServer(t, http.StripPrefix("/api", api))
	command(t, folder+"/program", "http://"+server+"/api")
}

// command runs a command, which must succeed.
func command(t *testing.T, name string, args ...string) {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	require.NoError(t, err, "%s", output)
}
