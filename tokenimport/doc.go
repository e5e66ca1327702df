// Package tokenimport imports the tokens of Django REST Framework (DRF), django-rest-knox and
// Laravel Sanctum. The keys of clients continue to work.
//
// A [Source] reads the tables of the other system, and [Run] imports the tokens that it reads. With
// a [tokenauth.LegacyFormat], the Manager recognizes the imported keys:
//
//	tokens, err := tokenauth.New(store, "acme", &tokenauth.Options{
//		Legacy: []tokenauth.LegacyFormat{tokenimport.DRFFormat()},
//	})
//	report, err := tokenimport.Run(ctx, tokens, tokenimport.DRF(db, tokenauth.PostgreSQL, nil), nil)
//
// An imported key works until its token expires or is revoked. A rotation gives the token a key in
// the form of this library. The imported key then works until the grace of the rotation has passed.
// If [Remaining] counts no tokens and the grace of each rotation has passed, the service no longer
// needs the LegacyFormat.
//
// # Rules
//
// Run never changes the source. Run may be repeated, and several calls may run concurrently. If an
// earlier run imported a row, the row counts as existing, and Run does not change its token. This
// also applies if the token was rotated, renamed or revoked since, or if its user is no longer
// active in the source. To complete an interrupted run, call Run again.
//
// Run refuses a row in each of these cases. If the cause is removed, a later run imports the row.
//
//   - The user does not exist, or is not active.
//   - The token has expired.
//   - The key or its digest does not have the form that the other system uses.
//   - A time is unreadable, or is outside the years 1 to 9999. Run never treats such a time as "no
//     expiry".
//   - The key belongs to a token of another user or of another origin.
//   - The Manager does not allow the user ID or a scope.
//
// Run cleans each name. It trims the name, removes control characters, bidirectional controls and
// invisible characters, and keeps at most 64 characters. If no visible character remains, or the
// source has no names, the name is the origin, such as "drf". If another live token of the user has
// the name, Run adds a number, as in "laptop (2)".
//
// Imported tokens do not count toward MaxPerUser. DefaultTTL and MaxTTL do not apply to them.
// IdleTimeout applies. DRF and knox store no last-used times, so a key is refused if its token is
// older than IdleTimeout and was not used here. Therefore do not set IdleTimeout until the service
// has been live for at least that long.
//
// Run reads pages of 500 rows, in the order of a unique column with an index. It stores the new
// tokens of a page with one call of [tokenauth.Manager.Import]. If the Manager refuses a row, Run
// needs more calls for that page. The memory that Run needs does not depend on the number of
// rows. Source and store may share one database and a pool with a single connection. If a row is
// added to the source during a run, the run may miss it. The next run imports it.
package tokenimport
