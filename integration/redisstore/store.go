// Package redisstore is an example of a [tokenauth.Store] on a network server, Redis 7. It shows
// what such a store needs, and is not meant for production.
package redisstore

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-tokenauth/tokenauth"
)

//go:embed store.lua
var source string

var script = redis.NewScript(source)

// docs: client

// ClientOptions returns the options of a client for a [Store] on the server at addr.
func ClientOptions(addr string) *redis.Options {
	return &redis.Options{
		Addr:                  addr,
		ContextTimeoutEnabled: true, // otherwise a call ignores the deadline of its context
		MaxRetries:            -1,   // a retry of RevokeAll would lose the number that the first attempt returned
		DialerRetries:         1,    // do not retry: the request gets 503, and its client retries
	}
}

// docs: end

// A Store is a [tokenauth.Store] on a Redis server.
type Store struct {
	client  redis.UniversalClient
	prefix  string
	timeout time.Duration
}

// New returns a store whose keys begin with the given name. The timeout limits the duration of each
// call, in addition to the deadline of its context.
func New(client redis.UniversalClient, name string, timeout time.Duration) *Store {
	// The braces are a hash tag. In a cluster, all keys of the store are therefore on one node.
	return &Store{client, "{" + name + "}:", timeout}
}

// CheckServer returns an error unless the server stores every change on disk before it acknowledges
// the change, and evicts no keys. Otherwise revoked tokens can become valid again.
func (s *Store) CheckServer(ctx context.Context) error {
	settings, err := s.client.ConfigGet(ctx, "*").Result()
	if err != nil {
		return err
	}
	for name, want := range map[string]string{
		"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction",
	} {
		if settings[name] != want {
			return fmt.Errorf("redisstore: %s is %q, want %q", name, settings[name], want)
		}
	}
	return nil
}

// call runs a command of the script. It returns as soon as the context is done. The client itself
// notices only the deadline of a context, and not its cancellation. call sets a deadline, because
// the Manager sets none.
func (s *Store) call(ctx context.Context, command string, args ...any) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	result := make(chan *redis.Cmd, 1)
	go func() { result <- script.Run(ctx, s.client, []string{s.prefix}, append([]any{command}, args...)...) }()
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("redisstore: %s: %w", command, ctx.Err())
	case r := <-result:
		reply, err := r.Result()
		if errors.Is(err, os.ErrDeadlineExceeded) { // the connection has the deadline of the context
			err = context.DeadlineExceeded
		}
		if err != nil {
			return nil, fmt.Errorf("redisstore: %s: %w", command, err)
		}
		return reply, nil
	}
}

var sentinels = map[string]error{
	"OK": nil, "ErrNotFound": tokenauth.ErrNotFound, "ErrNameTaken": tokenauth.ErrNameTaken,
	"ErrKeyTaken": tokenauth.ErrKeyTaken, "ErrSlotTaken": tokenauth.ErrSlotTaken, "ErrConflict": tokenauth.ErrConflict,
}

// change runs a command that returns OK or the name of a sentinel error.
func (s *Store) change(ctx context.Context, command string, args ...any) error {
	reply, err := s.call(ctx, command, args...)
	if err != nil {
		return err
	}
	return sentinel(command, reply)
}

func sentinel(command string, reply any) error {
	name, _ := reply.(string)
	err, known := sentinels[name]
	if !known {
		return unexpected(command, reply)
	}
	return err
}

func unexpected(command string, reply any) error {
	return fmt.Errorf("redisstore: %s: unexpected reply of type %T", command, reply)
}

// Create implements [tokenauth.Store].
func (s *Store) Create(ctx context.Context, records ...tokenauth.Record) error {
	args := []any{len(fieldsOf(&tokenauth.Record{}))}
	for i := range records {
		args = append(args, fieldsOf(&records[i])...)
	}
	reply, err := s.call(ctx, "create", args...)
	if err != nil {
		return err
	}
	failed, _ := reply.([]any)
	if len(failed) != 2 {
		return sentinel("create", reply)
	}
	err = sentinel("create", failed[0])
	if index, ok := failed[1].(int64); ok && len(records) > 1 {
		err = &tokenauth.RecordError{Index: int(index), Err: err}
	}
	return err
}

// Find implements [tokenauth.Store].
func (s *Store) Find(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
	reply, err := s.call(ctx, "find", string(d[:]))
	if err != nil {
		return nil, err
	}
	if fields, ok := reply.([]any); ok && len(fields) == 0 {
		return nil, tokenauth.ErrNotFound
	}
	r, err := parse(reply)
	return &r, err
}

// List implements [tokenauth.Store].
func (s *Store) List(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
	if err := check(q); err != nil {
		return nil, err
	}
	after := ""
	if q.After != (tokenauth.Cursor{}) {
		after = digits(q.After.CreatedAt) + q.After.ID
	}
	args := []any{
		q.UserID, flag(!q.IncludeRevoked), q.Name, max(q.MinSlot, 1), q.MaxSlot, q.CreatedBy, text(q.ExpiresBefore), after, q.Limit, flag(q.IDs != nil),
	}
	for _, id := range q.IDs {
		args = append(args, id)
	}
	reply, err := s.call(ctx, "list", args...)
	if err != nil {
		return nil, err
	}
	list, ok := reply.([]any)
	if !ok {
		return nil, unexpected("list", reply)
	}
	return selected(list, after, q.Limit)
}

