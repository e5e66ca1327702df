package tokenauth

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/go-tokenauth/tokenauth/internal/challenge"
)

// A Resource is something that a token can be restricted to, such as a project.
type Resource struct {
	ID    string // what [Token].Resources and [Need].Resources contain
	Label string // name of the resource for people; if empty, they see the ID
}

// Allows reports whether the token may be used for a resource. Resources are compared exactly. A
// token whose Resources are nil may be used for each resource. For an empty resource, Allows
// returns false.
//
// Call Allows only for a token that a [Manager] or an [Authenticator] returned. In a token decoded
// from JSON, for example, Resources may be nil because a member is missing.
func (t *Token) Allows(resource string) bool {
	return resource != "" && (t.Resources == nil || slices.Contains(t.Resources, resource))
}

// lacks reports whether the token is restricted to resources that do not include all of need. If
// need is empty, each restricted token lacks it.
func (t *Token) lacks(need []string) bool {
	return t.Resources != nil && (len(need) == 0 || slices.ContainsFunc(need, func(r string) bool { return !t.Allows(r) }))
}

// HasResources reports whether [Options].Resources is set, so that tokens can be restricted.
func (m *Manager) HasResources() bool { return m.options.Resources != nil }

// Resources returns the result of [Options].Resources for a user. If that option is nil, there are
// no resources. If the function returns an error, Resources returns an error that wraps it and
// whose [StatusCode] is 503.
func (m *Manager) Resources(ctx context.Context, userID string) ([]Resource, error) {
	if !m.HasResources() {
		return nil, nil
	}
	resources, err := m.options.Resources(ctx, userID)
	if err != nil {
		return nil, challenge.Unavailable(fmt.Errorf("tokenauth: Options.Resources: %w", err))
	}
	return resources, nil
}

// checkResources returns an error unless a token of the user may be restricted to the resources,
// which are well-formed. Nil means all resources.
func (m *Manager) checkResources(ctx context.Context, userID string, resources []string) error {
	if resources == nil {
		return nil
	}
	if !m.HasResources() {
		return &SpecError{"resources", "must not be set, because the service offers none"}
	}
	offered, err := m.Resources(ctx, userID)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for i := range offered {
		known[offered[i].ID] = true
	}
	for _, id := range resources {
		if !known[id] {
			return &SpecError{"resources", "must not contain an unknown resource"}
		}
	}
	return nil
}

// A ResourceError means that the token is restricted to resources, and that the request requires
// another resource or names none. A ResourceError wraps [ErrInsufficientScope].
type ResourceError struct {
	Resources []string // all resources that the request requires; none if it names none
}

// Error lists the required resources.
func (e *ResourceError) Error() string {
	if len(e.Resources) == 0 {
		return errOtherResource.Error() + ": the request names none"
	}
	return fmt.Sprintf("%v: need %q", errOtherResource, e.Resources)
}

// Unwrap returns an error that wraps [ErrInsufficientScope].
func (e *ResourceError) Unwrap() error { return errOtherResource }

// unrestricted refuses a token that is restricted to resources, for a request that names none.
func unrestricted(_ *http.Request, t *Token, _ bool) error {
	if t.lacks(nil) {
		return &ResourceError{}
	}
	return nil
}
