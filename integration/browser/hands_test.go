package browser

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// Hands use a page. What they use is named by a CSS selector.
type hands interface {
	press(selector string) action       // a link or a button
	write(selector, text string) action // instead of what is in a field
	choose(selector string) action      // a checkbox or a radio button
}

// A mouse needs what it points at to be there and not covered.
type mouse struct{}

func (mouse) press(selector string) action  { return chromedp.Click(chromedp.CSS(selector)) }
func (mouse) choose(selector string) action { return chromedp.Click(chromedp.CSS(selector)) }

func (mouse) write(selector, text string) action {
	selectLine := chromedp.QueryAfter(chromedp.CSS(selector), func(ctx context.Context, t *chromedp.Target, nodes []*chromedp.Node) (chromedp.Void, error) {
		return chromedp.MouseClickNode(nodes[0], chromedp.ClickCount(3))(ctx, t)
	})
	return chromedp.Steps(selectLine, chromedp.KeyEvent(text))
}

// A keyboard reaches what Tab and the arrows lead to.
type keyboard struct{}

func (keyboard) press(selector string) action {
	return chromedp.Steps(tabTo(selector), chromedp.KeyEvent(kb.Enter))
}

func (keyboard) write(selector, text string) action {
	return chromedp.Steps(tabTo(selector), chromedp.KeyEvent(text)) // Tab selects what is in a field
}

func (keyboard) choose(selector string) action {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		at, err := moveFocus(selector, kb.Tab)(ctx, t)
		switch {
		case err != nil:
			return err
		case !at.Matches: // but another of the same group
			_, err = moveFocus(selector, kb.ArrowDown)(ctx, t)
		case !at.Radio:
			_, err = chromedp.KeyEvent(" ")(ctx, t)
		}
		return err
	})
}

func tabTo(selector string) action {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := moveFocus(selector, kb.Tab)(ctx, t)
		return err
	})
}

// A focus is where the keyboard is.
type focus struct {
	Element        string
	Matches        bool // what is looked for
	Group          bool // a radio button, of the group of what is looked for
	Radio, Visible bool
}

const whereFocusIs = `(selector => {
	const e = document.activeElement, wanted = document.querySelector(selector), box = e.getBoundingClientRect();
	const radio = e.type === 'radio';
	return {
		Element: e.outerHTML.slice(0, 200),
		Matches: e.matches(selector),
		Group: radio && wanted?.type === 'radio' && wanted.name === e.name,
		Radio: radio,
		Visible: e === document.body || e.matches('.tp-skip, .skip') ||
			getComputedStyle(e).outlineStyle !== 'none' && box.bottom > 0 && box.top < innerHeight,
	};
})(%s)`

// moveFocus presses a key until the focus is where it shall be. Whoever sees the page
// must see where it is, all the way (WCAG 2.4.7).
func moveFocus(selector, key string) chromedp.Action[focus] {
	return func(ctx context.Context, t *chromedp.Target) (focus, error) {
		for range 100 {
			at, err := chromedp.Evaluate[focus](fmt.Sprintf(whereFocusIs, strconv.Quote(selector)))(ctx, t)
			if err != nil || at.Matches || at.Group && key == kb.Tab {
				return at, err
			}
			if _, err := chromedp.KeyEvent(key)(ctx, t); err != nil {
				return at, err
			}
			if at, err = chromedp.Evaluate[focus](fmt.Sprintf(whereFocusIs, strconv.Quote(selector)))(ctx, t); err != nil {
				return at, err
			}
			if !at.Visible {
				return at, errors.New("the focus can't be seen on " + at.Element)
			}
		}
		return focus{}, errors.New("the keyboard doesn't reach " + selector)
	}
}