// selected parses, sorts and limits the records of a list.
func selected(list []any, after string, limit int) ([]tokenauth.Record, error) {
	var records []tokenauth.Record
	for _, fields := range list {
		r, err := parse(fields)
		if err != nil {
			return nil, err
		}
		if position(&r) > after {
			records = append(records, r)
		}
	}
	slices.SortFunc(records, func(a, b tokenauth.Record) int { return strings.Compare(position(&a), position(&b)) })
	// A query may contain the same ID twice.
	records = slices.CompactFunc(records, func(a, b tokenauth.Record) bool { return a.Token.ID == b.Token.ID })
	if limit > 0 {
		records = records[:min(limit, len(records))]
	}
	return records, nil
}

func check(q tokenauth.Query) error {
	switch {
	case q.AllUsers == (q.UserID != ""):
		return errors.New("redisstore: List needs either a user ID or AllUsers")
	case q.Limit < 0:
		return errors.New("redisstore: the limit of List must not be negative")
	case q.MinSlot < 0 || q.MaxSlot < q.MinSlot || q.MaxSlot > math.MaxInt32:
		return errors.New("redisstore: List requires 0 <= MinSlot <= MaxSlot <= 2147483647")
	}
	return nil
}

// Update implements [tokenauth.Store].
func (s *Store) Update(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
	args := []any{userID, id, digits(at), flag(p.Replaces != nil), "", "", ""}
	if p.Replaces != nil {
		args[4], args[5], args[6] = join(p.Replaces.Scopes), resourcesText(p.Replaces.Resources), text(p.Replaces.ExpiresAt)
	}
	if p.Name != nil {
		args = append(args, "name", *p.Name)
	}
	if p.Scopes != nil {
		args = append(args, "scopes", join(*p.Scopes))
	}
	if p.Resources != nil {
		args = append(args, "resources", resourcesText(*p.Resources))
	}
	if p.ExpiresAt != nil {
		args = append(args, "expires", text(*p.ExpiresAt))
	}
	return s.change(ctx, "update", args...)
}

// Rotate implements [tokenauth.Store].
func (s *Store) Rotate(ctx context.Context, userID, id string, r tokenauth.Rotation, at time.Time) error {
	return s.change(ctx, "rotate", userID, id, digits(at), r.Replaces, string(r.Digest[:]),
		"hint", r.Hint, "until", text(r.GraceUntil), "generation", r.Replaces+1)
}

// Revoke implements [tokenauth.Store].
func (s *Store) Revoke(ctx context.Context, userID, id string, at time.Time, by string) error {
	return s.change(ctx, "revoke", userID, id, text(at), by, flag(false), "")
}

// RevokeExpired implements [tokenauth.Store].
func (s *Store) RevokeExpired(ctx context.Context, userID, id string, at time.Time, by string, unusedSince time.Time) error {
	return s.change(ctx, "revoke", userID, id, text(at), by, flag(true), text(unusedSince))
}

// RevokeAll implements [tokenauth.Store].
func (s *Store) RevokeAll(ctx context.Context, userID string, at time.Time, by string, limit int) (int, error) {
	if limit <= 0 {
		return 0, errors.New("redisstore: the limit of RevokeAll must be positive")
	}
	limit = min(limit, math.MaxInt32) // Lua formats larger numbers in a way that Redis does not accept
	reply, err := s.call(ctx, "revoke_all", userID, text(at), by, limit)
	if err != nil {
		return 0, err
	}
	n, ok := reply.(int64)
	if !ok {
		return 0, unexpected("revoke_all", reply)
	}
	return int(n), nil
}

// batch is the number of tokens that one run of the script touches or deletes. Redis serves no
// other client while the script runs.
const batch = 1000

// Touch implements [tokenauth.Store].
func (s *Store) Touch(ctx context.Context, uses ...tokenauth.Use) error {
	for some := range slices.Chunk(uses, batch) {
		var args []any
		for _, use := range some {
			args = append(args, use.ID, text(use.At))
		}
		if err := s.change(ctx, "touch", args...); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Prune implements [tokenauth.Store].
func (s *Store) Prune(ctx context.Context, before, unusedSince time.Time, limit int) (n int, err error) {
	after, more := "", true
	for more && n < limit {
		reply, err := s.call(ctx, "prune", text(before), text(unusedSince), min(limit-n, batch), after)
		if err != nil {
			return n, err
		}
		pair, _ := reply.([]any)
		if len(pair) != 2 {
			return n, unexpected("prune", reply)
		}
		deleted, _ := pair[0].(int64)
		n += int(deleted)
		after, more = pair[1].(string)
	}
	return n, ctx.Err()
}
