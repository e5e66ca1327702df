// Package kill kills a process with SIGKILL while the process changes a store. Then it checks
// that the store contains every acknowledged change, and no incomplete change.
package kill

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// A step makes change number i to the tokens of user. The change depends only on user and i.
type step func(ctx context.Context, s tokenauth.Store, user string, i int) error

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func record(user string, i int) tokenauth.Record {
	return tokenauth.Record{Digest: digest(user, i), Token: tokenauth.Token{
		ID: fmt.Sprintf("%s-%d", user, i), UserID: user, Name: fmt.Sprint("token ", i), Scopes: []string{"read", "write"},
		Hint: hint(i), Generation: 1, CreatedAt: start.Add(time.Duration(i) * time.Second),
	}}
}

func digest(user string, i int) tokenauth.Digest {
	return tokenauth.DigestOf(fmt.Sprintf("key %d of %s", i, user))
}

func hint(i int) string { return fmt.Sprintf("%04d", i) }

const imported = 10 // records per import step

var steps = map[string]step{
	"create": func(ctx context.Context, s tokenauth.Store, user string, i int) error {
		return s.Create(ctx, record(user, i))
	},
	"import": func(ctx context.Context, s tokenauth.Store, user string, i int) error {
		var records []tokenauth.Record
		for n := range imported {
			r := record(user, imported*i+n)
			r.Token.Generation, r.Token.Origin = 0, "drf"
			records = append(records, r)
		}
		return s.Create(ctx, records...)
	},
	// Step 0 creates a token. Each later step rotates this token.
	"rotate": func(ctx context.Context, s tokenauth.Store, user string, i int) error {
		if i == 0 {
			return s.Create(ctx, record(user, 0))
		}
		at := start.Add(time.Duration(i) * time.Minute)
		return s.Rotate(ctx, user, record(user, 0).Token.ID, tokenauth.Rotation{
			Replaces: i, Digest: digest(user, i), Hint: hint(i), GraceUntil: at.Add(time.Hour),
		}, at)
	},
	// All tokens have the same name and the same slot. Even steps create a token, and odd steps
	// revoke it.
	"revoke": func(ctx context.Context, s tokenauth.Store, user string, i int) error {
		r := record(user, i/2)
		if i%2 == 1 {
			return s.Revoke(ctx, user, r.Token.ID, start.Add(time.Duration(i)*time.Minute), "")
		}
		r.Token.Name, r.Slot = "laptop", 1
		return s.Create(ctx, r)
	},
}

// Kinds returns the kinds of changes that Child supports.
func Kinds() []string { return slices.Sorted(maps.Keys(steps)) }

// Child makes changes of the given kind to the tokens of user until the process is killed.
func Child(s tokenauth.Store, kind, user string) error {
	return Steps(func(i int) error { return steps[kind](context.Background(), s, user, i) })
}

// Steps calls step with 0, 1, 2 and so on, until the process is killed or step returns an error.
// After each successful step, Steps writes its number to standard output. The parent process reads
// this number as the acknowledgment of the step.
func Steps(step func(i int) error) error {
	acks := os.NewFile(uintptr(syscall.Stdout), "acks") // not os.Stdout, which leak.Main redirects
	for i := 0; ; i++ {
		if err := step(i); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(acks, i); err != nil {
			return err // the parent process has ended
		}
	}
}

// Kill runs the given test of this binary in a child process. The test must call Child or Steps.
// Kill kills the child process at a random moment, and returns the number of steps that the child
// process acknowledged.
func Kill(t testing.TB, test string, env ...string) (acked int) {
	t.Helper()
	return KillAfter(t, 1, test, env...)
}

// KillAfter is like Kill, but waits until the child process has acknowledged the given number of
// steps before it kills the child process.
func KillAfter(t testing.TB, steps int, test string, env ...string) (acked int) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run", "^"+test+"$")
	child.Env = append(os.Environ(), env...)
	child.Stderr = os.Stderr
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var kill *time.Timer
	out := bufio.NewScanner(stdout)
	for ; out.Scan(); acked++ {
		if out.Text() != strconv.Itoa(acked) {
			t.Errorf("the child process wrote %q after %d acknowledged steps, want the number of the next step", out.Text(), acked)
			break
		}
		if kill == nil && acked+1 >= steps {
			kill = time.AfterFunc(rand.N(30*time.Millisecond), func() { _ = child.Process.Kill() })
		}
	}
	_ = child.Process.Kill()
	var exit *exec.ExitError
	if err := child.Wait(); acked == 0 || !errors.As(err, &exit) || exit.Exited() {
		t.Fatalf("the child process acknowledged no step or was not killed; %d acknowledged steps, error %v", acked, err)
	}
	return acked
}

// Require requires that s contains exactly the tokens of user that the acknowledged steps produce.
// The store may also contain the change of the next step, which was not acknowledged, but only if
// this change is complete.
func Require(t testing.TB, s tokenauth.Store, kind, user string, acked int) {
	t.Helper()
	ctx := t.Context()
	all := tokenauth.Query{UserID: user, IncludeRevoked: true}
	got, err := s.List(ctx, all)
	if err != nil {
		t.Fatal(err)
	}
	model := tokenauth.NewMemoryStore()
	var want [2][]tokenauth.Record
	for i := range acked + 1 {
		want[0] = want[1]
		if err := steps[kind](ctx, model, user, i); err != nil {
			t.Fatal(err)
		}
		if want[1], err = model.List(ctx, all); err != nil {
			t.Fatal(err)
		}
	}
	if !reflect.DeepEqual(got, want[0]) && !reflect.DeepEqual(got, want[1]) {
		t.Fatalf("%s: after %d acknowledged steps, the store contains\n%+v\nwant\n%+v\nor, one step later,\n%+v", kind, acked, got, want[0], want[1])
	}
	for i := range got {
		digests := []tokenauth.Digest{got[i].Digest}
		if got[i].Retired != nil {
			digests = append(digests, got[i].Retired.Digest)
		}
		for _, d := range digests {
			if found, err := s.Find(ctx, d); err != nil || !reflect.DeepEqual(*found, got[i]) {
				t.Fatalf("%s: Find returns %+v, %v; List returns %+v", kind, found, err, got[i])
			}
		}
	}
}
