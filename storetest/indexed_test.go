package storetest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// An indexedStore is a Store that keeps its indices itself, as a store on a key-value database
// does. It reads records only by their IDs, and finds the IDs in the indices. Each broken variant
// omits or adds one step of the index maintenance.
type indexedStore struct {
	mu      sync.Mutex
	records map[string]tokenauth.Record // by ID
	indices map[string]*index           // by name, such as byDigest

	isStrict bool // whether an entry without a record is an error

	// omits reports whether the store wrongly omits a step for a change from old to r. If omits is
	// nil, the store omits no step.
	omits func(s step, old, r *tokenauth.Record) bool
	// after is called after each change of one token that succeeded or failed, and may break an
	// index. If after is nil, it is not called.
	after func(s *indexedStore, method string, old, r tokenauth.Record, err error)
	// again, used and foreign are called with a record that Create skips, that Touch uses, or that
	// belongs to another user than the caller of a change. They may break an index. If one of them is
	// nil, it is not called.
	again, used, foreign func(r tokenauth.Record)
}

// The indices. Each entry has a key, by which the entries are sorted, and the ID of a record.
const (
	byDigest   = "digests"                  // current and retired digests
	byName     = "names of live tokens"     // user ID and name
	bySlot     = "slots"                    // user ID and slot
	byAllNames = "names of all tokens"      // user ID, name, CreatedAt and ID
	liveOfUser = "live tokens of a user"    // user ID, CreatedAt and ID
	allOfUser  = "all tokens of a user"     // user ID, CreatedAt and ID
	liveOfAll  = "live tokens of all users" // CreatedAt and ID
	allOfAll   = "all tokens of all users"  // CreatedAt and ID
	byDeath    = "expiries and revocations" // the earlier of ExpiresAt and RevokedAt, and ID
	byLastUse  = "last uses of live tokens" // the later of CreatedAt and LastUsedAt, and ID
	byCreator  = "tokens of a creator"      // CreatedBy, CreatedAt and ID
	byExpiry   = "expiries of live tokens"  // ExpiresAt and ID
)

var indexNames = []string{byDigest, byName, bySlot, byAllNames, liveOfUser, allOfUser, liveOfAll, allOfAll, byDeath, byLastUse, byCreator, byExpiry}

// A step is one kind of index maintenance: a method adds entries to an index or removes entries.
type step struct {
	method, index string
	adds          bool
}

func (s step) String() string {
	if s.adds {
		return fmt.Sprintf("%s adds no entry to the index of %s", s.method, s.index)
	}
	return fmt.Sprintf("%s removes no entry from the index of %s", s.method, s.index)
}

// An index is a sorted set of keys. Each key has the ID of a record.
type index struct {
	keys []string
	ids  map[string]string
}

func (x *index) add(key, id string) {
	if i, found := slices.BinarySearch(x.keys, key); !found {
		x.keys = slices.Insert(x.keys, i, key)
	}
	x.ids[key] = id
}

func (x *index) remove(key string) {
	if i, found := slices.BinarySearch(x.keys, key); found {
		x.keys = slices.Delete(x.keys, i, i+1)
	}
	delete(x.ids, key)
}

// scan returns the IDs of the entries whose keys begin with prefix and are greater than after.
func (x *index) scan(prefix, after string) (ids []string) {
	first, _ := slices.BinarySearch(x.keys, max(prefix, after))
	for _, key := range x.keys[first:] {
		if !strings.HasPrefix(key, prefix) {
			break
		}
		if key > after {
			ids = append(ids, x.ids[key])
		}
	}
	return ids
}

func newIndexedStore() *indexedStore {
	s := &indexedStore{records: map[string]tokenauth.Record{}, indices: map[string]*index{}}
	for _, name := range indexNames {
		s.indices[name] = &index{ids: map[string]string{}}
	}
	return s
}

// part returns text in a form that no other text begins with.
func part(text string) string { return fmt.Sprintf("%d:%s", len(text), text) }

