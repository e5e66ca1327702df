package tokencli

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"
)

// A progress tells how far long work is: in one line that is rewritten on a terminal,
// and in few lines elsewhere, as in the log of a job.
type progress struct {
	mu       sync.Mutex
	out      io.Writer
	rewrites bool
	now      func() time.Time
	begin    time.Time
	told     time.Time
	shown    bool // there is a line to be rewritten
}

const (
	rewriteEvery = 100 * time.Millisecond
	lineEvery    = 10 * time.Second
)

func newProgress(cmd *cobra.Command, now func() time.Time) *progress {
	out := cmd.ErrOrStderr()
	begin := now()
	return &progress{out: out, rewrites: canMove(out), now: now, begin: begin, told: begin}
}

// tell tells how far the work is, if that was not told just now.
func (p *progress) tell(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, every := p.now(), lineEvery
	if p.rewrites {
		every = rewriteEvery
	}
	if now.Sub(p.told) < every {
		return
	}
	p.told = now
	text := fmt.Sprintf(format, args...) + fmt.Sprintf(", %v", now.Sub(p.begin).Round(time.Second))
	if !p.rewrites {
		fmt.Fprintln(p.out, text)
		return
	}
	fmt.Fprint(p.out, "\r\x1b[K"+text)
	p.shown = true
}

// clear removes the line, for another to take its place.
func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.shown = false
	}
}

// during tells again and again while work runs that can't tell by itself.
func (p *progress) during(text string, work func()) {
	ended, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for ticker := time.NewTicker(rewriteEvery); ; {
			select {
			case <-ended:
				ticker.Stop()
				return
			case <-ticker.C:
				p.tell("%s", text)
			}
		}
	}()
	work()
	close(ended)
	<-stopped
	p.clear()
}
