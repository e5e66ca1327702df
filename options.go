package tokenauth

import (
	"cmp"
	"context"
	"errors"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/go-tokenauth/tokenauth/internal/keyform"
	"github.com/go-tokenauth/tokenauth/internal/syntax"
)

// Options are the settings of a [Manager]. A zero field selects the default, which is the safe
// choice.
type Options struct {
	// FormerPrefixes are key prefixes that the Manager still accepts but no longer issues.
	FormerPrefixes []string

	// Scopes are the scopes that tokens may have. The Manager refuses other scopes. If Scopes is
	// empty, every well-formed scope is allowed.
	Scopes []string

	// Resources returns the resources that the tokens of a user can be restricted to, such as the
	// projects of the user. A token is unrestricted, or restricted to one or more of them. The Manager
	// calls Resources when a token gets a restriction, and refuses every resource that Resources does
	// not return. The ID of a resource has 1 to 255 visible ASCII characters. If Resources is nil, no
	// token gets a restriction, but the restrictions of stored tokens still apply.
	//
	// An older version of this package does not enforce restrictions. Therefore set Resources only
	// when each running instance of the service has this version.
	Resources func(ctx context.Context, userID string) ([]Resource, error)

	// DefaultTTL is the lifetime of a token that is issued without an expiry. If DefaultTTL is
	// zero, the lifetime is MaxTTL. If both are zero, the token does not expire.
	DefaultTTL time.Duration

	// MaxTTL is the longest allowed time from now to an expiry, whenever an expiry is set. If
	// MaxTTL is zero, there is no limit. A change of MaxTTL does not affect existing tokens.
	MaxTTL time.Duration

	// MaxPerUser limits the number of live tokens per user. Imported tokens, and tokens that were
	// issued while there was no limit, do not count. If MaxPerUser is zero, the limit is 100. If
	// MaxPerUser is negative, there is no limit. The largest limit is 1,000,000,000.
	MaxPerUser int

	// TouchEvery is the longest time by which the LastUsedAt of a token may be behind the token's
	// actual last use. The Manager collects last-used times in memory and writes them together in
	// the background. If TouchEvery is zero, the time is one minute. If TouchEvery is negative, the
	// Manager does not record last-used times.
	TouchEvery time.Duration

	// IdleTimeout is the time without use after which the keys of a token are refused. It counts
	// from the latest of CreatedAt, LastUsedAt and the last-used times that this process has not
	// written yet. Last-used times that other processes record arrive up to TouchEvery late, or up
	// to TouchEvery + MaxStale late with a cache. A key may be refused too early by that time.
	//
	// A Manager in a transaction records no last-used times (see [Manager.WithStore]). If last-used
	// times were not recorded before, tokens that were created more than IdleTimeout
	// ago are refused immediately. IdleTimeout must be at least twice TouchEvery. If IdleTimeout is
	// zero, tokens may be unused for any time.
	IdleTimeout time.Duration

	// MaxGrace is the longest allowed grace of a rotation. If MaxGrace is zero, the longest grace is
	// 30 days. MaxGrace must not exceed 365 days.
	MaxGrace time.Duration

	// CheckUserID returns an error if the spelling of a user ID is wrong. The text of the error is
	// the rest of a sentence that begins with the name of the argument, such as "must be a number".
	// The Manager compares user IDs byte by byte. If a database compares them in another way, for
	// example as numbers, two spellings of one ID would be different users for the Manager and the
	// same user for the database. [DecimalUserID] and [UUIDUserID] allow one spelling per ID. The
	// Manager calls CheckUserID for each request, and refuses the keys of tokens that were stored
	// with another spelling before. If CheckUserID is nil, the Manager accepts every ID of 1 to 255
	// bytes of UTF-8 without control characters.
	CheckUserID func(id string) error

	// OnEvent receives an event for each change of a token and for each refused key. [LogEvents]
	// returns an OnEvent function for logging. The Manager calls OnEvent synchronously from several
	// goroutines, so OnEvent must be safe for concurrent use. OnEvent must neither block nor panic.
	// Its context has the values of the context of the request or call that caused the event.
	// If OnEvent is nil, events are discarded.
	OnEvent func(context.Context, Event)

	// Legacy recognizes the keys of imported tokens.
	Legacy []LegacyFormat

	// Now returns the current time. If Now is nil, the Manager uses [time.Now].
	Now func() time.Time
}

