package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/internal/testing/load"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
)

// Junk logins from many addresses, more than the program can hash, must not prevent a user from
// signing in at a known place.
// Case L6.
func TestLoadJunkLoginsSpareKnownPlace(t *testing.T) {
	if !load.Long() {
		t.Skip("hashes passwords for a minute")
	}
	path := sqlite.File(t)
	beside(t, path, func(s service) {
		must.Get(s.users.save(t.Context(), demoName, must.Get(hashPasswordWith(fullIterations, testPassword)), false))
	})
	iterations = fullIterations // for unknown users
	t.Cleanup(func() { iterations = 1000 })
	p, _ := startEmpty(t, path, "-proxy")
	login := func(username, password, client string) int {
		form := url.Values{"username": {username}, "password": {password}, "expires_at": {time.Now().Add(time.Hour).Format(time.RFC3339)}}
		r := must.Get(http.NewRequest("POST", p.URL+"/api/login", strings.NewReader(form.Encode())))
		r.Header.Set("Content-Type", asForm)
		r.Header.Set("X-Forwarded-For", client)
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Error(err)
			return 0
		}
		_ = response.Body.Close()
		return response.StatusCode
	}
	const home = "192.0.2.1"
	require.Equal(t, http.StatusOK, login(demoName, testPassword, home))

	var mu sync.Mutex
	var all sync.WaitGroup
	junk := map[int]int{} // number of responses by status
	begin := time.Now()
	next := begin.Add(7 * time.Second) // by then, the queue is full of junk logins
	each := time.NewTicker(time.Second / 25)
	defer each.Stop()
	for i := 0; time.Since(begin) < time.Minute; i++ {
		<-each.C
		all.Go(func() {
			status := login(fmt.Sprint("nobody", i), "guess", fmt.Sprintf("203.%d.%d.%d", i>>16&255, i>>8&255, i&255))
			mu.Lock()
			defer mu.Unlock()
			junk[status]++
		})
		if time.Now().After(next) {
			next = next.Add(1300 * time.Millisecond)
			all.Go(func() {
				sent := time.Now()
				require.Equal(t, http.StatusOK, login(demoName, testPassword, home))
				t.Logf("signed in after %v", time.Since(sent))
			})
		}
	}
	all.Wait()
	require.Positive(t, junk[http.StatusServiceUnavailable],
		"the program must not be able to check all junk logins: %v", junk)
	t.Logf("junk: %v", junk)
}
