package tokenauth

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// Sentinel errors of a [Store]. Any other error from a Store means that the call
// failed. A caller must not treat such an error as ErrNotFound.
var (
	// ErrNotFound means that the token does not exist or belongs to another user.
	ErrNotFound = errors.New("tokenauth: no such token")
	// ErrNameTaken means that another live token of the user has the name. A token is
	// live until it is revoked, even if it has expired.
	ErrNameTaken = errors.New("tokenauth: name already taken")
	// ErrKeyTaken means that another token has the same ID, or has the new digest as
	// its current or retired digest.
	ErrKeyTaken = errors.New("tokenauth: key already taken")
	// ErrSlotTaken means that another live token of the user has the slot.
	ErrSlotTaken = errors.New("tokenauth: slot already taken")
	// ErrConflict means that the token is not in the state that the change requires.
	// Another call may have changed the token, or the token may have expired.
	ErrConflict = errors.New("tokenauth: token was changed meanwhile or has expired")
	// ErrUserUnknown means that the table of tokens has a foreign key that a new record violates.
	// Most likely, the user of the record does not exist.
	ErrUserUnknown = errors.New("tokenauth: user unknown to the database")
)

// A RecordError says which of several records [Store.Create] could not add, and why. Match the
// reason with [errors.Is].
type RecordError struct {
	Index int // position of the record in the arguments, from 0
	Err   error
}

// Error returns the position and the reason.
func (e *RecordError) Error() string { return fmt.Sprintf("%s (index %d)", e.Err, e.Index) }

// Unwrap returns Err.
func (e *RecordError) Unwrap() error { return e.Err }

// recordError returns the error for one of several items, or err if there is only one item.
func recordError(items, index int, err error) error {
	if items == 1 {
		return err
	}
	return &RecordError{index, err}
}

