package systemtest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
)

// fillSlots gives the user a live token in each slot from first to last. All of these tokens expire
// at the given time.
func fillSlots(t *testing.T, store tokenauth.Store, first, last int, expiresAt time.Time) {
	var records []tokenauth.Record
	for slot := first; slot <= last; slot++ {
		r := fixture.NewRecord(fmt.Sprint("slot ", slot))
		r.Token.UserID, r.Slot, r.Token.ExpiresAt = "u", slot, expiresAt
		records = append(records, r)
	}
	for len(records) > 0 {
		n := min(500, len(records))
		require.NoError(t, store.Create(ctx, records[:n]...))
		records = records[n:]
	}
}

// A service may allow thousands of tokens per user. As long as slots are free, concurrent calls of
// Issue must all succeed, and when none is free, all must return ErrTooManyTokens.
func TestIssueTakesLastSlotsOfLargeLimit(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("creates thousands of tokens")
	}
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		const limit, free = 1000, 20
		fillSlots(t, store, 1, limit-free, time.Time{})
		m := fixture.NewManager(store, &tokenauth.Options{MaxPerUser: limit})
		issued := fixture.Together(free, func(i int) bool {
			_, _, err := m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: fmt.Sprint("new ", i)})
			return err == nil
		})
		require.Equal(t, free, issued)
		_, _, err := m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: "one more"})
		require.ErrorIs(t, err, tokenauth.ErrTooManyTokens)
		_, _, err = m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: "new 0"})
		require.ErrorIs(t, err, tokenauth.ErrNameTaken)
		require.NoError(t, m.Revoke(ctx, "u", fixture.NewRecord("slot 700").Token.ID))
		_, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "in slot 700"})
		r, err := store.List(ctx, tokenauth.Query{UserID: "u", MinSlot: 700, MaxSlot: 700})
		require.NoError(t, err)
		require.Equal(t, token.ID, r[0].Token.ID)
	})
}

// If all slots of a large limit are taken, but tokens have expired, concurrent calls of Issue must
// replace the expired tokens. If the service has lowered the limit, the user must not get more
// tokens than the new limit allows.
func TestIssueReplacesExpiredTokensOfLargeLimit(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("creates thousands of tokens")
	}
	for name, limit := range map[string]int{"same limit": 600, "lowered": 590, "lowered below the valid tokens": 300} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
				clock := fixture.NewClock()
				fillSlots(t, store, 1, 300, fixture.Start.Add(2*time.Hour))
				fillSlots(t, store, 301, 320, fixture.Start.Add(time.Hour))
				fillSlots(t, store, 321, 600, fixture.Start.Add(2*time.Hour))
				clock.Set(fixture.Start.Add(time.Hour))
				m := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now, MaxPerUser: limit})
				issued := 0
				for i := range 21 {
					_, _, err := m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: fmt.Sprint(i)})
					if err != nil {
						require.ErrorIs(t, err, tokenauth.ErrTooManyTokens)
						break
					}
					issued++
				}
				require.Equal(t, max(0, limit-580), issued)
				valid := 0
				live, err := m.List(ctx, tokenauth.Query{UserID: "u"})
				require.NoError(t, err)
				for i := range live {
					if !m.Expired(&live[i]) {
						valid++
					}
				}
				require.Equal(t, 580+issued, valid)
			})
		})
	}
}

// The cost of Issue must not depend on the number of the user's tokens. Otherwise a user with many
// tokens that hold no slot, or with a long history, could slow down the service.
func TestIssueReadsFewRecords(t *testing.T) {
	t.Parallel()
	store := fixture.NewStore()
	m := fixture.NewManager(store, nil)
	var records []tokenauth.Record
	for i := range 5000 {
		r := fixture.NewRecord(fmt.Sprint("old ", i))
		r.Token.UserID, r.Slot = "u", 0
		if i%2 == 0 {
			r.Token.RevokedAt = fixture.Start
		}
		records = append(records, r)
	}
	require.NoError(t, store.Create(ctx, records...))
	counted := &countingStore{Store: store}
	m = m.WithStore(counted, nil)
	fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "new"})
	_, _, err := m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: "old 1"})
	require.ErrorIs(t, err, tokenauth.ErrNameTaken)
	require.NoError(t, m.Close(ctx))
	require.LessOrEqual(t, counted.records, 3)
}

// If a service has lowered MaxPerUser by a little, many tokens hold slots above the limit one after
// another. Issue must nevertheless read each token once. Otherwise a single user could slow down
// the service.
func TestIssueReadsTokensOnceAfterLimitIsLowered(t *testing.T) {
	t.Parallel()
	store := fixture.NewStore()
	fillSlots(t, store, 1, 1000, time.Time{})
	counted := &countingStore{Store: store}
	m := fixture.NewManager(counted, &tokenauth.Options{MaxPerUser: 999})
	_, _, err := m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: "new"})
	require.ErrorIs(t, err, tokenauth.ErrTooManyTokens)
	require.LessOrEqual(t, counted.records, 1002)
}

// A countingStore counts the records that List returns. It is not safe for concurrent use.
type countingStore struct {
	tokenauth.Store
	records int
}

func (s *countingStore) List(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
	records, err := s.Store.List(ctx, q)
	s.records += len(records)
	return records, err
}
