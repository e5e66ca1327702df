// Program calls the API of package tokenapi with a client that oapi-codegen generates. The test
// adds the generated file to this package when it compiles the program.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"time"
)

func main() {
	if err := run(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// with returns a client whose requests have the given header.
func with(server, name, value string) (*ClientWithResponses, error) {
	return NewClientWithResponses(server, WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		r.Header.Set(name, value)
		return nil
	}))
}

func run(ctx context.Context, server string) error {
	session, err := with(server, "X-User", "ada")
	if err != nil {
		return err
	}
	id, key, err := manage(ctx, session)
	if err != nil {
		return fmt.Errorf("by session: %w", err)
	}
	if key, err = rotateSelf(ctx, server, key); err != nil {
		return fmt.Errorf("by key: %w", err)
	}
	return logOut(ctx, session, server, id, key)
}

// wants returns an error unless a response has the wanted status, and err is nil.
func wants(what string, err error, got interface{ StatusCode() int }, status int) error {
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", what, err)
	case got.StatusCode() != status:
		return fmt.Errorf("%s: status %d, want %d", what, got.StatusCode(), status)
	}
	return nil
}

// manage creates, lists, reads, updates and rotates a token. It returns the token's ID and key.
func manage(ctx context.Context, c *ClientWithResponses) (id, key string, err error) {
	end := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	made, err := c.CreateTokenWithResponse(ctx, Create{Name: "ci", Scopes: &[]string{"tokens:self"}, Resources: &[]string{"p2", "p1"}, ExpiresAt: &end})
	if err != nil || made.JSON201 == nil {
		return "", "", fmt.Errorf("create: %w, %+v", err, made)
	}
	id = made.JSON201.Id
	if want := []string{"p1", "p2"}; !reflect.DeepEqual(*made.JSON201.Resources, want) || *made.JSON201.CreatedBy != "user:ada" {
		return "", "", fmt.Errorf("created for %v by %v", *made.JSON201.Resources, *made.JSON201.CreatedBy)
	}
	bad, err := c.CreateTokenWithResponse(ctx, Create{Name: "bad", Resources: &[]string{}})
	if err := wants("create without a resource", err, bad, 400); err != nil {
		return "", "", err
	}
	by, before := "user:ada", end.Add(time.Second)
	list, err := c.ListTokensWithResponse(ctx, &ListTokensParams{CreatedBy: &by, ExpiresBefore: &before})
	if err != nil || list.JSON200 == nil || len(list.JSON200.Tokens) != 1 || list.JSON200.Next != nil {
		return "", "", fmt.Errorf("list: %w, %+v", err, list)
	}
	list, err = c.ListTokensWithResponse(ctx, &ListTokensParams{ExpiresBefore: &end})
	if err != nil || list.JSON200 == nil || len(list.JSON200.Tokens) != 0 {
		return "", "", fmt.Errorf("list: %w, %+v", err, list)
	}
	read, err := c.ReadTokenWithResponse(ctx, id, nil)
	if err != nil || read.JSON200 == nil || read.JSON200.Name != "ci" || !read.JSON200.ExpiresAt.Equal(end) {
		return "", "", fmt.Errorf("read: %w, %+v", err, read)
	}
	name := "renamed"
	updated, err := c.UpdateTokenWithResponse(ctx, id, Update{Name: &name, Resources: &[]string{"p1"}})
	if err != nil || updated.JSON200 == nil || updated.JSON200.Name != name || !reflect.DeepEqual(*updated.JSON200.Resources, []string{"p1"}) {
		return "", "", fmt.Errorf("update: %w, %+v", err, updated)
	}
	seconds := 60
	rotated, err := c.RotateTokenWithResponse(ctx, id, Rotate{Generation: &updated.JSON200.Generation, GraceSeconds: &seconds})
	if err != nil || rotated.JSON200 == nil || rotated.JSON200.PreviousKeyUntil == nil {
		return "", "", fmt.Errorf("rotate: %w, %+v", err, rotated)
	}
	return id, rotated.JSON200.Key, nil
}

// rotateSelf rotates the token of the key and returns its new key.
func rotateSelf(ctx context.Context, server, key string) (string, error) {
	c, err := with(server, "Authorization", "Bearer "+key)
	if err != nil {
		return "", err
	}
	self, err := c.ReadSelfWithResponse(ctx)
	if err != nil || self.JSON200 == nil {
		return "", fmt.Errorf("read: %w, %+v", err, self)
	}
	seconds := 60
	stale, err := c.RotateSelfWithResponse(ctx, RotateSelf{Generation: self.JSON200.Generation - 1})
	if err := wants("rotate from an old generation", err, stale, 409); err != nil {
		return "", err
	}
	rotated, err := c.RotateSelfWithResponse(ctx, RotateSelf{Generation: self.JSON200.Generation, GraceSeconds: &seconds})
	if err != nil || rotated.JSON200 == nil || rotated.JSON200.Generation != self.JSON200.Generation+1 {
		return "", fmt.Errorf("rotate: %w, %+v", err, rotated)
	}
	return rotated.JSON200.Key, nil
}

// logOut revokes the token of the key, which must not manage tokens.
func logOut(ctx context.Context, session *ClientWithResponses, server, id, key string) error {
	c, err := with(server, "Authorization", "Bearer "+key)
	if err != nil {
		return err
	}
	all, err := c.LogoutAllWithResponse(ctx)
	if err := wants("log out everywhere by a restricted token", err, all, 403); err != nil {
		return err
	}
	out, err := c.LogoutWithResponse(ctx)
	if err := wants("log out", err, out, 204); err != nil {
		return err
	}
	self, err := c.ReadSelfWithResponse(ctx)
	if err := wants("read after the logout", err, self, 401); err != nil {
		return err
	}
	read, err := session.ReadTokenWithResponse(ctx, id, nil)
	if err != nil || read.JSON200 == nil || read.JSON200.RevokedBy == nil || *read.JSON200.RevokedBy != "token:"+id {
		return fmt.Errorf("read the revoked token: %w, %+v", err, read)
	}
	return nil
}
