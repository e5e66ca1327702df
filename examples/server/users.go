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

// tokenID returns the user ID that tokenauth stores.
func (u *user) tokenID() string { return strconv.FormatInt(u.ID, 10) }

type users struct{ db *sql.DB }

// byID finds the user of a token. If the user does not exist or is switched off, byID returns
// ErrNoUser, and the service responds 401. After any other error, the service responds 503.
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

// find returns the ID of the user with this name, or ErrNoUser. It also finds users who are
// switched off, because they may still have tokens.
func (u users) find(r *http.Request, name string) (string, error) {
	var id int64
	err := u.db.QueryRowContext(r.Context(), "SELECT id FROM users WHERE name = ?", name).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", tokenauth.ErrNoUser
	}
	if err != nil {
		return "", fmt.Errorf("find user: %w", err)
	}
	return strconv.FormatInt(id, 10), nil
}

// checkPassword returns the ID of the user with this name and password, and the stamp of the
// password. If there is no such user, the ID is empty. checkPassword always hashes the password, so
// that the response time does not reveal which users exist.
func (u users) checkPassword(ctx context.Context, name, password string) (userID, stamp string, err error) {
	var id int64
	stored := nobodysPassword()
	err = u.db.QueryRowContext(ctx, "SELECT id, password FROM users WHERE name = ? AND active", name).Scan(&id, &stored)
	known := err == nil
	if !known && !errors.Is(err, sql.ErrNoRows) {
		return "", "", fmt.Errorf("find user: %w", err)
	}
	matches, err := passwordMatches(stored, password)
	if err != nil || !matches || !known {
		return "", "", err
	}
	return strconv.FormatInt(id, 10), stampOf(stored), nil
}

// stamp returns the stamp of the current password of a user, or ErrNoUser.
func (u users) stamp(ctx context.Context, id string) (string, error) {
	stored, err := u.password(ctx, id)
	return stampOf(stored), err
}

// password returns the stored password of a user, or ErrNoUser.
func (u users) password(ctx context.Context, id string) (stored string, err error) {
	err = u.db.QueryRowContext(ctx, "SELECT password FROM users WHERE id = ? AND active", id).Scan(&stored)
	if errors.Is(err, sql.ErrNoRows) {
		return "", tokenauth.ErrNoUser
	}
	if err != nil {
		return "", fmt.Errorf("find user: %w", err)
	}
	return stored, nil
}

// changePassword replaces the stored password of a user. It reports false if the stored password is
// no longer the given one.
func (u users) changePassword(ctx context.Context, id, from, to string) (changed bool, err error) {
	result, err := u.db.ExecContext(ctx, "UPDATE users SET password = ? WHERE id = ? AND password = ? AND active", to, id, from)
	if err != nil {
		return false, fmt.Errorf("change password: %w", err)
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// save adds a user or changes the user with that name.
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

// seedDemo creates the demo user and returns her password. If she exists, she gets a new password,
// because only the hash of the previous one is stored.
func (s service) seedDemo(ctx context.Context) (password string, err error) {
	password = strings.ToLower(rand.Text()[:16])
	hash, err := hashPassword(password)
	if err != nil {
		return "", err
	}
	ada, err := s.users.save(ctx, demoName, hash, true)
	if err != nil {
		return "", err
	}
	return password, s.revokeAll(ctx, ada.tokenID())
}
