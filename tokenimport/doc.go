// Package tokenimport moves tokens here from another system, so that no client needs
// a new key. A [Source] reads that system's tables, [Run] imports what it reads, and a
// LegacyFormat recognizes the keys from then on:
//
//	tokens, err := tokenauth.New(store, "acme", &tokenauth.Options{
//		Legacy: []tokenauth.LegacyFormat{tokenimport.DRFFormat()},
//	})
//	report, err := tokenimport.Run(ctx, tokens, tokenimport.DRF(db, tokenauth.PostgreSQL, nil), nil)
//
// An imported key works until its token is rotated, which gives it a key of this
// library's own, or revoked. Once [Remaining] finds no more, and the grace of
// each rotation is over, the format can go.
//
// # Rules
//
// Run may be run again, at any time and beside another: a row that was imported before
// is left as it is, and counts as existing, whatever became of the token here (rotated,
// renamed, revoked, expired) or of the row and its user there. One that was
// interrupted is completed so. Nothing is ever changed in the source.
//
// Of the other rows these are refused; each is imported by a later run if its cause is gone:
//
//   - the user is not there, or is not active;
//   - the token has expired;
//   - the key, or its digest, is not of the form that the system makes;
//   - a time can't be read, or is outside the years 1 to 9999: it is never taken for "no expiry";
//   - the key is already another user's, or a token's of another origin;
//   - the user's ID, or a scope, is not one that the Manager allows.
//
// A name is trimmed and loses what a name must not hold: control, bidi and invisible characters,
// and all beyond 64. One that is empty then, or that the source does not have, is the origin's
// ("drf"). If another live token of the user has the name, it gets a number: "laptop (2)".
//
// Imported tokens do not count towards MaxPerUser, and DefaultTTL and MaxTTL do not
// apply to them. IdleTimeout does: DRF and knox keep no last uses, so where it is set, a
// token that is older is refused at once. Set it once the service has run for as long.
//
// Rows are read in pages of 500, in the order of a unique column with an index, and what is
// new of a page is stored in one call, all or none. So a run takes the same memory for any
// number of rows, and source and store may be one database, with a single connection. A
// row that is added to the source while it is read may need another run.
package tokenimport
