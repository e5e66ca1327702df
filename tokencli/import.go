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

// An openedSource makes a source of a database.
type openedSource func(*sql.DB, tokenauth.Dialect) *tokenimport.Source

func (c *cli) imports() *cobra.Command {
	group := &cobra.Command{
		Use:   "import",
		Short: "Import the tokens of another system, whose keys go on working",
		Long: "Import the tokens of another system. Their keys go on working for a service that recognises them, by\n" +
			"Options.Legacy of its Manager. It may be run again, and be interrupted: only what is new is imported, and\n" +
			"nothing is changed in the source. Rows that are refused are told on standard error, with the reason.\n\n" +
			"Package tokenimport documents the rules.",
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
		Short: "From Django REST Framework",
		Long:  "Import the tokens of Django REST Framework: of rest_framework.authtoken, or of a model with many tokens a user.",
		Example: "  import drf --dry-run\n" +
			"  import drf --source-table api_token --source-id id --source-name name",
	}
	scopeFlag(c, cmd, &o.Scopes)
	usersFlags(cmd, &o.Users, &o.UserPK, &o.Active)
	flags := cmd.Flags()
	flags.StringVar(&o.Table, "source-table", "authtoken_token", "the `NAME` of the table of tokens; may have its schema before it")
	flags.StringVar(&o.ID, "source-id", "", "its `COLUMN` with the primary key, if that is not the key")
	flags.StringVar(&o.Key, "source-key", "key", "its `COLUMN` with the key")
	flags.StringVar(&o.UserID, "source-user-id", "user_id", "its `COLUMN` with the user")
	flags.StringVar(&o.Name, "source-name", "", "its `COLUMN` with the name, if there is one")
	flags.StringVar(&o.Created, "source-created", "created", "its `COLUMN` that says when it was made")
	return c.importing(cmd, func() (openedSource, error) {
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
		Short:   "From django-rest-knox 4.2 or 5",
		Example: "  import knox --knox-version 5",
	}
	scopeFlag(c, cmd, &o.Scopes)
	usersFlags(cmd, &o.Users, &o.UserPK, &o.Active)
	flags := cmd.Flags()
	flags.IntVar(&version, "knox-version", 0, "the `VERSION`, 4 (from 4.2 on) or 5: they hash keys differently")
	flags.StringVar(&o.Table, "source-table", "knox_authtoken", "the `NAME` of the table of tokens; may have its schema before it")
	flags.StringVar(&o.Name, "source-name", "", "its `COLUMN` with the name, if there is one")
	flags.StringVar(&zone, "timezone", "UTC", "the `ZONE` of Django's TIME_ZONE, if USE_TZ is off")
	complete(cmd, "knox-version", "4", "5")
	return c.importing(cmd, func() (openedSource, error) {
		v := tokenimport.KnoxVersion(version)
		if v != tokenimport.Knox4 && v != tokenimport.Knox5 {
			return nil, usage("which version of knox made the tokens? give --knox-version 4 or 5")
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
		Short: "From Laravel Sanctum",
		Long: "Import the tokens of Laravel Sanctum. An ability becomes the scope of the same name, or the scopes that\n" +
			"--map-ability says. Without a rule for it, a token with the ability * is refused. Import one type of\n" +
			"tokenable alone: another's numbers would be taken for the IDs of users.",
		Example: "  import sanctum --map-ability '*=orders:read orders:write' --map-ability 'server:update='",
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&abilities, "map-ability", nil, "`ABILITY=SCOPES`, with spaces between; may be given more than once")
	flags.StringVar(&o.Table, "source-table", "personal_access_tokens", "the `NAME` of the table of tokens; may have its schema before it")
	flags.StringVar(&o.Users, "source-users", "users", "the `NAME` of the table of users")
	flags.StringVar(&o.UserPK, "source-user-pk", "id", "its `COLUMN` with the primary key")
	flags.StringVar(&o.Tokenable, "tokenable", `App\Models\User`, "the `TYPE` of tokenable that users are; the tokens of others are refused")
	flags.StringVar(&expiration, "expiration", "", "the `DURATION` of config/sanctum.php (there in minutes), as 525600m or 365d")
	flags.StringVar(&zone, "timezone", "UTC", "the `ZONE` of config/app.php")
	return c.importing(cmd, func() (openedSource, error) {
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
		return usage("--timezone: must be a name of the IANA database, as Europe/Berlin")
	}
	return nil
}

func scopeFlag(c *cli, cmd *cobra.Command, scopes *[]string) {
	cmd.Flags().StringArrayVarP(scopes, "scope", "s", nil, "a `SCOPE` to give; may be given more than once, or hold several with spaces")
	completeBy(cmd, "scope", c.completeScope)
}

// words returns the scopes that values of the flag hold.
func words(values []string) []string { return strings.Fields(strings.Join(values, " ")) }

// usersFlags are for Django's table of users.
func usersFlags(cmd *cobra.Command, users, pk, active *string) {
	flags := cmd.Flags()
	flags.StringVar(users, "source-users", "auth_user", "the `NAME` of the table of users")
	flags.StringVar(pk, "source-user-pk", "id", "its `COLUMN` with the primary key")
	flags.StringVar(active, "source-active", "is_active", "its `COLUMN` that says who may sign in")
}

// importing completes a command that imports from a source; read reads its flags.
func (c *cli) importing(cmd *cobra.Command, read func() (openedSource, error)) *cobra.Command {
	var dsn string
	var dryRun bool
	jsonFlag(cmd)
	cmd.Flags().StringVar(&dsn, "source", "", "the `DSN` of the database to import from; without it the service's own")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "tell what would be done, and do nothing")
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if _, ok := cmd.GetFlagCompletionFunc(f.Name); !ok {
			complete(cmd, f.Name)
		}
	})
	return c.managed(cmd, func(cmd *cobra.Command, m *tokenauth.Manager, _ []string) error {
		open, err := read()
		if err != nil {
			return err
		}
		db, dialect, err := c.options.OpenSource(cmd.Context(), dsn)
		if err != nil {
			return err
		}
		progress := newProgress(cmd, c.options.Now)
		report, err := tokenimport.Run(cmd.Context(), m, open(db, dialect), &tokenimport.Options{
			DryRun: dryRun,
			OnRefused: func(r tokenimport.Refusal) {
				progress.clear()
				say(cmd, "Refused %s: %s", visible(r.Row), visible(string(r.Reason)))
			},
			Progress: func(r tokenimport.Report) {
				progress.tell("read %d, imported %d, there already %d, refused %d", r.Read, r.Imported, r.Existing, r.Refused)
			},
		})
		progress.clear()
		if err != nil && report.Read > 0 {
			say(cmd, "Stopped: %d read, %d imported, %d there already, %d refused. Run it again to go on.",
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
		say(cmd, "Nothing was stored: this was a dry run.")
	}
	var rows [][]cell
	for _, line := range []struct {
		title string
		n     int
	}{{"Read", r.Read}, {"Imported", r.Imported}, {"There already", r.Existing}, {"Refused", r.Refused}} {
		rows = append(rows, []cell{{line.title, bold}, {strconv.Itoa(line.n), plain}})
	}
	return newTable(cmd).write(rows...)
}

var origins = []string{"drf", "knox", "sanctum"}

func (c *cli) remaining() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remaining ORIGIN",
		Short: "Tell how many tokens still have their imported key",
		Long: "Tell how many tokens of an origin (drf, knox or sanctum) still have the key that they were imported with, and\n" +
			"when one was used last. The old key of a rotated token is not counted, though it works until its grace is\n" +
			"over. So the service need not recognise such keys any more when there are none, and the grace of each\n" +
			"rotation is over.",
		ValidArgsFunction: cobra.FixedCompletions(origins, cobra.ShellCompDirectiveNoFileComp),
	}
	jsonFlag(cmd)
	return c.managed(cmd, func(cmd *cobra.Command, m *tokenauth.Manager, args []string) error {
		if !slices.Contains(origins, args[0]) {
			return usage("the origin must be " + strings.Join(origins, ", "))
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
