package tokenauth

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"time"

	"github.com/go-tokenauth/tokenauth/internal/syntax"
)

// A LegacyFormat recognizes the keys of another system, so that the keys of imported tokens keep
// working.
type LegacyFormat struct {
	// Origin is the [ImportSpec].Origin of the tokens whose keys have this format.
	Origin string

	// Canonical returns the text whose SHA-256 hash is the imported digest. It returns false if
	// presented is not a key of this format. The Manager calls Canonical before it queries the
	// store, for each presented key that does not have the Manager's own form. The argument is
	// visible ASCII without a comma. If the key came through an Authenticator, the argument has at
	// most 1 KiB.
	Canonical func(presented string) (text string, ok bool)
}

// An ImportSpec describes a live token of another system. Its key keeps working if the [Manager]
// has a [LegacyFormat] with the same Origin.
type ImportSpec struct {
	UserID string   // same rules as for Spec.UserID
	Name   string   // same rules as for Spec.Name
	Scopes []string // same rules as for Spec.Scopes

	Origin string // name of the other system; 1 to 64 letters, digits, - and _
	Digest Digest // SHA-256 of the canonical text of the key
	Hint   string // at most 4 characters from the end of the key; may be empty

	CreatedAt  time.Time // if zero, the time of the import
	ExpiresAt  time.Time // if zero, the token never expires; DefaultTTL and MaxTTL do not apply
	LastUsedAt time.Time // if zero, the token was never used
}

// ID returns the ID of the imported token. The ID depends only on Origin and Digest, and does not
// reveal the digest.
func (s *ImportSpec) ID() string {
	sum := sha256.Sum256(append([]byte(s.Origin+"\x00"), s.Digest[:]...))
	return base32.StdEncoding.EncodeToString(sum[:])[:26]
}

// Import adds tokens of another system and returns them as they are stored, in the order of specs.
// It adds all of the tokens or none.
//
// The ID of an imported token depends only on its origin and digest. If a token was imported
// before for the same user, a second import of the token changes nothing and returns no error, even
// if the token was renamed or revoked.
//
// Import returns [ErrInvalidSpec], [ErrNameTaken] or [ErrKeyTaken]. ErrKeyTaken means that the key
// is imported for another user, or was rotated after the first import. If several specs are given,
// the error is a [*RecordError], which has the position in specs. If the table of tokens has a
// foreign key and the user does not exist, the error wraps both ErrInvalidSpec and
// [ErrUserUnknown]. In this case alone, the tokens before the position were imported. In a
// transaction, none was imported, and the error has no position.
func (m *Manager) Import(ctx context.Context, specs ...ImportSpec) ([]Token, error) {
	now := m.options.Now()
	records := make([]Record, len(specs))
	tokens := make([]Token, len(specs))
	ids := make([]string, len(specs))
	position := map[string]int{} // by token ID
	for i := range specs {
		r, err := m.importRecord(&specs[i], ActorFrom(ctx), now)
		if _, ok := position[r.Token.ID]; ok && err == nil {
			err = &SpecError{"digest", "is given twice"}
		}
		if err != nil {
			return nil, recordError(len(specs), i, err)
		}
		records[i], tokens[i], ids[i], position[r.Token.ID] = r, r.Token.clone(), r.Token.ID, i
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// This read comes first, so that a failed read does not hide a successful import.
	imported, err := m.store.List(ctx, Query{AllUsers: true, IDs: ids, IncludeRevoked: true})
	if err != nil {
		return nil, err
	}
	if err := m.storeImported(ctx, records); err != nil {
		return nil, err
	}
	for i := range imported {
		tokens[position[imported[i].Token.ID]] = imported[i].token()
	}
	return tokens, nil
}

// storeImported creates records. A foreign key does not tell which record violates it. Therefore,
// if a user is unknown, storeImported creates the records one at a time up to that user's record.
func (m *Manager) storeImported(ctx context.Context, records []Record) error {
	err := m.store.Create(ctx, records...)
	m.changed(ctx, Event{Kind: EventImported, Count: len(records)}, err)
	if len(records) == 1 || !errors.Is(err, ErrUserUnknown) || m.inTransaction { // PostgreSQL refuses further statements of a transaction
		return unknownUser(err)
	}
	for i := range records {
		if err := m.storeImported(ctx, records[i:i+1]); err != nil {
			return recordError(len(records), i, err)
		}
	}
	return nil
}

func (m *Manager) importRecord(spec *ImportSpec, by string, now time.Time) (Record, error) {
	t, err := m.newToken(spec.UserID, spec.Name, spec.Scopes)
	err = cmp.Or(m.CheckUserID(spec.UserID), err)
	switch {
	case err != nil:
		return Record{}, err
	case !syntax.IsWord(spec.Origin):
		return Record{}, &SpecError{"origin", "must be 1 to 64 letters, digits, - and _"}
	case spec.Digest == (Digest{}):
		return Record{}, &SpecError{"digest", "must be set"}
	case spec.Hint != "" && (len(spec.Hint) > hintLength || !syntax.IsWord(spec.Hint)):
		return Record{}, &SpecError{"hint", "must be at most 4 letters, digits, - and _"}
	}
	t.CreatedBy = by
	t.ID, t.Origin, t.Hint = spec.ID(), spec.Origin, spec.Hint
	t.CreatedAt, t.ExpiresAt, t.LastUsedAt = spec.CreatedAt, spec.ExpiresAt, spec.LastUsedAt
	if t.CreatedAt.IsZero() {
		t.CreatedAt = now
	}
	for field, at := range map[string]*time.Time{"created_at": &t.CreatedAt, "expires_at": &t.ExpiresAt, "last_used_at": &t.LastUsedAt} {
		if !at.IsZero() && at.Before(earliestTime) || at.After(latestTime) {
			return Record{}, &SpecError{field, "must be within the years 1 to 9999"}
		}
		*at = micros(*at)
	}
	return Record{Token: t, Digest: spec.Digest}, nil
}
