package tokenpage

import (
	"fmt"
	"math"
	"reflect"
	"time"
)

// Texts are the texts of the pages. An empty field selects the English text.
type Texts struct {
	Lang        string // language of the texts, such as "en" (BCP 47)
	RightToLeft bool   // true for languages such as Arabic and Hebrew

	// Date returns the text for a day in UTC. Relative returns the text for a time that is d ahead,
	// such as "in 12 days". If d is negative, the time is in the past.
	Date     func(t time.Time) string
	Relative func(d time.Duration) string

	// Listed returns the text for the number of resources that the form for a new token lists, of all.
	// More returns the text for the number of resources of a token that the page shows on demand.
	Listed func(listed, all int) string
	More   func(n int) string

	Title, Intro, StaffTitle, StaffIntro string // the lists
	UserIntro                            string // in place of StaffIntro, for the tokens of one user
	HistoryIntro                         string
	Skip, Back, Cancel                   string // links
	Views, Live, History                 string // views of the list
	Pages, FirstPage, NextPage           string
	EmptyTitle, EmptyText                string // shown to users without a live token
	NothingHere                          string

	New, Rename, Rotate, Revoke string // actions

	User, Find, ShowAll string // the search of staff
	NameOrID            string // in place of User in the search field, with Options.FindUser
	AlsoAnID            string // the typed name is also the ID of another user
	UnknownUser         string // the typed text is neither a name nor the form of an ID

	KeyEndsIn, Scopes, NoScopes    string // properties of a token
	Created, Expires, NeverExpires string
	LastUsed, NeverUsed            string
	ExpiresSoon, Expired, Revoked  string
	Idle                           string // in place of Expired, if the token was unused for too long
	Resources, AllResources        string // AllResources: the token is not restricted to some
	PreviousKey                    string // before the time from which the previous key is refused

	By                        string // who created or revoked a token: before any text
	ByYou, ByOwner            string // the user of the page; the user of the token, for staff
	ByUser, ByToken           string // before the ID of another user, and before the name or the ID of a token
	ByStaff, ByAdmin, ByLogin string // ByAdmin: on the command line; ByLogin: a program that had the password

	Name, NameHint, ScopesHint           string // the form for a new token
	OnDate, DateLabel, DateHint, Latest  string
	Longest, NeverHint, Create           string
	ResourcesHint, NoResources           string // NoResources in place of ResourcesHint, if there are none
	TheseAccess, AllAccess               string // the token is for the checked resources; for all
	FindResource, SkipResources          string // label of the search field; link that skips the list
	NotCreated                           string // after a search
	ResourcesMissing, TooManyResources   string
	ResourceGone                         string // the user may no longer choose a checked resource
	NameInvalid, NameTaken, ScopeInvalid string
	ExpiryInvalid, DateInvalid           string
	TooMany, TryAgain                    string
	FormUsed                             string // the form has created a token before

	KeyTitle, KeyWarning, KeyCare      string // the page that shows a key
	Key, Copy, Copied, CopyFailed      string
	PreviousKeyUntil, PreviousKeyEnded string // the previous key

	RotateTitle, RotateText, GraceLegend  string
	GraceNow, GraceNowHint, RotateSubmit  string
	GraceInvalid, RotatedAlready          string
	RenameTitle, Save                     string
	RenameTaken, NotChanged, Renamed      string
	RevokeTitle, RevokeText, RevokeSubmit string
	RevokeDone                            string
	Error, ErrorsTitle                    string // prefix of the title, and heading of the list of errors, if a form has errors
	SignIn                                string // a link
	SignedOut, OtherUser, NotStaff        Problem
	NotByKey                              Problem // the request presented a key
	NotFound, NotAllowed, CrossSite       Problem
	BadRequest, TooLarge, TooSlow         Problem // the form is malformed or did not arrive
	NotRotated                            Problem
	Unavailable                           Problem // nothing was changed
	Uncertain                             Problem // a change may have been made
}

// A Problem is a page that explains why a request failed.
type Problem struct{ Title, Text string }

// orEnglish returns a copy of t. In the copy, the English texts replace empty fields.
func (t Texts) orEnglish() *Texts {
	fill(reflect.ValueOf(&t).Elem(), reflect.ValueOf(english))
	return &t
}

