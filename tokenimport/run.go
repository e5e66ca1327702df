package tokenimport

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/syntax"
)

// Options are the settings of [Run]. The zero value runs a complete import.
type Options struct {
	// DryRun makes Run read and check all rows without storing a token. Report.Imported then counts
	// the rows that a real run would try to import. A real run may refuse some of these rows, for
	// example if another token has the key.
	DryRun bool

	// OnRefused receives each refused row. Run calls it in the goroutine that called Run. If nil,
	// Run only counts the refused rows.
	OnRefused func(Refusal)

	// Progress receives the report so far after each page of rows. Run calls it in the goroutine
	// that called Run. If nil, Run reports no progress.
	Progress func(Report)
}

// A Report counts the rows of the source. If Run returns no error, Read is the sum of Imported,
// Existing and Refused. After an error, Read may be greater than the sum.
type Report struct {
	Read     int
	Imported int // new tokens; two concurrent runs may both count a row
	Existing int // rows that an earlier run imported, even if their tokens were rotated or revoked
	Refused  int
}

// A Refusal identifies a row that Run refused, with the reason.
type Refusal struct {
	Row    string // identifies the row, as in "id=17" or "user_id=7 created=…"; never contains the key
	Reason Reason
}

// A Reason says why Run refused a row, as a text for people. It is one of these texts:
//
//   - A constant of this package.
//   - The field and the problem of a [tokenauth.SpecError], such as "scopes must not contain an
//     unknown scope".
//   - The text of an error that [SanctumOptions].Scopes returned.
type Reason string

func reasonOf(e *tokenauth.SpecError) Reason { return Reason(e.Field + " " + e.Problem) }

// Reasons to refuse a row of any source.
const (
	ReasonNoUser    Reason = "no such user"
	ReasonInactive  Reason = "user is not active"
	ReasonExpired   Reason = "expired"
	ReasonMalformed Reason = "malformed key"
	ReasonTime      Reason = "unreadable time"
	ReasonYear      Reason = "time outside the years 1 to 9999"
	ReasonKeyTaken  Reason = "key belongs to a token of another user or origin"
	ReasonNameTaken Reason = "each name that was tried is taken"
)

// Run imports the tokens of a source into the store of m, according to the rules in the package
// comment. If opts is nil, Run uses the zero value. Refused rows cause no error.
//
// Run stops at the first error of the source, the store or ctx, and returns it with the report so
// far. The error wraps [tokenauth.ErrInvalidSpec] if the options of the source are invalid. After
// an error, the rows that the report counts as imported are stored. To import the other rows, call
// Run again.
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

// A run holds the state of one call of Run.
type run struct {
	manager *tokenauth.Manager
	origin  string
	options Options
	scopes  []string // scopes that the Manager knows; if empty, every scope is allowed
	report  Report
}

// add imports the new rows of a page.
func (r *run) add(ctx context.Context, page []row) error {
	owners, err := r.owners(ctx, page)
	if err != nil {
		return err
	}
	var added []row
	for _, row := range page {
		row.spec.Name = cleaned(row.spec.Name, r.origin)
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

// owners returns the user IDs of the tokens that earlier runs imported from the rows, by token ID.
func (r *run) owners(ctx context.Context, rows []row) (map[string]string, error) {
	ids := []string{} // not nil, because nil selects all tokens
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

// exists counts a row whose key is already imported. It refuses the row if the token belongs to
// another user, because the key signs in that user.
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

// reason returns the reason to refuse a row, as far as it is known without a call of the store. It
// returns the empty string if the row may be imported.
func (r *run) reason(row row) Reason {
	if row.refused != "" {
		return row.refused
	}
	if at := row.spec.ExpiresAt; !at.IsZero() && !at.After(r.manager.Now()) {
		return ReasonExpired
	}
	for _, t := range []time.Time{row.spec.CreatedAt, row.spec.ExpiresAt, row.spec.LastUsedAt} {
		if t.Year() < 1 || t.Year() > 9999 { // the end of 9999 in a zone behind UTC is in the year 10000
			return ReasonYear
		}
	}
	// Manager.Import makes the same checks, but a dry run does not call it.
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

// store imports rows with one call of the Manager. If a row conflicts with a token or is invalid,
// store imports each half of the rows with calls of its own.
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
	case half > 0 && isRefusal(err):
		if err := r.store(ctx, rows[:half]); err != nil {
			return err
		}
		return r.store(ctx, rows[half:])
	case errors.Is(err, tokenauth.ErrKeyTaken):
		return r.keyTaken(ctx, rows)
	case errors.Is(err, tokenauth.ErrNameTaken):
		r.refuse(rows[0], ReasonNameTaken)
		return nil
	case errors.As(err, &spec):
		r.refuse(rows[0], reasonOf(spec))
		return nil
	}
	return err
}

// isRefusal reports whether err means that the Manager refused one of several rows. Any other error
// means that the store failed.
func isRefusal(err error) bool {
	for _, refusal := range []error{tokenauth.ErrKeyTaken, tokenauth.ErrNameTaken, tokenauth.ErrInvalidSpec} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}

// keyTaken counts a row that caused ErrKeyTaken. If a concurrent run has imported the row and the
// token was rotated since, the row exists. Otherwise, another token has the key, and keyTaken
// refuses the row.
func (r *run) keyTaken(ctx context.Context, rows []row) error {
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

// rename sets the name of each spec to the name of its row. If the user has a live token with that
// name, rename adds a number.
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
