package boltstore

import (
	"encoding/binary"
	"encoding/json"
	"time"

	"go.etcd.io/bbolt"

	"github.com/go-tokenauth/tokenauth"
)

// The bucket of records maps token IDs to records. All other buckets are indices, whose values are
// token IDs.
var (
	records  = []byte("records")
	digests  = []byte("digests")   // current or retired digest
	names    = []byte("names")     // user, name; only of live tokens
	slots    = []byte("slots")     // user, slot; only of live tokens that have a slot
	all      = []byte("all")       // CreatedAt, ID
	userAll  = []byte("user all")  // user, CreatedAt, ID
	live     = []byte("live")      // CreatedAt, ID; only of live tokens
	userLive = []byte("user live") // user, CreatedAt, ID; only of live tokens
	creators = []byte("creators")  // CreatedBy, CreatedAt, ID; not of tokens without CreatedBy
	ended    = []byte("ended")     // time of expiry or revocation, ID; not of imported tokens
)

// docs: entries

// An entry is a key of an index.
type entry struct {
	index, key []byte
	taken      error // error if another record has the key; nil if the key contains the token ID
}

// entries returns all index entries of a record.
func entries(r *tokenauth.Record) []entry {
	t := &r.Token
	position := position(t.Cursor())
	list := []entry{
		{digests, r.Digest[:], tokenauth.ErrKeyTaken},
		{all, position, nil},
		{userAll, userKey(t.UserID, position...), nil},
	}
	if r.Retired != nil {
		list = append(list, entry{digests, r.Retired.Digest[:], tokenauth.ErrKeyTaken})
	}
	if t.CreatedBy != "" {
		list = append(list, entry{creators, userKey(t.CreatedBy, position...), nil})
	}
	if end := endOf(r); !end.IsZero() {
		list = append(list, entry{ended, append(instant(end), t.ID...), nil})
	}
	if !t.RevokedAt.IsZero() {
		return list
	}
	list = append(list,
		entry{live, position, nil},
		entry{userLive, userKey(t.UserID, position...), nil},
		entry{names, userKey(t.UserID, []byte(t.Name)...), tokenauth.ErrNameTaken})
	if r.Slot != 0 {
		list = append(list, entry{slots, slotKey(t.UserID, r.Slot), tokenauth.ErrSlotTaken})
	}
	return list
}

// put replaces the record old with r, and moves the index entries. If r is a new record, old is
// nil.
func put(tx *bbolt.Tx, old, r *tokenauth.Record) error {
	if old != nil {
		if err := removeEntries(tx, old); err != nil {
			return err
		}
	}
	for _, e := range entries(r) {
		index := tx.Bucket(e.index)
		if e.taken != nil && index.Get(e.key) != nil {
			return e.taken
		}
		if err := index.Put(e.key, []byte(r.Token.ID)); err != nil {
			return err
		}
	}
	return save(tx, r)
}

// docs: end

var buckets = [][]byte{records, digests, names, slots, all, userAll, live, userLive, creators, ended}

func removeEntries(tx *bbolt.Tx, r *tokenauth.Record) error {
	for _, e := range entries(r) {
		if err := tx.Bucket(e.index).Delete(e.key); err != nil {
			return err
		}
	}
	return nil
}

func remove(tx *bbolt.Tx, r *tokenauth.Record) error {
	if err := removeEntries(tx, r); err != nil {
		return err
	}
	return tx.Bucket(records).Delete([]byte(r.Token.ID))
}

// endOf returns the time at which the token expires or was revoked, whichever is earlier. A zero
// time means never. Prune keeps imported tokens, so endOf also returns the zero time for them.
func endOf(r *tokenauth.Record) time.Time {
	if r.Token.Origin != "" {
		return time.Time{}
	}
	expires, revoked := r.Token.ExpiresAt, r.Token.RevokedAt
	if expires.IsZero() || !revoked.IsZero() && revoked.Before(expires) {
		return revoked
	}
	return expires
}

// docs: keys

// userKey returns a key that begins with the length of a user ID and the user ID. Because of the
// length, no key of the user "ab" begins like a key of the user "a". The index creators has
// CreatedBy in place of the user ID.
func userKey(userID string, rest ...byte) []byte {
	key := binary.AppendUvarint(nil, uint64(len(userID)))
	return append(append(key, userID...), rest...)
}

// instant returns 8 bytes. Their order is the order of the times, also for times before 1970.
func instant(t time.Time) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(t.UnixMicro())^1<<63)
}

// docs: end

// position returns the last part of a key in the indices that have the order of List.
func position(c tokenauth.Cursor) []byte { return append(instant(c.CreatedAt), c.ID...) }

func slotKey(userID string, slot int) []byte {
	return userKey(userID, binary.BigEndian.AppendUint32(nil, uint32(slot))...)
}

// stored is the JSON form of a record. The JSON of a [tokenauth.Digest] is only a placeholder, so
// that digests do not appear in logs. Therefore stored has slices of bytes.
type stored struct {
	Token           tokenauth.Token
	Digest, Retired []byte
	Until           time.Time
	Slot            int
}

// load returns the record that has the given ID. It returns ErrNotFound if there is none.
func load(tx *bbolt.Tx, id []byte) (*tokenauth.Record, error) {
	data := tx.Bucket(records).Get(id)
	if data == nil {
		return nil, tokenauth.ErrNotFound
	}
	var s stored
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, err
	}
	r := tokenauth.Record{Token: s.Token, Slot: s.Slot}
	copy(r.Digest[:], s.Digest)
	if s.Retired != nil {
		r.Retired = &tokenauth.RetiredKey{Until: s.Until}
		copy(r.Retired.Digest[:], s.Retired)
	}
	return normalize(r), nil
}

func save(tx *bbolt.Tx, r *tokenauth.Record) error {
	s := stored{Token: r.Token, Digest: r.Digest[:], Slot: r.Slot}
	if r.Retired != nil {
		s.Retired, s.Until = r.Retired.Digest[:], r.Retired.Until
	}
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return tx.Bucket(records).Put([]byte(r.Token.ID), data)
}

// normalize returns a copy of a record with the values that a Store returns: times in microseconds
// and UTC, nil for empty scopes, and no slot for a revoked token.
func normalize(r tokenauth.Record) *tokenauth.Record {
	t := &r.Token
	t.CreatedAt, t.ExpiresAt, t.LastUsedAt, t.RevokedAt = micros(t.CreatedAt), micros(t.ExpiresAt), micros(t.LastUsedAt), micros(t.RevokedAt)
	if len(t.Scopes) == 0 {
		t.Scopes = nil
	}
	if !t.RevokedAt.IsZero() {
		r.Slot = 0
	}
	if r.Retired != nil {
		r.Retired = &tokenauth.RetiredKey{Digest: r.Retired.Digest, Until: micros(r.Retired.Until)}
	}
	return &r
}

// micros rounds a time down to the microsecond.
func micros(t time.Time) time.Time { return time.UnixMicro(t.UnixMicro()).UTC() }