// A Store holds the tokens of all users, and finds a token by the digest of its key.
// Services call a [Manager], which calls the Store. This comment is the contract for
// implementations of Store. Package storetest tests an implementation against the contract.
// [Record] lists the values that a Store must be able to hold.
//
// All methods must be safe for concurrent use, and must not modify their arguments. Every method
// except Touch and Prune is one atomic operation. Touch changes each token atomically, and Prune
// deletes each record atomically. All methods work for any number of records, IDs and uses, unless
// the argument limit limits them.
//
// When a method returns no error, every later call of the Store sees the change. The change
// survives a crash of the process and of the machine, unless the documentation of the Store says
// otherwise: a [MemoryStore] loses all records. If a Store loses a change, a revoked key works
// again. Therefore a Store must not read from a replica that may lag behind. No cache eviction or
// time to live may delete records: only Prune deletes records.
//
// All methods must honor their context. If the context is already done, a method changes
// nothing and returns an error that wraps the context's error and no sentinel error. If the
// context ends during a call, the method returns soon, even if a database does not respond. It
// returns either its result or an error that wraps the context's error and no sentinel error.
//
// A Store never reads a clock; callers pass all times. A Store rounds times down to the
// microsecond and returns them in UTC. Strings are compared byte by byte.
//
// A token is live until it is revoked. An expired token is still live: it keeps its
// name and its slot. Methods with the argument at use it as the current time, which is never
// zero. Methods that change one token take the user ID and the ID of the token. To these
// methods, a token of another user does not exist, so they cannot change another user's token.
//
// A Store does not decide whether a key is accepted. The Manager checks revocation,
// expiry and scopes, and compares the digest of the key again.
//
// Each method returns the sentinel errors that its comment names, possibly wrapped. If several
// of them apply, the method returns the one that its comment names first. A change that
// returns a sentinel error has changed nothing. After any other error, the outcome of a change
// is unknown. Every change must be safe to repeat.
type Store interface {
	// Create adds all records or none. It stores copies. Create checks the given records in
	// their order, and returns the error of the first record that fails. It compares each record
	// with the stored records and with the records earlier in the arguments. The checks of a
	// record have this order:
	//  1. If the user has a record with the same ID and the same current digest, Create
	//     leaves that record unchanged and skips the given record without an error.
	//  2. If another record has the ID, or has one of the record's digests as its current
	//     or retired digest, Create returns ErrKeyTaken.
	//  3. If another live token of the user has the name, Create returns ErrNameTaken.
	//  4. If another live token of the user has the slot, Create returns ErrSlotTaken.
	//
	// A record that is already revoked takes neither a name nor a slot. Create therefore skips
	// the checks 3 and 4 for it, and stores it with the slot 0. A Store that requires an existing
	// user returns ErrUserUnknown for the record of any other user. If a record also fails one of
	// the checks, Create may return either error. If several records are given, the error of a
	// record should be a [*RecordError].
	Create(ctx context.Context, records ...Record) error

	// Find returns the record whose current or retired digest is d, even if the token
	// is expired or revoked or the retired key is no longer accepted. It returns
	// ErrNotFound if no record has the digest. The Store and its callers share the
	// returned record, so neither may modify it.
	Find(ctx context.Context, d Digest) (*Record, error)

	// List returns copies of the records that q selects, ordered by CreatedAt, then by
	// ID. If q selects no records, List returns no error. If q is malformed, List returns an error
	// that is not a sentinel error. For more than 500 IDs, List may read the records in several
	// steps.
	List(ctx context.Context, q Query) ([]Record, error)

	// Update changes the fields of a live token that p sets, and no other fields. It
	// returns ErrNotFound if the token does not exist or is revoked, ErrConflict if the token is
	// expired or does not have the values of p.Replaces, and ErrNameTaken if another live token of
	// the user has the name. If p sets no field, Update changes nothing, but still returns
	// ErrNotFound or ErrConflict for an unknown, revoked or expired token.
	Update(ctx context.Context, userID, id string, p Patch, at time.Time) error

	// Rotate replaces the key of a live token. The current digest becomes the retired
	// digest until r.GraceUntil and replaces a previous retired digest. r.Digest and
	// r.Hint become current. The generation increases by one.
	//
	// Rotate returns ErrNotFound if the token does not exist or is revoked, and
	// ErrConflict if the token is expired. If r.Digest is already the current digest,
	// Rotate changes nothing and returns nil. Otherwise Rotate returns ErrConflict if the
	// generation is not r.Replaces. It returns ErrKeyTaken if r.Digest is the current or
	// retired digest of any record, also if it is the token's own retired digest.
	Rotate(ctx context.Context, userID, id string, r Rotation, at time.Time) error

	// Revoke sets RevokedAt to the time at and RevokedBy to by, and frees the token's name and slot.
	// If the token is already revoked, Revoke changes nothing and returns nil. Revoke returns
	// ErrNotFound if the token does not exist.
	Revoke(ctx context.Context, userID, id string, at time.Time, by string) error

	// RevokeExpired works like Revoke, but returns ErrConflict if the token is live and neither
	// expired nor idle. A token is idle if both its CreatedAt and its LastUsedAt are at or before
	// unusedSince. If unusedSince is the zero time, no token is idle.
	RevokeExpired(ctx context.Context, userID, id string, at time.Time, by string, unusedSince time.Time) error

	// RevokeAll revokes limit live tokens of the user as Revoke does, or all of them if there are
	// fewer, in one atomic operation. It may choose any of the live tokens, and returns the number of
	// tokens that it revoked. If the limit is not positive, RevokeAll changes nothing and returns an
	// error that is not a sentinel error. If a concurrent call has revoked some of the tokens that
	// RevokeAll chose, RevokeAll may revoke fewer. It returns 0 without an error only if a read after
	// its last write found no live token of the user. Otherwise, it must choose other tokens.
	RevokeAll(ctx context.Context, userID string, at time.Time, by string, limit int) (int, error)

	// Touch sets the LastUsedAt of each token in uses, even if the token is expired or revoked.
	// LastUsedAt never moves backwards. Of several uses of a token, the latest counts. A use before
	// CreatedAt counts as a use at CreatedAt. Touch ignores unknown IDs.
	Touch(ctx context.Context, uses ...Use) error

	// Prune deletes limit of the records that expired or were revoked before the given time, or that
	// are live and idle as RevokeExpired defines it, or all of these records if there are fewer. It
	// may choose any of these records, and may skip records that concurrent calls change. Prune
	// should delete them in small steps, because the Manager calls it with a limit of 100,000. It
	// returns the number of deleted records, even if it also returns an error. If the limit is not
	// positive, Prune deletes nothing and returns no error. Prune keeps imported records, which have
	// an Origin, so that an importer does not import their tokens again.
	Prune(ctx context.Context, before, unusedSince time.Time, limit int) (int, error)
}