const (
	defaultMaxPerUser = 100
	largestMaxPerUser = 1_000_000_000 // less than maxSlot
	defaultTouchEvery = time.Minute
	defaultMaxGrace   = 30 * 24 * time.Hour
	longestGrace      = 365 * 24 * time.Hour
)

// DecimalUserID is a CheckUserID for IDs that are whole numbers of at most 64 bits, as in a BIGINT
// column. It accepts only the spelling of [strconv.FormatInt].
func DecimalUserID(id string) error {
	n, err := strconv.ParseInt(id, 10, 64)
	var spelled [20]byte // an array does not allocate
	if err != nil || string(strconv.AppendInt(spelled[:0], n, 10)) != id {
		return errors.New("must be a decimal number of at most 64 bits, without leading zeros")
	}
	return nil
}

var uuidForm = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// UUIDUserID is a CheckUserID for IDs that are UUIDs. It accepts only the form of RFC 9562 section
// 4 with lower-case letters.
func UUIDUserID(id string) error {
	if uuidForm.MatchString(id) {
		return nil
	}
	return errors.New("must be a UUID with hyphens and lower-case letters")
}

// withDefaults returns a copy of o with the default of each zero field. If o is nil, the result has
// only defaults.
func (o *Options) withDefaults() Options {
	if o == nil {
		o = &Options{}
	}
	c := *o
	c.FormerPrefixes, c.Legacy = slices.Clone(o.FormerPrefixes), slices.Clone(o.Legacy)
	c.MaxPerUser = cmp.Or(o.MaxPerUser, defaultMaxPerUser)
	c.TouchEvery = cmp.Or(o.TouchEvery, defaultTouchEvery)
	c.MaxGrace = cmp.Or(o.MaxGrace, defaultMaxGrace)
	c.Now = time.Now
	if o.Now != nil {
		c.Now = func() time.Time {
			// A clock that was never set returns the zero time, which would mean never in a store.
			if t := o.Now(); !t.IsZero() {
				return t
			}
			return time.Unix(0, 0)
		}
	}
	return c
}

// An optionError says which option of a constructor is invalid and why.
type optionError string

// Error returns the name of the option and the problem.
func (e optionError) Error() string { return "tokenauth: " + string(e) }

// validate returns an error that names the first invalid option.
func (o *Options) validate() error {
	for _, p := range o.FormerPrefixes {
		if err := keyform.CheckPrefix(p); err != nil {
			return optionError("Options.FormerPrefixes: " + err.Error())
		}
	}
	for _, s := range o.Scopes {
		if err := syntax.Scope(s); err != nil {
			return optionError("Options.Scopes: a scope " + err.Error())
		}
	}
	for _, f := range o.Legacy {
		if f.Canonical == nil || !syntax.IsWord(f.Origin) {
			return optionError("Options.Legacy: a format requires Origin and Canonical")
		}
	}
	if o.MaxPerUser > largestMaxPerUser {
		return optionError("Options.MaxPerUser must be at most 1,000,000,000")
	}
	return o.validateTimes()
}

func (o *Options) validateTimes() error {
	switch {
	case o.DefaultTTL < 0 || o.MaxTTL < 0:
		return optionError("Options.DefaultTTL and MaxTTL must not be negative")
	case o.MaxTTL > 0 && o.DefaultTTL > o.MaxTTL:
		return optionError("Options.DefaultTTL must not exceed MaxTTL")
	case o.MaxGrace < 0 || o.MaxGrace > longestGrace:
		return optionError("Options.MaxGrace must be from 0 to 365 days")
	case o.IdleTimeout < 0:
		return optionError("Options.IdleTimeout must not be negative")
	case o.IdleTimeout > 0 && o.TouchEvery < 0:
		return optionError("Options.IdleTimeout requires last-used times, which a negative TouchEvery turns off")
	case o.IdleTimeout > 0 && o.IdleTimeout/2 < o.TouchEvery:
		return optionError("Options.IdleTimeout must be at least twice TouchEvery")
	}
	return nil
}

// isNil reports whether v is nil or holds a nil value of a type that has one.
func isNil(v any) bool {
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Slice, reflect.Chan:
		return r.IsNil()
	}
	return false
}
