package browser

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// A device is an input device with which a person uses a page. A CSS selector names the element
// that the person uses.
type device interface {
	press(selector string) action       // presses a link or a button
	write(selector, text string) action // replaces the text of a field
	choose(selector string) action      // selects a checkbox or a radio button
}

// A mouse can use only an element that is visible and not covered by another element.
type mouse struct{}

func (mouse) press(selector string) action  { return chromedp.Click(chromedp.CSS(selector)) }
func (mouse) choose(selector string) action { return chromedp.Click(chromedp.CSS(selector)) }

func (mouse) write(selector, text string) action {
	tripleClick := func(ctx context.Context, t *chromedp.Target, nodes []*chromedp.Node) (chromedp.Void, error) {
		return chromedp.MouseClickNode(nodes[0], chromedp.ClickCount(3))(ctx, t)
	}
	selectLine := chromedp.QueryAfter(chromedp.CSS(selector), tripleClick)
	return chromedp.Steps(selectLine, chromedp.KeyEvent(text))
}

// A keyboard can use only an element that gets the focus by Tab or the arrow keys.
type keyboard struct{}

func (keyboard) press(selector string) action {
	return chromedp.Steps(tabTo(selector), chromedp.KeyEvent(kb.Enter))
}

func (keyboard) write(selector, text string) action {
	return chromedp.Steps(tabTo(selector), chromedp.KeyEvent(text)) // Tab also selects the text of the field
}

func (keyboard) choose(selector string) action {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		at, err := moveFocus(selector, kb.Tab)(ctx, t)
		switch {
		case err != nil:
			return err
		case !at.Matches: // the focus is on another radio button of the same group
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

// A focus describes the element that has the keyboard focus.
type focus struct {
	Element string // beginning of its HTML
	Matches bool   // whether the selector matches the element
	Group   bool   // whether it is a radio button in the same group as the element of the selector
	Radio   bool   // whether it is a radio button
	Visible bool   // whether a person can see that it has the focus
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

// moveFocus presses a key until an element that matches the selector has the focus. After each key
// press, the focus must be visible (WCAG 2.4.7).
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
				return at, errors.New("the focus is not visible on " + at.Element)
			}
		}
		return focus{}, errors.New("the keyboard does not reach " + selector)
	}
}