// A Record is the stored form of a token. Only the Store and the [Manager] see a Record. Handlers
// receive its Token.
//
// A Store must return each field as it was stored, for all records within these limits. Callers
// create no other records:
//   - A token ID consists of 26 ASCII letters and digits.
//   - A user ID has 1 to 255 bytes of UTF-8 without control characters.
//   - A name has 1 to 64 characters of UTF-8 without control characters.
//   - A token has at most 100 scopes. A scope consists of 1 to 128 ASCII letters, digits and
//     punctuation characters except " and \. Therefore no scope contains a space.
//   - The resources of a token are nil, or 1 to 100. A resource consists of 1 to 255 visible ASCII
//     characters. Therefore no resource contains a space. In place of an empty list, a Store
//     returns an error or an empty list, and never nil.
//   - CreatedBy and RevokedBy have at most 255 bytes of UTF-8 without control characters.
//   - PreviousKeyUntil is zero. The Manager takes it from Retired.
//   - Hint has at most 4, and Origin at most 64, ASCII letters, digits, hyphens and underscores.
//   - Generation and Slot are from 0 to 2^31-1.
//   - Every time is in one of the years 1 to 9999. A zero time means never. CreatedAt and the
//     Until of a retired key are never zero.
//
// Times have microseconds. For years after 2255, a float64 cannot represent the number of
// microseconds since 1970.
type Record struct {
	Token   Token
	Digest  Digest      // digest of the current key
	Retired *RetiredKey // key that the latest rotation replaced; nil if none
	Slot    int         // unique among the live tokens of a user, from 1 to 2^31-1; 0 if the token has no slot
}

const maxSlot = math.MaxInt32

// token returns a copy of the token of r, with its PreviousKeyUntil.
func (r *Record) token() Token {
	t := r.Token.clone()
	if r.Retired != nil && t.RevokedAt.IsZero() {
		t.PreviousKeyUntil = r.Retired.Until
		if t.ExpiredAt(t.PreviousKeyUntil) {
			t.PreviousKeyUntil = t.ExpiresAt
		}
	}
	return t
}

// A RetiredKey is a key that a rotation replaced.
type RetiredKey struct {
	Digest Digest
	Until  time.Time // time from which the key is no longer accepted; never zero
}

// A Query selects the records or tokens of one user, or of all users. Exactly one of UserID and
// AllUsers must be set. Otherwise List returns an error, so that a missing user ID never lists the
// tokens of all users. List also returns an error if Limit or MinSlot is negative, if MinSlot is
// greater than MaxSlot, or if MaxSlot is greater than 2^31-1. All set fields apply together.
type Query struct {
	UserID         string
	AllUsers       bool     // select the tokens of all users; UserID must be empty
	IDs            []string // select only these token IDs; nil means any ID, empty means none
	Name           string   // select only tokens with this name; empty means any name
	MinSlot        int      // if MaxSlot is positive, select only tokens that hold a slot from MinSlot to MaxSlot
	MaxSlot        int
	CreatedBy      string    // select only tokens with this CreatedBy; empty means any
	ExpiresBefore  time.Time // select only tokens that expire before this time; zero means any expiry, or none
	IncludeRevoked bool      // also select revoked tokens
	After          Cursor    // select only tokens after this position; zero means all tokens
	Limit          int       // select at most this many tokens; 0 means no limit
}

func (q *Query) check() error {
	switch {
	case q.AllUsers && q.UserID != "":
		return &SpecError{"user_id", "must be empty if all users are selected"}
	case !q.AllUsers && q.UserID == "":
		return &SpecError{"user_id", "must not be empty unless all users are selected"}
	case q.Limit < 0:
		return &SpecError{"limit", "must not be negative"}
	case q.MinSlot < 0 || q.MaxSlot < q.MinSlot || q.MaxSlot > maxSlot:
		return &SpecError{"slots", "must be a range of slots"}
	}
	return nil
}

// checkLimit checks the limit of a RevokeAll.
func checkLimit(limit int) error {
	if limit <= 0 {
		return &SpecError{"limit", "must be positive"}
	}
	return nil
}

// A Patch holds new values for fields of a token. A nil field leaves the token's value
// unchanged.
type Patch struct {
	Name      *string
	Scopes    *[]string
	Resources *[]string  // a pointer to nil means all resources; an empty list is invalid
	ExpiresAt *time.Time // a zero time means never

	// If Replaces is not nil, Update returns ErrConflict unless the token has the Scopes, the Resources
	// and the ExpiresAt of Replaces, or already has the new values. Therefore a caller that read the
	// token before cannot undo a change that another caller has made meanwhile.
	Replaces *Token
}

// A Rotation replaces the key of a token.
type Rotation struct {
	Replaces   int       // generation of the key to replace
	Digest     Digest    // digest of the new key
	Hint       string    // hint of the new key
	GraceUntil time.Time // time from which the previous key is no longer accepted; never zero
}

// A Use says that a token was used at a time.
type Use struct {
	ID string    // ID of the token
	At time.Time // time of the use; never zero
}
