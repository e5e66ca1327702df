// Package challenge writes error responses: their WWW-Authenticate challenges (RFC 9110 section
// 11.6.1) and their problem details (RFC 9457).
package challenge

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// A Problem is an error together with the response to the client.
type Problem struct {
	Status int     `json:"status"`
	Detail string  `json:"detail"`           // the explanation for the client
	Errors []Field `json:"errors,omitempty"` // invalid members of the body and invalid parameters of the query

	// NonFieldErrors repeats Detail under the name that clients of Django REST Framework read.
	NonFieldErrors []string `json:"non_field_errors,omitempty"`

	// If Challenge is true, the response asks the client for another key, with one WWW-Authenticate
	// challenge per scheme. Attributes is the text after the realm in each challenge (RFC 6750
	// section 3).
	Challenge  bool   `json:"-"`
	Attributes string `json:"-"`

	// Name and Value are an additional header of the response. If Name is empty, there is no
	// additional header.
	Name  string `json:"-"`
	Value string `json:"-"`

	Cause error `json:"-"` // the internal error; nil if the client made the mistake
}

// A Field says what is wrong with one member of the body or one parameter of the query. Its form is
// that of the example in RFC 9457 section 3.
type Field struct {
	Detail    string `json:"detail"`
	Pointer   string `json:"pointer,omitempty"`   // JSON Pointer (RFC 6901) to the member
	Parameter string `json:"parameter,omitempty"` // name of the parameter
}

// New returns a Problem with a detail for the client.
func New(status int, detail string) *Problem { return &Problem{Status: status, Detail: detail} }

// Member returns a Problem about one invalid member of the body.
func Member(status int, member, detail string) *Problem {
	p := New(status, member+": "+detail+".")
	p.Errors = []Field{{Detail: detail, Pointer: "#/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(member)}}
	return p
}

// Parameter returns a Problem about one invalid parameter of the query.
func Parameter(name, detail string) *Problem {
	p := New(http.StatusBadRequest, name+": "+detail+".")
	p.Errors = []Field{{Detail: detail, Parameter: name}}
	return p
}

// Unavailable returns the Problem for a failure of the store or of a function of the service.
func Unavailable(cause error) *Problem {
	p := New(http.StatusServiceUnavailable, "The service is not available at the moment. Try again.")
	p.Cause = cause
	return p.With("Retry-After", "2")
}

// Uncertain returns the error of a request to change a token. If status is not 503, Uncertain
// returns err. If status is 503, the change may have been made, and Uncertain returns a Problem
// without Retry-After. The client must not repeat the request automatically, because each
// repetition could create one more key.
func Uncertain(err error, status int) error {
	if status != http.StatusServiceUnavailable {
		return err
	}
	return &Problem{Status: status, Detail: "The change may have been made. Check before you repeat the request.", Cause: err}
}

// With sets the additional header of p and returns p.
func (p *Problem) With(name, value string) *Problem {
	p.Name, p.Value = name, value
	return p
}

// NotAllowed returns the Problem for a path that serves only the given methods.
func NotAllowed(methods ...string) *Problem {
	allow := strings.Join(slices.Sorted(slices.Values(methods)), ", ")
	return New(http.StatusMethodNotAllowed, "The method is not allowed here.").With("Allow", allow)
}

// Error returns the text for the log. This is the text of Cause, or Detail if Cause is nil.
func (p *Problem) Error() string {
	if p.Cause != nil {
		return p.Cause.Error()
	}
	return p.Detail
}

// Unwrap returns Cause.
func (p *Problem) Unwrap() error { return p.Cause }

// SetHeader sets the headers of the response, except Content-Type. It adds one WWW-Authenticate
// header per scheme, because some clients cannot read two challenges in one header.
func (p *Problem) SetHeader(h http.Header, schemes []string, realm string) {
	if p.Challenge {
		for _, scheme := range schemes {
			h.Add("WWW-Authenticate", scheme+` realm="`+realm+`"`+p.Attributes)
		}
	}
	if p.Name != "" {
		h.Set(p.Name, p.Value)
	}
	for _, name := range []string{"Content-Encoding", "Content-Length", "Etag", "Last-Modified"} {
		h.Del(name) // a handler may have set it for another body
	}
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
}

// Write writes the status and, unless r is a HEAD request, the body.
func (p *Problem) Write(w http.ResponseWriter, r *http.Request) {
	body, err := json.Marshal(struct {
		Title string `json:"title"`
		*Problem
	}{http.StatusText(p.Status), p})
	if err != nil {
		panic("challenge: " + err.Error()) // Marshal returns no error for strings and numbers
	}
	WriteJSON(w, r, "application/problem+json", p.Status, body)
}

// WriteJSON writes the status, the media type and, unless r is a HEAD request, the body.
func WriteJSON(w http.ResponseWriter, r *http.Request, mediaType string, status int, body []byte) {
	w.Header().Set("Content-Type", mediaType)
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(append(body, '\n')) // Write fails only if the client has disconnected
	}
}
