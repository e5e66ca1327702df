package tokencli

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/tokenimport"
)

// A newSource returns a Source that reads from the given database.
type newSource func(*sql.DB, tokenauth.Dialect) *tokenimport.Source

func (c *cli) imports() *cobra.Command {
	group := &cobra.Command{
		Use:   "import",
		Short: "Import the tokens of another system",
		Long: "Import the tokens of another system. The keys keep working if Options.Legacy of the service's Manager has their\n" +
			"format. An import may be interrupted and repeated, and imports only new rows. It never changes the source. The\n" +
			"command prints each refused row with the reason to standard error.\n\n" +
			"The documentation of package tokenimport describes the rules.",
		SilenceUsage: true,
		Args:         cobra.ArbitraryArgs,
		RunE:         help,
	}
	group.AddCommand(c.importDRF(), c.importKnox(), c.importSanctum(), c.remaining())
	return group
}

func (c *cli) importDRF() *cobra.Command {
	var o tokenimport.DRFOptions
	cmd := &cobra.Command{
		Use:   "drf",
		Short: "Import the tokens of Django REST Framework",
		Long: "Import the tokens of Django REST Framework, from rest_framework.authtoken or from a model with several tokens\n" +
			"per user.",
		Example: "  import drf --dry-run\n" +
			"  import drf --source-table api_token --source-id id --source-name name",
	}
	scopeFlag(c, cmd, &o.Scopes)
	usersFlags(cmd, &o.Users, &o.UserPK, &o.Active)
	flags := cmd.Flags()
	flags.StringVar(&o.Table, "source-table", "authtoken_token", "`NAME` of the table of tokens, optionally with its schema")
	flags.StringVar(&o.ID, "source-id", "", "`COLUMN` of the table of tokens with the primary key (default: the column with the key)")
	flags.StringVar(&o.Key, "source-key", "key", "`COLUMN` of the table of tokens with the key")
	flags.StringVar(&o.UserID, "source-user-id", "user_id", "`COLUMN` of the table of tokens with the user's primary key")
	flags.StringVar(&o.Name, "source-name", "", "`COLUMN` of the table of tokens with the token's name (default: the tokens have no names)")
	flags.StringVar(&o.Created, "source-created", "created", "`COLUMN` of the table of tokens with the time of creation")
	return c.importing(cmd, func() (newSource, error) {
		o.Scopes = words(o.Scopes)
		return func(db *sql.DB, d tokenauth.Dialect) *tokenimport.Source { return tokenimport.DRF(db, d, &o) }, nil
	})
}

func (c *cli) importKnox() *cobra.Command {
	var o tokenimport.KnoxOptions
	var version int
	var zone string
	cmd := &cobra.Command{
		Use:     "knox",
		Short:   "Import the tokens of django-rest-knox 4.2 or 5",
		Example: "  import knox --knox-version 5",
	}
	scopeFlag(c, cmd, &o.Scopes)
	usersFlags(cmd, &o.Users, &o.UserPK, &o.Active)
	flags := cmd.Flags()
	flags.IntVar(&version, "knox-version", 0, "major `VERSION` of knox, 4 (4.2 or later) or 5; required, because the versions hash keys differently")
	flags.StringVar(&o.Table, "source-table", "knox_authtoken", "`NAME` of the table of tokens, optionally with its schema")
	flags.StringVar(&o.Name, "source-name", "", "`COLUMN` of the table of tokens with the token's name (default: the tokens have no names)")
	flags.StringVar(&zone, "timezone", "UTC", "`ZONE` in Django's setting TIME_ZONE, if USE_TZ is off")
	complete(cmd, "knox-version", "4", "5")
	return c.importing(cmd, func() (newSource, error) {
		v := tokenimport.KnoxVersion(version)
		if v != tokenimport.Knox4 && v != tokenimport.Knox5 {
			return nil, usage("--knox-version must be 4 or 5")
		}
		o.Scopes = words(o.Scopes)
		err := readZone(&o.Location, zone)
		return func(db *sql.DB, d tokenauth.Dialect) *tokenimport.Source { return tokenimport.Knox(db, d, v, &o) }, err
	})
}

