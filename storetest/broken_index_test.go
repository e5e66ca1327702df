package storetest

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
)

// An indexBug is a defect in the index maintenance of a Store that the suite must detect.
type indexBug struct {
	name   string
	plant  func(*indexedStore) // adds the bug to a store
	breaks []string            // rules of the test cases that must fail on a store with the bug
}

const sameAnswer = "give the same answer from every method after "

// omitIf returns a function that breaks the index maintenance of a store. The method with the given
// name neither adds nor removes entries of the index if f returns true for the new record. If the
// method deletes a record, the argument of f is the deleted record.
func omitIf(method, index string, f func(r tokenauth.Record) bool) func(*indexedStore) {
	return func(s *indexedStore) {
		s.omits = func(step step, old, r *tokenauth.Record) bool {
			return step.method == method && step.index == index && f(*cmp.Or(r, old))
		}
	}
}

func always(tokenauth.Record) bool { return true }

func isEndless(r tokenauth.Record) bool { return r.Token.ExpiresAt.IsZero() }

func hasNoSlot(r tokenauth.Record) bool { return r.Slot == 0 }

// wasExpired reports whether the token of a revoked record had expired when it was revoked.
func wasExpired(r tokenauth.Record) bool { return r.Token.ExpiredAt(r.Token.RevokedAt) }

// afterChange returns a function that breaks the index maintenance of a store. After a change of
// the token old by the method with the given name, f may break the indices.
func afterChange(method string, f func(s *indexedStore, old, r tokenauth.Record, err error)) func(*indexedStore) {
	return func(s *indexedStore) {
		s.after = func(s *indexedStore, name string, old, r tokenauth.Record, err error) {
			if name == method {
				f(s, old, r, err)
			}
		}
	}
}

// free removes the index entries of a token's name and slot, even if another token has taken the
// name or the slot since then.
func (s *indexedStore) free(t tokenauth.Token, slot int) {
	s.indices[byName].remove(part(t.UserID) + part(t.Name))
	s.indices[bySlot].remove(part(t.UserID) + fmt.Sprint(slot))
}

const (
	revokedAgain  = sameAnswer + "a token is revoked again after a successor took its name and its slot"
	refused       = sameAnswer + "a change is refused"
	laterExpiry   = sameAnswer + "the expiry of a token moves to a later time"
	earlierExpiry = sameAnswer + "the expiry of a token moves to an earlier time"
	noExpiry      = sameAnswer + "the expiry of a token is removed"
	manyExpiries  = sameAnswer + "the expiry of a token changes several times"
	isRevokedAll  = sameAnswer + "RevokeAll revokes the tokens of another user"
	failedCreate  = sameAnswer + "Create of several records fails"
	isRevoked     = sameAnswer + "a token is revoked twice"
	isPruned      = sameAnswer + "expired, revoked and idle tokens are pruned"
	isTouched     = sameAnswer + "Touch moves LastUsedAt of tokens"

	isImportedChanged = sameAnswer + "imported tokens are changed, used and revoked"
	isChangedAndEnded = sameAnswer + "tokens are revoked and deleted after all their values have changed"
	isCombined        = sameAnswer + "tokens with each combination of values are changed and ended"
	isCreatedAgain    = sameAnswer + "records are created again after they were renamed and revoked"
)

// importedDies returns a function that breaks the index maintenance of a store. The method with the
// given name adds imported tokens to the index by which Prune finds expired and revoked tokens.
func importedDies(method string) func(*indexedStore) {
	return afterChange(method, func(s *indexedStore, _, r tokenauth.Record, err error) {
		if err == nil && isImported(r) {
			s.indices[byDeath].add(position(death(r.Token))+r.Token.ID, r.Token.ID)
		}
	})
}

