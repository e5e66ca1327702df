package tokenauth

import (
	"context"
	"errors"
	"time"
)

// What a [Store] answers when it did answer. Any other error means that it did
// not: a caller must not take it for a "no".
var (
	// ErrNotFound means that there is no such token, or that it is another user's.
	ErrNotFound = errors.New("tokenauth: no such token")
	// ErrNameTaken means that another live token of the user has the name.
	ErrNameTaken = errors.New("tokenauth: name already taken")
	// ErrKeyTaken means that another token has the ID, or the digest as its
	// current or its retired one.
	ErrKeyTaken = errors.New("tokenauth: key already taken")
	// ErrSlotTaken means that another live token of the user has the slot.
	ErrSlotTaken = errors.New("tokenauth: slot already taken")
	// ErrConflict means that the token is no longer in the state that the change asks for.
	ErrConflict = errors.New("tokenauth: token was changed meanwhile or has expired")
)

// A Store keeps the tokens of all users under the digests of their keys.
// Services use a [Manager], which calls it; this interface is for those who
// implement one. Package storetest tests an implementation against all that is
// said here.
//
// Every method but Prune is one atomic operation. All must be safe for concurrent use,
// must honour their context, and must never read a clock: all times are given, and the
// CreatedAt of a record is never zero. Strings are compared byte by byte. Times are kept to the microsecond, rounded down. A
// change takes a user ID and a token ID, so that one user's call can't reach
// another's token.
//
// A Store judges neither expiry nor scopes for a request; the Manager does, and
// compares digests again. It returns the errors listed at each method, as they
// are or wrapped. Any other error means that it could not answer, or that the
// outcome of a change is unknown; every change is safe to repeat.
type Store interface {
	// Create adds records, all or none. For each it checks in this order, among
	// the records given too: the same ID with the same current digest is there
	// (that record is done, and left as it is), ErrKeyTaken, ErrNameTaken,
	// ErrSlotTaken. It keeps copies.
	Create(ctx context.Context, records ...Record) error

	// Find returns the record whose current or retired digest is d, expired and
	// revoked ones too, or ErrNotFound. The record is shared: neither side may
	// change it.
	Find(ctx context.Context, d Digest) (*Record, error)

	// List returns copies of the records that q selects, ordered by CreatedAt,
	// then ID. None is no error.
	List(ctx context.Context, q Query) ([]Record, error)

	// Update changes the fields that p gives of a live token and no others.
	// ErrNotFound (also if it is revoked), ErrConflict if it is expired at the
	// time at, ErrNameTaken.
	Update(ctx context.Context, userID, id string, p Patch, at time.Time) error

	// Rotate replaces the key of a live token: the current digest becomes the
	// retired one, until r.GraceUntil; r.Digest and r.Hint become current; the
	// generation grows by one. It is done, without another change, if r.Digest
	// is already current. ErrNotFound (also if it is revoked), ErrConflict if
	// its generation is not r.Replaces or it is expired at the time at,
	// ErrKeyTaken.
	Rotate(ctx context.Context, userID, id string, r Rotation, at time.Time) error

	// Revoke sets RevokedAt and frees name and slot. It is done, without another
	// change, if the token is revoked already. ErrNotFound.
	Revoke(ctx context.Context, userID, id string, at time.Time) error

	// RevokeExpired does what Revoke does if the token is expired at the time
	// at, and is ErrConflict if it is live and not expired.
	RevokeExpired(ctx context.Context, userID, id string, at time.Time) error

	// RevokeAll revokes all live tokens of a user and returns their number.
	RevokeAll(ctx context.Context, userID string, at time.Time) (int, error)

	// Touch records when tokens were last used. LastUsedAt never moves
	// backwards, and is never set before CreatedAt: an earlier use counts as one
	// at CreatedAt. Unknown IDs are no error.
	Touch(ctx context.Context, uses ...Use) error

	// Prune deletes at most limit records that expired or were revoked before
	// the given time, maybe one after the other, and returns their number, also
	// beside an error. It keeps imported ones (with an Origin): they mark what must
	// not be imported again.
	Prune(ctx context.Context, before time.Time, limit int) (int, error)
}

// A Record is what a [Store] keeps of a token. What a request must not see
// stands beside the Token, never in it.
type Record struct {
	Token   Token
	Digest  Digest      // of the current key
	Retired *RetiredKey // the key that the last rotation replaced; nil: none
	Slot    int         // of a user's limited number; 0: none
}

// A RetiredKey is the key that a rotation replaced.
type RetiredKey struct {
	Digest Digest
	Until  time.Time // from this instant on it is no longer accepted; never zero
}

// A Query selects records or tokens of one user. Without a UserID and without
// AllUsers it is an error, so that a forgotten ID never lists everybody's.
type Query struct {
	UserID         string
	AllUsers       bool     // of every user; UserID must be empty
	IDs            []string // only these; nil: any; empty: none
	IncludeRevoked bool     // revoked ones too
	After          Cursor   // only those behind this place
	Limit          int      // at most so many; 0: all
}

func (q *Query) check() error {
	if q.AllUsers == (q.UserID != "") {
		return errQuery
	}
	return nil
}

// errQuery is a programming mistake, so it needs no sentinel.
var errQuery = errors.New("tokenauth: query needs either a user ID or AllUsers")

// A Cursor is a place in the order of a list. The zero Cursor is its start.
// The place stays where it is when its token is gone.
type Cursor struct {
	CreatedAt time.Time
	ID        string
}

// A Patch holds the new values of the fields of a token that an update
// changes. A nil field is left alone.
type Patch struct {
	Name      *string
	Scopes    *[]string
	ExpiresAt *time.Time // a zero time: never
}

// A Rotation replaces a token's key.
type Rotation struct {
	Replaces   int // the generation of the key to retire
	Digest     Digest
	Hint       string
	GraceUntil time.Time // never zero
}

// A Use is one use of a token.
type Use struct {
	ID string
	At time.Time
}