func (c *cli) importSanctum() *cobra.Command {
	var o tokenimport.SanctumOptions
	var abilities []string
	var expiration, zone string
	cmd := &cobra.Command{
		Use:   "sanctum",
		Short: "Import the tokens of Laravel Sanctum",
		Long: "Import the tokens of Laravel Sanctum. Each ability becomes the scope of the same name, unless --map-ability sets\n" +
			"other scopes. Tokens with the ability * are refused unless --map-ability sets scopes for *. Import the tokens of\n" +
			"only one tokenable type. Otherwise, the ID of a team would be used as the ID of a user.",
		Example: "  import sanctum --map-ability '*=orders:read orders:write' --map-ability 'server:update='",
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&abilities, "map-ability", nil, "scopes for an ability, as `ABILITY=SCOPES` with spaces between the scopes; may be repeated")
	flags.StringVar(&o.Table, "source-table", "personal_access_tokens", "`NAME` of the table of tokens, optionally with its schema")
	flags.StringVar(&o.Users, "source-users", "users", "`NAME` of the table of users")
	flags.StringVar(&o.UserPK, "source-user-pk", "id", "`COLUMN` of the table of users with the primary key")
	flags.StringVar(&o.Tokenable, "tokenable", `App\Models\User`, "tokenable `TYPE` of users; tokens of other types are refused")
	flags.StringVar(&expiration, "expiration", "", "`DURATION` in the setting expiration of config/sanctum.php, such as 525600m or 365d (default: none)")
	flags.StringVar(&zone, "timezone", "UTC", "`ZONE` in the setting timezone of config/app.php")
	return c.importing(cmd, func() (newSource, error) {
		err := readSanctum(&o, abilities, expiration, zone)
		return func(db *sql.DB, d tokenauth.Dialect) *tokenimport.Source { return tokenimport.Sanctum(db, d, &o) }, err
	})
}

func readSanctum(o *tokenimport.SanctumOptions, abilities []string, expiration, zone string) (err error) {
	if expiration != "" {
		if o.Expiration, err = parseDuration(expiration); err != nil {
			return usage("--expiration: " + err.Error())
		}
	}
	if err := readZone(&o.Location, zone); err != nil {
		return err
	}
	rules := map[string][]string{}
	for _, rule := range abilities {
		ability, scopes, ok := strings.Cut(rule, "=")
		if !ok || ability == "" {
			return usage("--map-ability: must be ABILITY=SCOPES")
		}
		rules[ability] = append(rules[ability], strings.Fields(scopes)...)
	}
	o.Scopes = func(ability string) ([]string, error) {
		if scopes, ok := rules[ability]; ok {
			return scopes, nil
		}
		if ability == "*" {
			return nil, errors.New(string(tokenimport.ReasonWildcard))
		}
		return []string{ability}, nil
	}
	return nil
}

func readZone(to **time.Location, zone string) (err error) {
	if *to, err = time.LoadLocation(zone); err != nil {
		return usage("--timezone: must be the name of an IANA time zone, such as Europe/Berlin")
	}
	return nil
}

func scopeFlag(c *cli, cmd *cobra.Command, scopes *[]string) {
	cmd.Flags().StringArrayVarP(scopes, "scope", "s", nil, "`SCOPE` of the token, or several scopes separated by spaces; may be repeated")
	completeBy(cmd, "scope", c.completeScope)
}

// words returns the words in the values of a repeated flag, such as --scope.
func words(values []string) []string { return strings.Fields(strings.Join(values, " ")) }

// usersFlags adds the flags for Django's table of users.
func usersFlags(cmd *cobra.Command, users, pk, active *string) {
	flags := cmd.Flags()
	flags.StringVar(users, "source-users", "auth_user", "`NAME` of the table of users")
	flags.StringVar(pk, "source-user-pk", "id", "`COLUMN` of the table of users with the primary key")
	flags.StringVar(active, "source-active", "is_active", "Boolean `COLUMN` of the table of users, true if the user may sign in")
}