// freesFirstName returns a function that breaks the index maintenance of a store. If a token was
// renamed, the method with the given name does not free its name.
func freesFirstName(method string) func(*indexedStore) {
	return func(s *indexedStore) {
		first := map[string]string{} // names by token ID
		s.omits = func(step step, old, r *tokenauth.Record) bool {
			if step.method == "Create" {
				first[r.Token.ID] = r.Token.Name
			}
			return step.method == method && step.index == byName && !step.adds && first[old.Token.ID] != old.Token.Name
		}
	}
}

var indexBugs = []indexBug{
	{"Update does not move the expiry", omitIf("Update", byDeath, always), []string{laterExpiry, earlierExpiry, noExpiry, manyExpiries}},
	{"Update does not remove an expiry that becomes never", omitIf("Update", byDeath, func(r tokenauth.Record) bool {
		return r.Token.ExpiresAt.IsZero()
	}), []string{noExpiry}},
	{"Update only moves the expiry to an earlier time", omitIf("Update", byDeath, func(r tokenauth.Record) bool {
		return r.Token.ExpiresAt.After(after(100)) // the expiry of the token before the change
	}), []string{laterExpiry}},
	{"Update to the same values removes entries", afterChange("Update", func(s *indexedStore, old, r tokenauth.Record, err error) {
		if err == nil && old.Token.Name == r.Token.Name && old.Token.ExpiresAt.Equal(r.Token.ExpiresAt) {
			s.indices[byName].remove(part(r.Token.UserID) + part(r.Token.Name))
		}
	}), []string{sameAnswer + "an update changes nothing"}},
	{"Update does not move the name of listed tokens", omitIf("Update", byAllNames, always), []string{
		sameAnswer + "a token is renamed", sameAnswer + "two tokens swap their names",
	}},
	{"Update of scopes removes the token from the list of its user", afterChange("Update", func(s *indexedStore, old, r tokenauth.Record, _ error) {
		if changes(old, tokenauth.Patch{Scopes: (*[]string)(&r.Token.Scopes)}) {
			s.indices[liveOfUser].remove(part(r.Token.UserID) + cursorKey(r.Token.Cursor()))
		}
	}), []string{sameAnswer + "the scopes of a token change"}},
	{"a refused Update moves the expiry", afterChange("Update", func(s *indexedStore, old, r tokenauth.Record, err error) {
		if err != nil {
			s.indices[byDeath].add(position(r.Token.ExpiresAt)+r.Token.ID, r.Token.ID)
		}
	}), []string{refused}},
	{"a refused Update takes the new name", afterChange("Update", func(s *indexedStore, old, r tokenauth.Record, err error) {
		if errors.Is(err, tokenauth.ErrConflict) {
			s.indices[byName].add(part(r.Token.UserID)+part(r.Token.Name), r.Token.ID)
		}
	}), []string{refused}},
	{"a refused Update frees the old name", afterChange("Update", func(s *indexedStore, old, r tokenauth.Record, err error) {
		if err != nil {
			s.indices[byName].remove(part(old.Token.UserID) + part(old.Token.Name))
		}
	}), []string{refused}},
	{"a refused Rotate forgets the retired digest", afterChange("Rotate", func(s *indexedStore, old, r tokenauth.Record, err error) {
		if err != nil && old.Retired != nil {
			s.indices[byDigest].remove(string(old.Retired.Digest[:]))
		}
	}), []string{refused}},
	{"Rotate keeps forgotten digests taken", omitIf("Rotate", byDigest, always), []string{
		sameAnswer + "a token is rotated", sameAnswer + "a token is rotated several times and a new token has its first digest",
	}},
	{"Revoke of a revoked token frees its name and slot again", afterChange("Revoke", func(s *indexedStore, old, r tokenauth.Record, err error) {
		if !isLive(old) && err == nil {
			s.free(old.Token, 7)
		}
	}), []string{revokedAgain}},
	{"RevokeExpired of a revoked token frees its name and slot again", afterChange("RevokeExpired", func(s *indexedStore, old, r tokenauth.Record, err error) {
		if !isLive(old) && err == nil {
			s.free(old.Token, 7)
		}
	}), []string{revokedAgain}},
	{"Revoke of a revoked token lists it as live", afterChange("Revoke", func(s *indexedStore, old, r tokenauth.Record, err error) {
		if !isLive(old) && err == nil {
			s.indices[liveOfUser].add(part(r.Token.UserID)+cursorKey(r.Token.Cursor()), r.Token.ID)
		}
	}), []string{isRevoked, revokedAgain}},
	{"Prune frees the name and the slot of a successor", func(s *indexedStore) {
		s.omits = func(step step, old, r *tokenauth.Record) bool {
			if step.method == "Prune" && !isLive(*old) {
				s.free(old.Token, 7)
			}
			return false
		}
	}, []string{revokedAgain, isRevoked}},
	{"Revoke leaves the expiry to be pruned", omitIf("Revoke", byDeath, always), []string{isRevoked}},
	{"RevokeExpired leaves the expiry to be pruned", omitIf("RevokeExpired", byDeath, always), []string{
		sameAnswer + "RevokeExpired revokes an idle token",
	}},
	{"RevokeExpired of an idle token leaves it as idle", omitIf("RevokeExpired", byLastUse, always), []string{
		sameAnswer + "RevokeExpired revokes an idle token", sameAnswer + "RevokeExpired revokes an expired token",
	}},
	{"tokens that RevokeAll revokes are never pruned", omitIf("RevokeAll", byDeath, always), []string{isRevokedAll}},
	{"RevokeAll does not free slots", omitIf("RevokeAll", bySlot, always), []string{isRevokedAll}},
	{"RevokeAll does not free names", omitIf("RevokeAll", byName, always), []string{isRevokedAll}},
	{"Create does not undo the names of a call that fails", omitIf("Create that fails", byName, always), []string{failedCreate}},
	{"a token that is created revoked is never pruned", omitIf("Create", byDeath, func(r tokenauth.Record) bool { return !isLive(r) }), []string{
		sameAnswer + "a record is created that is already revoked", isPruned,
	}},
	{"a token that is created with an expiry is never pruned", omitIf("Create", byDeath, isLive), []string{
		sameAnswer + "a token is created", isPruned,
	}},
	{"Revoke lets Prune delete an imported token", importedDies("Revoke"), []string{isImportedChanged}},
	{"RevokeExpired lets Prune delete an imported token", importedDies("RevokeExpired"), []string{isImportedChanged}},
	{"Update of the expiry lets Prune delete an imported token", importedDies("Update"), []string{isImportedChanged}},
	{"RevokeAll lets Prune delete imported tokens", func(s *indexedStore) {
		s.omits = func(step step, old, r *tokenauth.Record) bool {
			if step.method == "RevokeAll" && isImported(*r) {
				s.indices[byDeath].add(position(death(r.Token))+r.Token.ID, r.Token.ID)
			}
			return false
		}
	}, []string{isImportedChanged}},
	{"Rotate lets Prune delete an idle imported token", afterChange("Rotate", func(s *indexedStore, old, r tokenauth.Record, err error) {
		if err == nil && isImported(r) {
			s.indices[byLastUse].add(position(lastUse(r.Token))+r.Token.ID, r.Token.ID)
		}
	}), []string{isImportedChanged}},
	{"RevokeExpired frees the first name of a renamed token", freesFirstName("RevokeExpired"), []string{isChangedAndEnded}},
	{"RevokeAll frees the first names of renamed tokens", freesFirstName("RevokeAll"), []string{isChangedAndEnded}},
	{"Prune frees the first name of a renamed token", freesFirstName("Prune"), []string{isChangedAndEnded}},
	{"a repeated Create makes a token idle that was used", func(s *indexedStore) {
		s.again = func(r tokenauth.Record) {
			if now := s.records[r.Token.ID]; isLive(now) && !isImported(now) {
				s.indices[byLastUse].add(position(lastUse(r.Token))+r.Token.ID, r.Token.ID)
			}
		}
	}, []string{isCreatedAgain}},
	{"Touch lets Prune delete idle imported tokens", func(s *indexedStore) {
		s.used = func(r tokenauth.Record) {
			if isImported(r) && isLive(r) {
				s.indices[byLastUse].add(position(lastUse(r.Token))+r.Token.ID, r.Token.ID)
			}
		}
	}, []string{isImportedChanged}},
	{"a refused Revoke frees the name of another user's token", func(s *indexedStore) {
		s.foreign = func(r tokenauth.Record) { s.indices[byName].remove(part(r.Token.UserID) + part(r.Token.Name)) }
	}, []string{refused}},
	{"Revoke of an expired token does not free its name", omitIf("Revoke", byName, wasExpired), []string{freesExpired}},
	{"Revoke of an expired token does not free its slot", omitIf("Revoke", bySlot, wasExpired), []string{freesExpired}},
	{"RevokeAll does not free the names of expired tokens", omitIf("RevokeAll", byName, wasExpired), []string{revokesAll}},
	{"RevokeAll does not free the slots of expired tokens", omitIf("RevokeAll", bySlot, wasExpired), []string{revokesAll}},
	{"RevokeAll does not free the names of tokens that never expire", omitIf("RevokeAll", byName, isEndless), []string{isCombined}},
	{"RevokeExpired does not remove tokens that never expire from the list of live tokens", omitIf("RevokeExpired", liveOfUser, isEndless), []string{isCombined}},
	{"an idle token that never expires is never pruned after RevokeExpired", omitIf("RevokeExpired", byDeath, isEndless), []string{isCombined}},
	{"Update does not free the old name of an imported token", omitIf("Update", byName, isImported), []string{isCombined}},
	{"Update does not move the expiry of a token without a slot", omitIf("Update", byDeath, hasNoSlot), []string{isCombined}},
	{"Revoke does not free the slot of an imported token", omitIf("Revoke", bySlot, isImported), []string{isCombined}},
	{"Touch does not move the last use", omitIf("Touch", byLastUse, always), []string{isTouched}},
	{"a token that is created revoked is pruned when it is idle", func(s *indexedStore) {
		s.omits = func(step step, old, r *tokenauth.Record) bool {
			if step.method == "Create" && !isLive(*r) && step.index == allOfAll {
				s.indices[byLastUse].add(position(lastUse(r.Token))+r.Token.ID, r.Token.ID)
			}
			return false
		}
	}, []string{isTouched}},
}

