package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"log"
	randv2 "math/rand/v2"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// users are IDs that a service may give its users.
var users = []string{
	"42", "org:7", "anna@example.com", "ANNA@example.com", "Zoë 用户", `o'brien"; --\`, strings.Repeat("long-", 51), // 255 bytes
}

// suffixes make names that are hard to store, to quote or to compare.
var suffixes = []string{
	"", " 🧑‍💻 desk", " o'brien's", ` "quoted" \ % _`, " <b>&amp;</b>", "  two  spaces", " Ünïcode", " " + strings.Repeat("界", 30),
}

const century = 100 * 365 * 24 * time.Hour

// A kind describes tokens. The upgrade test reads from a token's name whether its previous key is
// still valid.
type kind struct {
	name     string
	imported bool
	scopes   []string
	ttl      time.Duration
	slotless bool
	used     bool
	graces   []time.Duration // grace of each rotation
	revoked  bool
	reissued bool // whether another token has the same name
}

var kinds = []kind{
	{name: "plain"},
	{name: "scopes", scopes: []string{"write", "read", "https://example.com/a:b?c=d&e='f'"}},
	{name: "expires late", ttl: century},
	{name: "expired", ttl: time.Hour},
	{name: "without slot", slotless: true},
	{name: "used", used: true},
	{name: "revoked", revoked: true, reissued: true},
	{name: "in grace", graces: []time.Duration{century}},
	{name: "in grace, used", graces: []time.Duration{century, century}, used: true},
	{name: "in grace, revoked", graces: []time.Duration{century}, revoked: true},
	{name: "past grace", graces: []time.Duration{time.Hour}, ttl: century},
	{name: "imported", imported: true, scopes: []string{"read"}},
	{name: "imported, expired", imported: true, ttl: time.Hour},
	{name: "imported, revoked", imported: true, used: true, revoked: true},
	{name: "in grace, imported", imported: true, graces: []time.Duration{century}},
}

// A filler issues tokens. Its clock does not depend on the time of day.
type filler struct {
	limited, unlimited *tokenauth.Manager // only the tokens of limited have slots
	clock              time.Time
}

// fillTable creates the table of tokens, and tokens of each kind. Some tokens differ only by the
// case of their names.
func fillTable(ctx context.Context, db *sql.DB, store *tokenauth.SQLStore) error {
	if err := store.CreateSchema(ctx); err != nil {
		if !*own {
			return err
		}
		// On SQLite, CreateSchema fails here, because an index cannot have the name of an existing
		// table. CreateSchema has then created the table of tokens and the first index. The library
		// works without the other indexes.
		log.Print("CreateSchema: ", err)
	}
	if *own {
		if err := referenceUsers(ctx, db); err != nil {
			return err
		}
	}
	f := &filler{clock: time.Date(2026, 11, 1, 8, 0, 0, 123_456_000, time.UTC)}
	options := tokenauth.Options{Legacy: []tokenauth.LegacyFormat{drf}, Now: func() time.Time { return f.clock }}
	f.limited = tokenauth.New(store, prefix, &options)
	options.MaxPerUser = -1
	f.unlimited = tokenauth.New(store, prefix, &options)

	for i, user := range users {
		for j, k := range kinds {
			if *own && i > 0 || len(user) > 100 && j > 3 { // keep the dumps small
				continue
			}
			name := k.name + suffixes[(i+j)%len(suffixes)]
			names := []string{name}
			if (i+j)%4 == 0 {
				names = append(names, strings.ToUpper(name))
			}
			if k.reissued {
				names = append(names, name)
			}
			for _, name := range names {
				if err := f.make(ctx, k, user, name); err != nil {
					return fmt.Errorf("%s, %s: %w", user, name, err)
				}
			}
		}
	}
	return nil
}

// make creates a token of the given kind.
func (f *filler) make(ctx context.Context, k kind, user, name string) error {
	f.clock = f.clock.Add(time.Minute)
	key, t, err := f.issue(ctx, k, user, name)
	if err != nil {
		return err
	}
	if k.used {
		f.clock = f.clock.Add(time.Minute)
		if _, err := f.limited.Authenticate(ctx, key); err != nil {
			return err
		}
		if err := f.limited.Flush(ctx); err != nil {
			return err
		}
	}
	for i, grace := range k.graces {
		seed(t.CreatedAt, t.Generation+i+1)
		if _, _, err := f.limited.Rotate(ctx, user, t.ID, grace); err != nil {
			return err
		}
	}
	if k.revoked {
		return f.limited.Revoke(ctx, user, t.ID)
	}
	return nil
}

func (f *filler) issue(ctx context.Context, k kind, user, name string) (key string, t tokenauth.Token, err error) {
	var expiresAt time.Time
	if k.ttl > 0 {
		expiresAt = f.clock.Add(k.ttl)
	}
	if k.imported {
		key = legacyKey(f.clock)
		all, err := f.limited.Import(ctx, tokenauth.ImportSpec{
			UserID: user, Name: name, Scopes: k.scopes, Origin: drf.Origin, Digest: tokenauth.DigestOf(key), Hint: key[len(key)-4:],
			CreatedAt: f.clock, ExpiresAt: expiresAt,
		})
		if err != nil {
			return "", t, err
		}
		return key, all[0], nil
	}
	m := f.limited
	if k.slotless {
		m = f.unlimited
	}
	seed(f.clock, 1)
	secret, t, err := m.Issue(ctx, tokenauth.Spec{UserID: user, Name: name, Scopes: k.scopes, ExpiresAt: expiresAt})
	return secret.Reveal(), t, err
}

func label(createdAt time.Time, generation int) []byte {
	return fmt.Append(nil, createdAt.UnixMicro(), "/", generation)
}

// seed makes package crypto/rand return bytes that depend only on its arguments. The upgrade test
// derives keys from the same bytes, because no file may contain keys.
func seed(createdAt time.Time, generation int) {
	rand.Reader = randv2.NewChaCha8(sha256.Sum256(label(createdAt, generation)))
}

// legacyKey returns the key of an imported token.
func legacyKey(createdAt time.Time) string {
	sum := sha256.Sum256(label(createdAt, 0))
	return hex.EncodeToString(sum[:20])
}