// importing adds the common flags and the function of an import command. After the flags are
// parsed, readFlags checks the flags of the command itself.
func (c *cli) importing(cmd *cobra.Command, readFlags func() (newSource, error)) *cobra.Command {
	var dsn string
	var dryRun bool
	jsonFlag(cmd)
	cmd.Flags().StringVar(&dsn, "source", "", "`DSN` of the database to import from (default: the service's own database)")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "report what the import would do, without storing a token")
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if _, ok := cmd.GetFlagCompletionFunc(f.Name); !ok {
			complete(cmd, f.Name)
		}
	})
	return c.managed(cmd, func(cmd *cobra.Command, m *tokenauth.Manager, _ []string) error {
		source, err := readFlags()
		if err != nil {
			return err
		}
		db, dialect, err := c.options.OpenSource(cmd.Context(), dsn)
		if err != nil {
			return err
		}
		progress := newProgress(cmd, c.options.Now)
		report, err := tokenimport.Run(cmd.Context(), m, source(db, dialect), &tokenimport.Options{
			DryRun: dryRun,
			OnRefused: func(r tokenimport.Refusal) {
				progress.clear()
				say(cmd, "Refused %s: %s", visible(r.Row), visible(string(r.Reason)))
			},
			Progress: func(r tokenimport.Report) {
				progress.show("read %d, imported %d, existing %d, refused %d", r.Read, r.Imported, r.Existing, r.Refused)
			},
		})
		progress.clear()
		if err != nil && report.Read > 0 {
			say(cmd, "Stopped: read %d, imported %d, existing %d, refused %d. To continue, repeat the command.",
				report.Read, report.Imported, report.Existing, report.Refused)
		}
		if err != nil {
			return err
		}
		return writeReport(cmd, &report, dryRun)
	})
}

func writeReport(cmd *cobra.Command, r *tokenimport.Report, dryRun bool) error {
	if asJSON(cmd) {
		return writeJSON(cmd, struct {
			DryRun   bool `json:"dry_run"`
			Read     int  `json:"read"`
			Imported int  `json:"imported"`
			Existing int  `json:"existing"`
			Refused  int  `json:"refused"`
		}{dryRun, r.Read, r.Imported, r.Existing, r.Refused})
	}
	if dryRun {
		say(cmd, "Dry run: nothing was stored.")
	}
	var rows [][]cell
	for _, line := range []struct {
		title string
		n     int
	}{{"Read", r.Read}, {"Imported", r.Imported}, {"Existing", r.Existing}, {"Refused", r.Refused}} {
		rows = append(rows, []cell{{line.title, bold}, {strconv.Itoa(line.n), plain}})
	}
	return newTable(cmd).write(rows...)
}

var origins = []string{"drf", "knox", "sanctum"}

func (c *cli) remaining() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remaining ORIGIN",
		Short: "Count the tokens that still have their imported key",
		Long: "Count the tokens of an origin (drf, knox or sanctum) that still have their imported key, and print when the\n" +
			"latest of them was used. Rotated tokens do not count, although their imported key works until the grace has\n" +
			"passed. If no tokens remain and the grace of each rotation has passed, the service no longer needs to\n" +
			"recognize imported keys.",
		ValidArgsFunction: cobra.FixedCompletions(origins, cobra.ShellCompDirectiveNoFileComp),
	}
	jsonFlag(cmd)
	return c.managed(cmd, func(cmd *cobra.Command, m *tokenauth.Manager, args []string) error {
		if !slices.Contains(origins, args[0]) {
			return usage("ORIGIN must be one of " + strings.Join(origins, ", "))
		}
		left, err := tokenimport.Remaining(cmd.Context(), m, args[0])
		if err != nil {
			return err
		}
		if asJSON(cmd) {
			return writeJSON(cmd, struct {
				Tokens     int       `json:"tokens"`
				LastUsedAt time.Time `json:"last_used_at,omitzero"`
			}{left.Tokens, left.LastUsedAt})
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s; last used: %s\n", counted(left.Tokens, "token"), c.relative(left.LastUsedAt))
		return written(err)
	})
}
