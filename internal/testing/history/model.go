package history

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// A kind is the kind of a call.
type kind string

const (
	issue        kind = "Issue"
	importOld    kind = "Import"
	authenticate kind = "Authenticate"
	update       kind = "Update"
	rotate       kind = "Rotate"
	revoke       kind = "Revoke"
	revokeAll    kind = "RevokeAll"
	prune        kind = "Prune"
	mint         kind = "POST /tokens"
)

var kinds = []kind{issue, importOld, authenticate, authenticate, update, update, rotate, rotate, revoke, revokeAll, prune, mint, mint, mint}

// A call is one call of a history.
type call struct {
	kind     kind
	through  int // index of the Manager
	id       string
	key      string // presented key
	name     string
	scopes   []string
	grace    time.Duration
	faults   bool  // whether calls of the store may fail
	shared   bool  // whether all calls go through one cache
	from, to int64 // position of the begin and of the end
	overlaps bool  // whether a change in another thread overlaps with the call

	got    string // result
	newID  string // ID of the token that the call created
	newKey string // key that the call created
}

// generate returns the calls of one thread.
func generate(random *rand.Rand, initial []token, faults, shared bool) (calls []*call) {
	n := perThread
	if faults { // a call without a response has more explanations
		n--
	}
	for range n {
		target := initial[random.IntN(len(initial))]
		c := &call{kind: kinds[random.IntN(len(kinds))], through: random.IntN(2), id: target.id, key: target.current, faults: faults, shared: shared}
		c.name = []string{"x", "y"}[random.IntN(2)]
		c.scopes = [][]string{{"a"}, {"a", manage}, {"a", "b", manage}}[random.IntN(3)]
		if c.kind == update && random.IntN(3) > 0 {
			c.name = ""
		}
		if random.IntN(3) == 0 {
			c.grace = time.Hour
		}
		calls = append(calls, c)
	}
	return calls
}

// The results of calls, in addition to "ok" with values.
const (
	invalid  = "invalid key"
	notFound = "not found"
	taken    = "name taken"
	conflict = "conflict"
	unread   = "rotated, but not read"
	lost     = "lost" // the call failed, so it may have made its change or a part of it
)

func outcome(err error) string {
	for _, known := range []struct {
		err  error
		text string
	}{
		{errLost, lost}, {tokenauth.ErrInvalidKey, invalid}, {tokenauth.ErrNotFound, notFound},
		{tokenauth.ErrNameTaken, taken}, {tokenauth.ErrConflict, conflict},
	} {
		if errors.Is(err, known.err) {
			return known.text
		}
	}
	if err != nil {
		return err.Error()
	}
	return "ok"
}

// decode returns the token and the key in the body of a response.
func decode(body []byte) (made struct{ ID, Key string }, err error) {
	err = json.Unmarshal(body, &made)
	return made, err
}

// A token is a token of the model.
type token struct {
	id, name, scopes  string
	generation        int
	live              bool
	current, previous string // keys; previous is empty if it is no longer accepted
}

// A state is a state of the model: the tokens of the user.
type state []token

func (s state) find(match func(t *token) bool) int {
	return slices.IndexFunc(s, func(t token) bool { return match(&t) })
}

func (s state) byID(id string) int {
	return s.find(func(t *token) bool { return t.id == id && t.live })
}

// accepts returns the result of a request with a key, and the index of the key's token.
func (s state) accepts(key string) (string, int) {
	i := s.find(func(t *token) bool { return t.live && (t.current == key || t.previous == key) })
	if i < 0 {
		return invalid, i
	}
	return "ok " + s[i].scopes, i
}

// with returns a copy of s in which change was applied to token i.
func (s state) with(i int, change func(*token)) state {
	c := slices.Clone(s)
	change(&c[i])
	return c
}

// create returns a copy of s with one more token, or false if the name is taken.
func (s state) create(t token) (state, bool) {
	if s.find(func(o *token) bool { return o.live && o.name == t.name }) >= 0 {
		return s, false
	}
	return append(slices.Clone(s), t), true
}

// matches reports whether s is the final state that world.observe has returned.
func (s state) matches(final map[string]string) bool {
	live := 0
	for _, t := range s {
		if t.live {
			live++
			if final["name "+t.name] != fmt.Sprint(t.scopes, " generation ", t.generation) {
				return false
			}
		}
	}
	for what, got := range final {
		if key, ok := strings.CutPrefix(what, "key "); !ok {
			live--
		} else if want, _ := s.accepts(key); want != got {
			return false
		}
	}
	return live == 0
}

// A progress says how far a call has come. A call takes one or more steps, and each step is one
// operation of the store. The steps of other calls may come between two steps.
type progress struct {
	step  int
	memo  int    // generation that Rotate has read, or number of tokens that RevokeAll has revoked
	maker string // ID of the token that a mint has created
}

// A next is a possible result of one step.
type next struct {
	state state
	progress
	got string // result of the call if this was its last step; otherwise empty
}

