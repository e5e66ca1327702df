package tokencli

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"
)

// A progress reports the progress of a long operation to standard error. On a terminal, it rewrites
// one line. Otherwise, as in the log of a job, it writes at most one line every ten seconds.
type progress struct {
	mu       sync.Mutex
	out      io.Writer
	rewrites bool // whether the output is a terminal
	now      func() time.Time
	begin    time.Time
	last     time.Time // time of the last line
	shown    bool      // whether the terminal shows a line
}

const (
	rewriteEvery = 100 * time.Millisecond
	lineEvery    = 10 * time.Second
)

func newProgress(cmd *cobra.Command, now func() time.Time) *progress {
	out := cmd.ErrOrStderr()
	begin := now()
	return &progress{out: out, rewrites: canMove(out), now: now, begin: begin, last: begin}
}

// show writes a line with the elapsed time, unless the last line is too recent.
func (p *progress) show(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, every := p.now(), lineEvery
	if p.rewrites {
		every = rewriteEvery
	}
	if now.Sub(p.last) < every {
		return
	}
	p.last = now
	text := fmt.Sprintf(format, args...) + fmt.Sprintf(", %v", now.Sub(p.begin).Round(time.Second))
	if !p.rewrites {
		fmt.Fprintln(p.out, text)
		return
	}
	fmt.Fprint(p.out, "\r\x1b[K"+text)
	p.shown = true
}

// clear removes the line from the terminal.
func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.shown = false
	}
}

// during runs work, and calls show regularly until work returns.
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
				p.show("%s", text)
			}
		}
	}()
	work()
	close(ended)
	<-stopped
	p.clear()
}
