package redisstore

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/integration/servers"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/storecache"
	"github.com/go-tokenauth/tokenauth/storetest"
)

// The example must keep the contract of Store, because readers copy its code.
func TestStore(t *testing.T) {
	t.Parallel()
	server := servers.Started(t, shared)
	for name, wrap := range map[string]func(tokenauth.Store) tokenauth.Store{
		"plain":      func(s tokenauth.Store) tokenauth.Store { return s },
		"with cache": func(s tokenauth.Store) tokenauth.Store { return must.Get(storecache.New(s, nil)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, func(t *testing.T) tokenauth.Store { return wrap(newStore(t, server)) })
		})
	}
}

// In a cluster, a script fails if its keys are on several nodes. All keys of the store must
// therefore have the same hash slot.
func TestAllKeysHaveOneHashSlot(t *testing.T) {
	t.Parallel()
	store := newStore(t, startOwn(t, "cluster-enabled yes"))
	client := store.client
	require.NoError(t, client.ClusterAddSlotsRange(t.Context(), 0, 16383).Err())
	fixture.Await(t, "the cluster is up", func() bool { return client.Set(t.Context(), "another key", 1, 0).Err() == nil })
	m := newManager(store)
	issue(t, m, "anna", 3)
	issue(t, m, "bob", 3)
	must.Get(m.RevokeAll(t.Context(), "bob"))

	slot := must.Get(client.ClusterKeySlot(t.Context(), store.prefix).Result())
	inSlot := must.Get(client.ClusterCountKeysInSlot(t.Context(), int(slot)).Result())
	require.Equal(t, must.Get(client.DBSize(t.Context()).Result())-1, inSlot)
	require.Greater(t, inSlot, int64(10))
}

// If Create cannot add one of many tokens, the error must give the position of this token.
func TestCreateNamesConflictingRecord(t *testing.T) {
	t.Parallel()
	store := newStore(t, servers.Started(t, shared))
	records := recordsOf("anna", 5)
	records[3].Token.Name = records[1].Token.Name
	err := store.Create(t.Context(), records...)
	require.ErrorIs(t, err, tokenauth.ErrNameTaken)
	conflict, ok := errors.AsType[*tokenauth.RecordError](err)
	require.True(t, ok)
	require.Equal(t, 3, conflict.Index)
}

// Redis serves no other client while a script runs. Therefore Prune runs the script for 1,000
// tokens at a time. It must also delete the tokens after the first 1,000.
func TestPruneDeletesManyTokens(t *testing.T) {
	t.Parallel()
	store := newStore(t, servers.Started(t, shared))
	dead, idle, used := recordsOf("anna", 1500), recordsOf("anna", 1500), recordsOf("anna", 1500)
	for i := range dead {
		dead[i].Token.ExpiresAt = fixture.Start
		used[i].Token.LastUsedAt = fixture.Start.AddDate(1, 0, 0)
	}
	for _, records := range [][]tokenauth.Record{dead, used, idle} {
		require.NoError(t, store.Create(t.Context(), records...))
	}
	for _, want := range []int{2500, 500, 0} {
		n, err := store.Prune(t.Context(), fixture.Start.AddDate(0, 1, 0), fixture.Start, 2500)
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
	left, err := store.List(t.Context(), tokenauth.Query{UserID: "anna"})
	require.NoError(t, err)
	require.Len(t, left, len(used))
}