// step returns what one step of a call may do in a state.
func (c *call) step(s state, p progress) []next {
	end := func(s state, got string) []next { return []next{{state: s, got: got}} }
	on := func(s state, p progress) []next { p.step++; return []next{{state: s, progress: p}} }
	switch c.kind {
	case issue:
		made, ok := s.create(token{c.newOr(), c.name, strings.Join(c.scopes, " "), 1, true, c.newKey, ""})
		if !ok {
			return end(s, taken)
		}
		return end(made, fmt.Sprint("ok ", c.name, " ", strings.Join(c.scopes, " ")))
	case importOld:
		if s.find(func(t *token) bool { return t.id == "imported" }) >= 0 {
			return end(s, "ok")
		}
		made, ok := s.create(token{"imported", c.name, strings.Join(c.scopes, " "), 0, true, c.newKey, ""})
		if !ok {
			return end(s, taken)
		}
		return end(made, "ok")
	case authenticate:
		if c.mayBeOutdated() {
			return end(s, c.got)
		}
		got, _ := s.accepts(c.key)
		return end(s, got)
	case revoke:
		if i := s.byID(c.id); i >= 0 {
			return end(s.with(i, func(t *token) { t.live, t.previous = false, "" }), "ok")
		}
		return append(end(s, "ok"), end(s, notFound)...) // notFound if the token was pruned
	case revokeAll:
		// A statement may miss the tokens that were created after it began, so a step revokes the
		// oldest live tokens, or all. The call ends only if no live token is left.
		var all []next
		for i := range s {
			if s[i].live {
				s = s.with(i, func(t *token) { t.live = false })
				p.memo++
				all = append(all, on(s, p)...)
			}
		}
		if len(all) == 0 {
			return end(s, fmt.Sprint("ok ", p.memo))
		}
		return all
	case prune:
		return end(s, "ok")
	case update:
		return c.updateStep(s, p, end, on)
	case rotate:
		return c.rotateStep(s, p, end, on)
	}
	return c.mintStep(s, p, end, on)
}

// mayBeOutdated reports whether the call may have found an outdated record of its key in a cache. A
// shared cache has such a record only while a change is in progress.
func (c *call) mayBeOutdated() bool { return c.through == 1 && !c.shared || c.shared && c.overlaps }

// markOverlaps finds out which calls overlap with a change in another thread.
func markOverlaps(all [][]*call) {
	for i, thread := range all {
		for _, c := range thread {
			for j, other := range all {
				c.overlaps = c.overlaps || i != j && slices.ContainsFunc(other, func(o *call) bool {
					return o.kind != authenticate && o.from < c.to && c.from < o.to
				})
			}
		}
	}
}

// newOr returns the ID of the token that the call created. If the call did not learn the ID, newOr
// returns a placeholder.
func (c *call) newOr() string {
	if c.newID != "" {
		return c.newID
	}
	return fmt.Sprint("made by call ", c.from)
}

// values returns the result of a call that reads its token last.
func (c *call) values(s state) []string {
	i := s.find(func(t *token) bool { return t.id == c.id })
	results := []string{fmt.Sprint("ok ", s[i].name, " ", s[i].scopes)}
	if !s[i].live { // the token may have been pruned
		results = append(results, notFound, unread)
	}
	if c.faults {
		results = append(results, unread)
	}
	return results
}

func (c *call) last(s state) (all []next) {
	for _, got := range c.values(s) {
		all = append(all, next{state: s, got: got})
	}
	return all
}

func (c *call) updateStep(s state, p progress, end func(state, string) []next, on func(state, progress) []next) []next {
	if p.step == 1 {
		return c.last(s)
	}
	i := s.byID(c.id)
	if i < 0 {
		return end(s, notFound)
	}
	if c.name != "" && s.find(func(o *token) bool { return o.live && o.name == c.name && o.id != c.id }) >= 0 {
		return end(s, taken)
	}
	return on(s.with(i, func(t *token) {
		t.scopes = strings.Join(c.scopes, " ")
		if c.name != "" {
			t.name = c.name
		}
	}), p)
}

func (c *call) rotateStep(s state, p progress, end func(state, string) []next, on func(state, progress) []next) []next {
	if p.step == 2 {
		return c.last(s)
	}
	i := s.byID(c.id)
	switch {
	case i < 0:
		return end(s, notFound)
	case p.step == 0:
		p.memo = s[i].generation
		return on(s, p)
	case s[i].generation != p.memo:
		return end(s, conflict)
	}
	return on(s.with(i, func(t *token) {
		t.previous, t.current = "", c.newKey
		if c.grace > 0 {
			t.previous = s[i].current
		}
		t.generation++
	}), p)
}

// mintStep is a step of a mint: authentication, confirmation, creation, second look and undo.
func (c *call) mintStep(s state, p progress, end func(state, string) []next, on func(state, progress) []next) []next {
	var all []next
	refusal := ""
	got, i := s.accepts(c.key)
	switch {
	case got == invalid:
		refusal = "401"
	case !strings.Contains(s[i].scopes, manage) || p.step > 0 && (s[i].current != c.key || !covers(s[i].scopes, c.scopes)):
		refusal = "403"
	}
	switch p.step {
	case 0:
		if c.mayBeOutdated() {
			all = append(end(s, "401"), end(s, "403")...)
			return append(all, on(s, p)...)
		}
		if refusal != "" {
			return end(s, refusal)
		}
		return on(s, p)
	case 1:
		if refusal != "" {
			return end(s, refusal)
		}
		return on(s, p)
	case 2:
		made, ok := s.create(token{c.newOr(), c.name, strings.Join(c.scopes, " "), 1, true, c.newKey, ""})
		if !ok {
			return end(s, "409")
		}
		return on(made, p)
	case 3:
		if refusal == "" {
			all = end(s, "201")
		}
		if refusal != "" || c.faults { // a second look that fails leads to the undo too
			p.maker = cmp.Or(refusal, lost)
			all = append(all, on(s, p)...)
		}
		return all
	}
	if i := s.byID(c.newOr()); i >= 0 {
		s = s.with(i, func(t *token) { t.live = false })
	}
	return end(s, p.maker)
}

func covers(scopes string, all []string) bool {
	return !slices.ContainsFunc(all, func(scope string) bool { return !slices.Contains(strings.Fields(scopes), scope) })
}