func fill(to, from reflect.Value) {
	for i := range to.NumField() {
		switch field := to.Field(i); {
		case field.Kind() == reflect.Struct:
			fill(field, from.Field(i))
		case field.IsZero():
			field.Set(from.Field(i))
		}
	}
}

var english = Texts{
	Lang:     "en",
	Date:     func(t time.Time) string { return t.Format("2 Jan 2006") },
	Relative: relative,
	Listed:   func(listed, all int) string { return fmt.Sprintf("%d of %d shown", listed, all) },
	More:     func(n int) string { return fmt.Sprintf("%d more", n) },

	Title:        "API tokens",
	Intro:        "A token lets a program use your account. Give each program a token of its own, so that you can revoke one without affecting the others.",
	StaffTitle:   "API tokens of all users",
	StaffIntro:   "The live tokens of every user, oldest first.",
	UserIntro:    "The live tokens of one user, oldest first.",
	HistoryIntro: "Every token, including revoked ones, oldest first.",
	Skip:         "Skip to content",
	Back:         "Back to the tokens",
	Cancel:       "Cancel",
	Views:        "Views",
	Live:         "Live tokens",
	History:      "History",
	Pages:        "Pages",
	FirstPage:    "First page",
	NextPage:     "Next page",
	EmptyTitle:   "You have no live tokens",
	EmptyText:    "A token is like a password for one program: a script, an app on your phone, a server. It does only what you allow, expires when you choose, and can be revoked at any time without changing your password.",
	NothingHere:  "There are no tokens here.",

	New:    "New token",
	Rename: "Rename",
	Rotate: "Rotate",
	Revoke: "Revoke",

	User:     "User ID",
	NameOrID: "User",
	Find:     "Search",
	ShowAll:  "Show all users",
	AlsoAnID: "You see the tokens of the user with this name. The text is also the ID of another user:",

	UnknownUser: "No user has this name or ID. Check the spelling.",

	KeyEndsIn:    "Key ends in",
	Scopes:       "Scopes",
	NoScopes:     "No scopes",
	Created:      "Created",
	Expires:      "Expires",
	NeverExpires: "Never",
	LastUsed:     "Last used",
	NeverUsed:    "Never",
	ExpiresSoon:  "Expires soon",
	Expired:      "Expired",
	Revoked:      "Revoked",
	Idle:         "Unused for too long",
	Resources:    "Resources",
	AllResources: "All resources",
	PreviousKey:  "Previous key works until",

	By:      "by",
	ByYou:   "by you",
	ByOwner: "by the user",
	ByUser:  "by the user",
	ByToken: "by the token",
	ByStaff: "by staff",
	ByAdmin: "by an administrator",
	ByLogin: "by a login with the password",

	Name:       "Name",
	NameHint:   "The program or device that will use it, such as “backup script”.",
	ScopesHint: "What the token may do. Choose no more than the program needs.",
	OnDate:     "on a date",
	DateLabel:  "Last day",
	DateHint:   "The token works until this day ends, in UTC.",
	Latest:     "At the latest:",
	Longest:    "as late as allowed",
	NeverHint:  "Only if you will remember to revoke it.",
	Create:     "Create token",

	ResourcesHint:    "What the program may use. Choose no more than it needs.",
	NoResources:      "There is nothing yet that you could choose.",
	TheseAccess:      "Only these:",
	AllAccess:        "All, also future ones",
	FindResource:     "Search the list",
	NotCreated:       "No token has been created yet. When the form is complete, press the button at its end.",
	SkipResources:    "Skip the list",
	ResourcesMissing: "Choose at least one resource, or choose all.",
	TooManyResources: "Choose at most 100 resources.",
	ResourceGone:     "You can no longer choose one of your resources. Check the list.",

	NameInvalid:   "Enter a name of 1 to 64 characters, none of them invisible.",
	NameTaken:     "You already have a token with this name. If you have just created it, its key cannot be shown again: rotate that token to get a new key, or choose another name.",
	ScopeInvalid:  "Choose only from these scopes.",
	ExpiryInvalid: "Choose when the token expires.",
	DateInvalid:   "Enter a day from today on that is not too far ahead.",
	TooMany:       "You have reached the maximum number of tokens. Revoke one that you no longer need, then try again.",
	TryAgain:      "Other changes were made at the same time. Nothing was created. Try again.",
	FormUsed:      "This form has already created a token, which may be revoked by now. To create another token, send this form.",

	KeyTitle:         "Your new key",
	KeyWarning:       "Copy the key now. You will not see it again.",
	KeyCare:          "Keep it as safe as a password: whoever has it can do what the token may do. If you lose it, rotate the token to get a new one.",
	Key:              "Key",
	Copy:             "Copy key",
	Copied:           "Copied",
	CopyFailed:       "Not copied: the key is selected, copy it yourself",
	PreviousKeyUntil: "The previous key stops working",
	PreviousKeyEnded: "The previous key no longer works.",

	RotateTitle:    "Rotate the key",
	RotateText:     "The token gets a new key and keeps its name, scopes and expiry.",
	GraceLegend:    "When does the current key stop working?",
	GraceNow:       "now",
	GraceNowHint:   "If somebody else may know it.",
	RotateSubmit:   "Make a new key",
	GraceInvalid:   "Choose when the current key stops working.",
	RotatedAlready: "The token got a new key after you opened this form. A key is shown only once. To replace the new key too, send this form.",
	RenameTitle:    "Rename the token",
	Save:           "Save",
	RenameTaken:    "You already have a token with this name.",
	NotChanged:     "The token has expired or was unused for too long. Nothing was changed.",
	Renamed:        "The token was renamed.",
	RevokeTitle:    "Revoke this token?",
	RevokeText:     "Its key stops working at once, for good. This cannot be undone.",
	RevokeSubmit:   "Revoke token",
	RevokeDone:     "The token is revoked. Its key no longer works.",
	Error:          "Error",
	ErrorsTitle:    "There is a problem",
	SignIn:         "Sign in",

	SignedOut:   Problem{"You are not signed in", "Nothing was changed. Sign in, then try again."},
	OtherUser:   Problem{"Somebody else is signed in", "The form was made for another user. Nothing was changed."},
	NotStaff:    Problem{"Not for you", "Only staff may see this page."},
	NotByKey:    Problem{"Not with a key", "This page is for people who sign in, not for programs that present the key of a token. Nothing was changed."},
	NotFound:    Problem{"Not found", "There is no such page or token. The token may have been revoked."},
	NotAllowed:  Problem{"Not possible", "This page cannot be used in that way."},
	CrossSite:   Problem{"Refused", "The form came from another site. Nothing was changed."},
	BadRequest:  Problem{"Not understood", "The request is malformed. Nothing was changed."},
	TooLarge:    Problem{"Too much", "The form is larger than this page accepts. Nothing was changed."},
	TooSlow:     Problem{"Too slow", "The form took too long to arrive. Nothing was changed. Send it again."},
	NotRotated:  Problem{"No new key was made", "The token has expired, was unused for too long, or was changed at the same time."},
	Unavailable: Problem{"Not available at the moment", "Nothing was changed. Try again in a moment."},
	Uncertain:   Problem{"The answer got lost", "The change may or may not have been made. Look at the tokens before you try again, and revoke any whose key you have not seen."},
}

// relative returns d in the largest unit that is precise enough.
func relative(d time.Duration) string {
	n, unit := 0.0, ""
	switch abs := d.Abs(); {
	case abs < time.Minute && d > 0:
		return "in a moment"
	case abs < time.Minute:
		return "just now"
	case abs < time.Hour:
		n, unit = math.Floor(abs.Minutes()), "minute"
	case abs < 2*day:
		n, unit = math.Floor(abs.Hours()), "hour"
	case abs < 2*365*day:
		n, unit = math.Round(abs.Hours()/24), "day"
	default:
		n, unit = math.Round(abs.Hours()/24/365), "year"
	}
	if n > 1 {
		unit += "s"
	}
	if d < 0 {
		return fmt.Sprintf("%v %s ago", n, unit)
	}
	return fmt.Sprintf("in %v %s", n, unit)
}
