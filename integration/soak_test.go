package integration

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
)

// What a service does all day must work on every engine under more contention than
// it will ever have: no error but 503, no lost or doubled token.
func TestLoad(t *testing.T) {
	for _, s := range setups {
		if !s.load {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			dbs := s.open(t)
			opts := newTable()
			opts.Timeout = 0 // the default
			var stores []tokenauth.Store
			for _, db := range dbs {
				stores = append(stores, newStore(t, db, s.dialect, opts))
			}
			l := startLoad(t, 64, 64, stores...)
			elapse(t, shortOrLong(5*time.Second, time.Minute))
			r := l.finish(t)
			r.requireSound(t)
			require.Greater(t, r.requests-r.refused, int64(100))
			require.Greater(t, r.changes-r.failed, int64(50))
		})
	}
}

// elapse lets a load run.
func elapse(t testing.TB, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}
