// Package generated has the code that ent and sqlc generate for the tests of package handles. The
// generators read ent/schema, sqlc.yaml and projects.sql. Run them with:
//
//	go generate ./handles/generated
//
// The tests do not need three of the packages that ent generates. They are removed.
package generated

//go:generate go run entgo.io/ent/cmd/ent@v0.14.5 generate --feature sql/execquery ./ent/schema
//go:generate rm -r ent/enttest ent/hook ent/runtime
//go:generate go run github.com/sqlc-dev/sqlc/cmd/sqlc@v1.31.1 generate