// Each step of index maintenance must have a test case that fails if a store omits the step.
// Otherwise the suite would pass a store whose Prune deletes live tokens, or in which a revoked
// token holds its name.
func TestEveryStepOfIndexMaintenanceIsTested(t *testing.T) {
	if testing.Short() {
		t.Skip("takes several seconds")
	}
	t.Parallel()
	done := map[step]bool{}
	for _, c := range indexCases {
		s := newIndexedStore()
		s.omits = func(step step, _, _ *tokenauth.Record) bool {
			done[step] = true
			return false
		}
		require.Empty(t, failureOf(t.Context(), c, s))
	}
	require.Greater(t, len(done), 50)
	for omitted := range done {
		for _, isStrict := range []bool{true, false} {
			t.Run(fmt.Sprint(omitted, " strict ", isStrict), func(t *testing.T) {
				t.Parallel()
				for _, c := range indexCases {
					s := newIndexedStore()
					s.isStrict = isStrict
					s.omits = func(step step, _, _ *tokenauth.Record) bool { return step == omitted }
					if message := failureOf(t.Context(), c, s); message != "" {
						require.True(t, strings.HasPrefix(message, "a Store should "+c.should+", but "), message)
						return
					}
				}
				require.Fail(t, "no test case fails")
			})
		}
	}
}
