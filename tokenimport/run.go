package tokenimport

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/syntax"
)

// Options are the settings of [Run]. Every zero field is the default.
type Options struct {
	// DryRun has everything read and judged, and nothing stored. Report.Imported then
	// is what would be, but for what the store alone can tell: a key that is taken.
	DryRun bool

	// OnRefused is told of each row that is refused.
	OnRefused func(Refusal)

	// Progress is told, after each page of rows, how far it is.
	Progress func(Report)
}

// A Report counts rows of the source. After an error more may have been read than the
// others add up to.
type Report struct {
	Read     int
	Imported int // where two imports run at once, both may count a row
	Existing int // there from an earlier import, also rotated and revoked ones
	Refused  int
}

// A Refusal is a row that is not imported, and why.
type Refusal struct {
	Row    string // what it is known by, as "id=17" or "user_id=7 created=…": never the key
	Reason Reason
}

// A Reason says, for people, why a row is refused. Beside the constants of this package, it may
// be the field and the problem of a [tokenauth.SpecError], as "scopes must not contain an unknown
// scope", or the error of [SanctumOptions].Scopes.
type Reason string

func reasonOf(e *tokenauth.SpecError) Reason { return Reason(e.Field + " " + e.Problem) }

// Reasons.
const (
	ReasonNoUser    Reason = "no such user"
	ReasonInactive  Reason = "user is not active"
	ReasonExpired   Reason = "expired"
	ReasonMalformed Reason = "malformed key"
	ReasonTime      Reason = "unreadable time"
	ReasonYear      Reason = "a time outside the years 1 to 9999"
	ReasonKeyTaken  Reason = "key belongs to another user or origin"
	ReasonNameTaken Reason = "name was taken again and again"
)

// Run imports the tokens of a source, as the package's documentation says. opts may be
// nil. An error ends it: of the source, of the store, or of ctx;
// [tokenauth.ErrInvalidSpec] for options of the source that can't be. The report counts
// nothing that was not stored; run it again to go on.
func Run(ctx context.Context, m *tokenauth.Manager, s *Source, opts *Options) (Report, error) {
	r := &run{manager: m, origin: s.origin}
	if s.err != nil {
		return r.report, fmt.Errorf("tokenimport: %w: %w", tokenauth.ErrInvalidSpec, s.err)
	}
	if opts != nil {
		r.options = *opts
	}
	r.scopes = m.Scopes()
	var last any
	for {
		page, key, err := s.page(ctx, last)
		if err != nil {
			return r.report, fmt.Errorf("tokenimport: read source %s: %w", s.origin, err)
		}
		r.report.Read += len(page)
		if err := r.add(ctx, page); err != nil {
			return r.report, fmt.Errorf("tokenimport: %w", err)
		}
		if r.options.Progress != nil && len(page) > 0 {
			r.options.Progress(r.report)
		}
		if len(page) < pageSize {
			return r.report, nil
		}
		last = key
	}
}

// A run is a call of Run.
type run struct {
	manager *tokenauth.Manager
	origin  string
	options Options
	scopes  []string // the scopes that exist; empty: any
	report  Report
}

// add imports what of a page is new.
func (r *run) add(ctx context.Context, page []row) error {
	owners, err := r.owners(ctx, page)
	if err != nil {
		return err
	}
	var added []row
	for _, row := range page {
		row.spec.Name = tidy(row.spec.Name, r.origin)
		id := row.spec.ID()
		if owner, ok := owners[id]; ok {
			r.exists(row, owner)
		} else if reason := r.reason(row); reason != "" {
			r.refuse(row, reason)
		} else {
			owners[id] = row.spec.UserID
			added = append(added, row)
		}
	}
	if r.options.DryRun || len(added) == 0 {
		r.report.Imported += len(added)
		return nil
	}
	return r.store(ctx, added)
}

// owners returns whose the tokens are, by ID, that rows were imported as before.
func (r *run) owners(ctx context.Context, rows []row) (map[string]string, error) {
	ids := []string{} // not nil, which means any
	for i := range rows {
		if rows[i].spec.Origin != "" {
			ids = append(ids, rows[i].spec.ID())
		}
	}
	tokens, err := r.manager.List(ctx, tokenauth.Query{AllUsers: true, IDs: ids, IncludeRevoked: true})
	owners := map[string]string{}
	for i := range tokens {
		owners[tokens[i].ID] = tokens[i].UserID
	}
	return owners, err
}

