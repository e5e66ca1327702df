package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-tokenauth/tokenauth"
)

type user struct {
	ID    int64  `json:"id"`
	Name  string `json:"name"`
	Staff bool   `json:"-"`
}

// tokenID is what tokenauth calls the user.
func (u *user) tokenID() string { return strconv.FormatInt(u.ID, 10) }

type users struct{ db *sql.DB }

// byID finds the user of a token. It must tell one who is not there (401) from a
// database that is not (503).
func (u users) byID(ctx context.Context, id string) (*user, error) {
	number, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return nil, tokenauth.ErrNoUser
	}
	var found user
	err = u.db.QueryRowContext(ctx, "SELECT id, name, staff FROM users WHERE id = ? AND active", number).
		Scan(&found.ID, &found.Name, &found.Staff)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, tokenauth.ErrNoUser
	}
	if err != nil {
		return nil, fmt.Errorf("find user: %w", err)
	}
	return &found, nil
}

// find returns the ID of the user whom staff means: a name, or an ID. It finds those too
// who are switched off, and have tokens still.
func (u users) find(r *http.Request, typed string) (string, error) {
	var id int64
	err := u.db.QueryRowContext(r.Context(), "SELECT id FROM users WHERE name = ? OR id = ? ORDER BY name = ? DESC", typed, typed, typed).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("find user: %w", err)
	}
	return strconv.FormatInt(id, 10), nil
}

// checkPassword returns the ID of the user who has this name and password, or "".
// A user who is not there costs the same work as one who is.
func (u users) checkPassword(ctx context.Context, name, password string) (string, error) {
	var id int64
	stored := nobodysPassword()
	err := u.db.QueryRowContext(ctx, "SELECT id, password FROM users WHERE name = ? AND active", name).Scan(&id, &stored)
	known := err == nil
	if !known && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("find user: %w", err)
	}
	matches, err := passwordMatches(stored, password)
	if err != nil || !matches || !known {
		return "", err
	}
	return strconv.FormatInt(id, 10), nil
}

// save adds a user, or changes the one of that name.
func (u users) save(ctx context.Context, name, passwordHash string, staff bool) (*user, error) {
	saved := user{Name: name, Staff: staff}
	err := u.db.QueryRowContext(ctx, `INSERT INTO users (name, password, staff) VALUES (?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET password = excluded.password, staff = excluded.staff RETURNING id`,
		name, passwordHash, staff).Scan(&saved.ID)
	if err != nil {
		return nil, fmt.Errorf("save user: %w", err)
	}
	return &saved, nil
}

const demoName = "ada"

// seedDemo makes the demonstration user, or gives her a new password: the one
// before is not known, since only its hash is stored. Her sessions end with it.
func seedDemo(ctx context.Context, u users, s sessions) (password string, err error) {
	password = strings.ToLower(rand.Text()[:16])
	hash, err := hashPassword(password)
	if err != nil {
		return "", err
	}
	ada, err := u.save(ctx, demoName, hash, true)
	if err != nil {
		return "", err
	}
	_, err = s.manager.RevokeAll(ctx, ada.tokenID())
	return password, err
}
