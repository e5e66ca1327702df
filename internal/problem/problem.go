// Package problem writes errors as problem+json (RFC 9457).
package problem

import (
	"encoding/json"
	"net/http"
)

// Write answers r with a status and, unless it is a HEAD request, a body that
// tells detail to the client.
func Write(w http.ResponseWriter, r *http.Request, status int, detail string) {
	body, err := json.Marshal(struct {
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}{http.StatusText(status), status, detail})
	if err != nil {
		panic("problem: " + err.Error()) // strings and a number
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(append(body, '\n')) // where the client is gone there is nobody to tell
	}
}
