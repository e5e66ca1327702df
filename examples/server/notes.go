package main

import (
	"context"
	"database/sql"
	"fmt"
)

type note struct {
	ID   int64  `json:"id"`
	Text string `json:"text"`
}

type notes struct{ db *sql.DB }

const maxNotes = 100 // per response

// list returns the newest notes of a user, newest first.
func (n notes) list(ctx context.Context, userID int64) ([]note, error) {
	rows, err := n.db.QueryContext(ctx, "SELECT id, text FROM notes WHERE user_id = ? ORDER BY id DESC LIMIT ?", userID, maxNotes)
	if err != nil {
		return nil, fmt.Errorf("list notes: %w", err)
	}
	defer func() { _ = rows.Close() }()
	list := []note{} // not nil, so that JSON has an empty list
	for rows.Next() {
		var one note
		if err := rows.Scan(&one.ID, &one.Text); err != nil {
			return nil, fmt.Errorf("list notes: %w", err)
		}
		list = append(list, one)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list notes: %w", err)
	}
	return list, nil
}

func (n notes) add(ctx context.Context, userID int64, text string) (note, error) {
	added := note{Text: text}
	err := n.db.QueryRowContext(ctx, "INSERT INTO notes (user_id, text) VALUES (?, ?) RETURNING id", userID, text).Scan(&added.ID)
	if err != nil {
		return note{}, fmt.Errorf("add note: %w", err)
	}
	return added, nil
}
