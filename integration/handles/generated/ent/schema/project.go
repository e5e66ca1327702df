// Package schema has the schema from which ent generates its code.
package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema/field"
)

// A Project is a row of the service in the table projects.
type Project struct{ ent.Schema }

// Fields returns the columns of the table.
func (Project) Fields() []ent.Field { return []ent.Field{field.String("id")} }