// position returns the microseconds of a time, in a form that sorts like the time.
func position(t time.Time) string {
	return string(binary.BigEndian.AppendUint64(nil, uint64(t.UnixMicro())+1<<63))
}

func cursorKey(c tokenauth.Cursor) string { return position(c.CreatedAt) + c.ID }

// keysOf returns the keys of a record in each index. If r is nil, keysOf returns nil.
func keysOf(r *tokenauth.Record) map[string][]string {
	if r == nil {
		return nil
	}
	t := r.Token
	user, name, at := part(t.UserID), part(t.UserID)+part(t.Name), cursorKey(t.Cursor())
	keys := map[string][]string{
		byDigest: {string(r.Digest[:])}, byAllNames: {name + at}, allOfUser: {user + at}, allOfAll: {at},
	}
	if r.Retired != nil {
		keys[byDigest] = append(keys[byDigest], string(r.Retired.Digest[:]))
	}
	if t.CreatedBy != "" {
		keys[byCreator] = []string{part(t.CreatedBy) + at}
	}
	if isLive(*r) {
		if !t.ExpiresAt.IsZero() {
			keys[byExpiry] = []string{position(t.ExpiresAt) + t.ID}
		}
		keys[byName], keys[liveOfUser], keys[liveOfAll] = []string{name}, []string{user + at}, []string{at}
		if r.Slot != 0 {
			keys[bySlot] = []string{user + fmt.Sprint(r.Slot)}
		}
		if t.Origin == "" {
			keys[byLastUse] = []string{position(lastUse(t)) + t.ID}
		}
	}
	if t.Origin == "" && !death(t).IsZero() {
		keys[byDeath] = []string{position(death(t)) + t.ID}
	}
	return keys
}

// death returns the earlier of ExpiresAt and RevokedAt that is not zero.
func death(t tokenauth.Token) time.Time {
	if t.RevokedAt.IsZero() || !t.ExpiresAt.IsZero() && t.ExpiresAt.Before(t.RevokedAt) {
		return t.ExpiresAt
	}
	return t.RevokedAt
}

func lastUse(t tokenauth.Token) time.Time {
	if t.LastUsedAt.After(t.CreatedAt) {
		return t.LastUsedAt
	}
	return t.CreatedAt
}

// put replaces the record old by r, and moves the entries of the indices. If old is nil, put adds
// r. If r is nil, put deletes old.
func (s *indexedStore) put(method string, old, r *tokenauth.Record) {
	keysBefore, keysAfter := keysOf(old), keysOf(r)
	for _, name := range indexNames {
		before, after := keysBefore[name], keysAfter[name]
		for _, key := range before {
			if !slices.Contains(after, key) && s.does(step{method, name, false}, old, r) {
				s.indices[name].remove(key)
			}
		}
		for _, key := range after {
			if !slices.Contains(before, key) && s.does(step{method, name, true}, old, r) {
				s.indices[name].add(key, r.Token.ID)
			}
		}
	}
	if r == nil {
		delete(s.records, old.Token.ID)
		return
	}
	s.records[r.Token.ID] = kept(*r)
}

// does reports whether the store performs a step. Only a broken store does not.
func (s *indexedStore) does(step step, old, r *tokenauth.Record) bool {
	return s.omits == nil || !s.omits(step, old, r)
}

// locked runs f with s.mu held. If ctx is done, locked returns the error of ctx instead.
func (s *indexedStore) locked(ctx context.Context, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return f()
}

var errDangling = errors.New("an index has an entry without a record")

// read returns copies of the records with the given IDs. If an ID has no record, a strict store
// returns an error, and other stores omit the ID.
func (s *indexedStore) read(ids []string) (records []tokenauth.Record, err error) {
	for _, id := range ids {
		r, ok := s.records[id]
		switch {
		case ok:
			records = append(records, kept(r))
		case s.isStrict:
			return nil, errDangling
		}
	}
	return records, nil
}
