package tokenpage_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenpage"
)

// The list of a user with 10,000 tokens must have pages of limited size. Together, the pages must
// contain each token once.
// Case W8.
func TestListPagesThroughManyTokens(t *testing.T) {
	if testing.Short() {
		t.Skip("imports 10,000 tokens")
	}
	t.Parallel()
	const many = 10_000
	s := newSite(t, &tokenauth.Options{MaxPerUser: -1}, nil)
	specs := make([]tokenauth.ImportSpec, many)
	for i := range specs {
		specs[i] = tokenauth.ImportSpec{UserID: "anna", Name: "token " + strconv.Itoa(i), Origin: "old", Digest: tokenauth.DigestOf(strconv.Itoa(i)),
			CreatedAt: s.Clock.Now().Add(time.Duration(i-many) * time.Second)}
	}
	_, err := s.Manager.Import(t.Context(), specs...)
	require.NoError(t, err)
	for at, i := prefix, 0; ; {
		p := s.get(at)
		for range 100 {
			require.Contains(t, p.body, "<bdi>token "+strconv.Itoa(i)+"</bdi>")
			i++
		}
		require.Less(t, len(p.body), 200<<10)
		if i == many {
			require.NotContains(t, p.body, "Next page")
			require.Equal(t, prefix, p.link(t, at, "First page"))
			return
		}
		if i == 300 {
			i = many - 100 // skip pages that are like the other pages
			at = prefix + "?after=" + cursorAt(t, specs[i-1].CreatedAt, "ZZZZ")
			continue
		}
		at = p.link(t, at, "Next page")
	}
}

// A cursor comes from a link, so a client can change it. A malformed cursor must be refused, and a
// forged one must show no tokens of other users.
// Case W8.
func TestMalformedCursorIsRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	for _, text := range []string{
		"1", "1.", ".A", "1.\x00", "1.a b", "99999999999999999999.A", "9223372036854775807.A", "-9223372036854775808.A", "1.A.B",
	} {
		require.Equal(t, http.StatusBadRequest, s.get("?after="+base64.RawURLEncoding.EncodeToString([]byte(text))).Code, text)
	}
	for _, after := range []string{"x", "1.A", "%00", "MS5B%3D"} {
		require.Equal(t, http.StatusBadRequest, s.get("?after="+after).Code, after)
	}
	require.Contains(t, s.get("?after="+cursorAt(t, time.UnixMicro(1800000000000000), "A")).text(), "There are no tokens here.")
}

// cursorAt returns the text form of a cursor.
func cursorAt(t *testing.T, at time.Time, id string) string {
	t.Helper()
	text, err := tokenauth.Cursor{CreatedAt: at, ID: id}.MarshalText()
	require.NoError(t, err)
	return string(text)
}

// The clock of the process that created a token may be ahead of the clock of the process that shows
// it. The page must not show a time of creation in the future.
func TestFutureCreationIsShownAsNow(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop"})
	behind := fixture.NewManager(s.Store, &tokenauth.Options{Now: func() time.Time { return s.Clock.Now().Add(-time.Millisecond) }})
	page := must.Get(tokenpage.New(behind, func(*http.Request) (string, error) { return "anna", nil }, nil))
	w := httptest.NewRecorder()
	page.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	require.Contains(t, w.Body.String(), "just now")
	require.NotContains(t, w.Body.String(), "in a moment")
}

// The list must mark tokens that expired or expire soon. A token that was issued for a short time
// must not be marked at once. The list must not offer to rotate an expired token.
func TestListMarksExpiry(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	now := s.Clock.Now()
	s.Clock.Advance(-30 * day)
	s.issue(tokenauth.Spec{UserID: "anna", Name: "near", ExpiresAt: now.Add(8 * day)})
	s.issue(tokenauth.Spec{UserID: "anna", Name: "far", ExpiresAt: now.Add(9*day + time.Hour)})
	s.Clock.Advance(30 * day)
	s.issue(tokenauth.Spec{UserID: "anna", Name: "past", ExpiresAt: now.Add(time.Hour)})
	s.issue(tokenauth.Spec{UserID: "anna", Name: "for a week", ExpiresAt: now.Add(7 * day)})
	s.issue(tokenauth.Spec{UserID: "anna", Name: "endless", NoExpiry: true})
	s.Clock.Advance(day + time.Hour)
	text := s.get("").text()
	require.Contains(t, text, "past Expired No scopes")
	require.Contains(t, text, "Expired 24 hours ago 1 Mar 2026")
	require.Contains(t, text, "near Expires soon No scopes")
	require.Contains(t, text, "Expires in 7 days 9 Mar 2026")
	require.Contains(t, text, "far No scopes")
	require.Contains(t, text, "for a week No scopes", "the token was issued yesterday for a week")
	require.Contains(t, text, "Expires Never Last used Never")
	require.NotContains(t, text, "Rotate past", "the Manager refuses to rotate an expired token")
	require.Contains(t, text, "Revoke past")
}

// The keys of a token that was unused for too long are refused. The list must say so, and must not
// show the later expiry as the reason.
func TestListMarksIdleTokens(t *testing.T) {
	t.Parallel()
	s := newSite(t, &tokenauth.Options{IdleTimeout: 7 * day}, nil)
	_, token := s.issue(tokenauth.Spec{UserID: "anna", Name: "idle", ExpiresAt: s.Clock.Now().Add(30 * day)})
	s.issue(tokenauth.Spec{UserID: "anna", Name: "expired", ExpiresAt: s.Clock.Now().Add(day)})
	s.Clock.Advance(7*day - time.Second)
	s.issue(tokenauth.Spec{UserID: "anna", Name: "new"})
	require.Contains(t, s.get("").text(), "idle No scopes")
	s.Clock.Advance(time.Second)
	for _, path := range []string{"", "history"} {
		text := s.get(path).text()
		require.Contains(t, text, "idle Unused for too long No scopes")
		require.Contains(t, text, "Created 7 days ago 1 Mar 2026 Expires in 23 days 31 Mar 2026")
		require.Contains(t, text, "expired Expired No scopes")
		require.Contains(t, text, "new No scopes")
		require.NotContains(t, text, "Rotate idle", "the Manager refuses to rotate an idle token")
		require.NotContains(t, text, "Rename idle")
		require.Contains(t, text, "Revoke idle")
	}
	require.Contains(t, s.get(token.ID+"/revoke").text(), "idle Unused for too long")
}
