package main

import (
	"context"
	"database/sql"
	"fmt"
)

// createOwnTables creates tables of the service. On PostgreSQL and SQLite, the table sess_created
// has the name that the library gives an index of a table sess.
func createOwnTables(ctx context.Context, db *sql.DB) error {
	userID := map[string]string{"sqlite": "TEXT", "pgx": `TEXT COLLATE "C"`, "mysql": "VARBINARY(255)"}[*driver]
	statements := []string{
		"CREATE TABLE IF NOT EXISTS sess_created (day INTEGER NOT NULL PRIMARY KEY, sessions INTEGER NOT NULL)",
		"CREATE TABLE IF NOT EXISTS tokens_user (id " + userID + " NOT NULL PRIMARY KEY)",
		"DELETE FROM sess_created",
		"INSERT INTO sess_created VALUES (20261124, 17), (20261125, 4)",
	}
	for _, statement := range statements {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	known := []string{users[0]}
	for i := range 8 { // for the load of the upgrade test
		known = append(known, fmt.Sprint("load-", i))
	}
	for _, id := range known {
		insert := fmt.Sprintf("INSERT INTO tokens_user SELECT '%[1]s' WHERE NOT EXISTS (SELECT 1 FROM tokens_user WHERE id = '%[1]s')", id)
		if _, err := db.ExecContext(ctx, insert); err != nil {
			return err
		}
	}
	return nil
}

// referenceUsers makes user_id reference the service's table of users. SQLite cannot add a
// reference to an existing table.
func referenceUsers(ctx context.Context, db *sql.DB) error {
	if *driver == "sqlite" {
		return nil
	}
	_, err := db.ExecContext(ctx, "ALTER TABLE "+*table+" ADD FOREIGN KEY (user_id) REFERENCES tokens_user (id) ON DELETE CASCADE")
	return err
}