// exists counts a row whose key is imported already. If it is another user's, somebody
// would sign in as that one.
func (r *run) exists(row row, owner string) {
	if owner != row.spec.UserID {
		r.refuse(row, ReasonKeyTaken)
		return
	}
	r.report.Existing++
}

func (r *run) refuse(row row, reason Reason) {
	r.report.Refused++
	if r.options.OnRefused != nil {
		r.options.OnRefused(Refusal{row.label, reason})
	}
}

// reason says why a row is refused, as far as is known before it is stored.
func (r *run) reason(row row) Reason {
	if row.refused != "" {
		return row.refused
	}
	if at := row.spec.ExpiresAt; !at.IsZero() && !at.After(r.manager.Now()) {
		return ReasonExpired
	}
	for _, t := range []time.Time{row.spec.CreatedAt, row.spec.ExpiresAt, row.spec.LastUsedAt} {
		if t.Year() < 1 || t.Year() > 9999 { // as the end of 9999 in a zone behind UTC is
			return ReasonYear
		}
	}
	// The Manager would say the same, but a dry run does not ask it.
	var invalid *tokenauth.SpecError
	if errors.As(r.manager.CheckUserID(row.spec.UserID), &invalid) {
		return reasonOf(invalid)
	}
	if _, err := syntax.Scopes(row.spec.Scopes, r.scopes); err != nil {
		return reasonOf(&tokenauth.SpecError{Field: "scopes", Problem: err.Error()})
	}
	return ""
}

const nameTries = 3

// store imports rows: at once, or by halves if something is in the way.
func (r *run) store(ctx context.Context, rows []row) error {
	if len(rows) == 0 {
		return nil
	}
	specs := make([]tokenauth.ImportSpec, len(rows))
	for i := range rows {
		specs[i] = rows[i].spec
	}
	_, err := r.manager.Import(ctx, specs...)
	for try := 0; errors.Is(err, tokenauth.ErrNameTaken) && try < nameTries; try++ {
		if err := r.rename(ctx, rows, specs); err != nil {
			return err
		}
		_, err = r.manager.Import(ctx, specs...)
	}
	var spec *tokenauth.SpecError
	var failed *tokenauth.RecordError
	switch half := len(rows) / 2; {
	case err == nil:
		r.report.Imported += len(rows)
		return nil
	case errors.Is(err, tokenauth.ErrUserUnknown) && errors.As(err, &failed) && errors.As(err, &spec):
		r.report.Imported += failed.Index
		r.refuse(rows[failed.Index], reasonOf(spec))
		return r.store(ctx, rows[failed.Index+1:])
	case half > 0 && isAnswer(err):
		if err := r.store(ctx, rows[:half]); err != nil {
			return err
		}
		return r.store(ctx, rows[half:])
	case errors.Is(err, tokenauth.ErrKeyTaken):
		return r.settle(ctx, rows)
	case errors.Is(err, tokenauth.ErrNameTaken):
		r.refuse(rows[0], ReasonNameTaken)
		return nil
	case errors.As(err, &spec):
		r.refuse(rows[0], reasonOf(spec))
		return nil
	}
	return err
}

// isAnswer reports whether err says that one of several rows can't be stored.
func isAnswer(err error) bool {
	for _, answer := range []error{tokenauth.ErrKeyTaken, tokenauth.ErrNameTaken, tokenauth.ErrInvalidSpec} {
		if errors.Is(err, answer) {
			return true
		}
	}
	return false
}

// settle judges the one row whose key is taken: by a token that another import added since
// and that was rotated, or by a token that has nothing to do with the row.
func (r *run) settle(ctx context.Context, rows []row) error {
	owners, err := r.owners(ctx, rows)
	if err != nil {
		return err
	}
	if owner, ok := owners[rows[0].spec.ID()]; ok {
		r.exists(rows[0], owner)
	} else {
		r.refuse(rows[0], ReasonKeyTaken)
	}
	return nil
}

// rename gives specs the names of rows, or free ones.
func (r *run) rename(ctx context.Context, rows []row, specs []tokenauth.ImportSpec) error {
	byUser := map[string]*names{}
	for i := range specs {
		user := specs[i].UserID
		if byUser[user] == nil {
			tokens, err := r.manager.List(ctx, tokenauth.Query{UserID: user})
			if err != nil {
				return err
			}
			byUser[user] = namesOf(tokens)
		}
		specs[i].Name = byUser[user].take(rows[i].spec.Name)
	}
	return nil
}
