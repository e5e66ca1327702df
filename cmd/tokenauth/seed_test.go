package main

import (
	"context"
	"errors"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
)

// issueBy creates a token on behalf of an actor, as a service does. The program cannot, because its
// actor is always cli.
func issueBy(dsn, table, actor string, spec tokenauth.Spec) error {
	a := &app{dsn: dsn, prefix: "acme", table: table}
	defer a.close()
	ctx := tokenauth.ContextWithActor(context.Background(), actor)
	m, err := a.manager(ctx)
	if err != nil {
		return err
	}
	key, _, err := m.Issue(ctx, spec)
	if err == nil {
		leak.Default.Secret(key.Reveal())
	}
	return err
}

// IDs of the tokens that are in the database of docs/command-line.md before its first command.
const (
	leakedID = "LH4VPM77L6S5QMQHULPKPMXM7N"
	childID  = "TQAVZOZWRRTHS6J7KMN3I26GMQ"
)

// createLeaked creates a database with a token of user 44 that created a token, which created one
// more.
func createLeaked(dsn string) error {
	a := &app{dsn: dsn}
	defer a.close()
	store, err := a.schema(context.Background())
	if err != nil {
		return err
	}
	return errors.Join(
		store.CreateSchema(context.Background()),
		issueBy(dsn, "", "user:44", tokenauth.Spec{ID: leakedID, UserID: "44", Name: "deploy", Scopes: []string{"tokens:manage"}}),
		issueBy(dsn, "", "token:"+leakedID, tokenauth.Spec{ID: childID, UserID: "44", Name: "build 1", Scopes: []string{"tokens:manage"}}),
		issueBy(dsn, "", "token:"+childID, tokenauth.Spec{UserID: "44", Name: "build 2"}),
	)
}
