package differential

import (
	"reflect"
	"slices"
	"time"
)

const shrinkTime = time.Minute

// shrink returns a shorter sequence of steps for which fails still returns true. It removes steps,
// arguments of calls that take any number of arguments, and values of optional fields. It gives up
// after a minute.
func shrink(steps []step, fails func([]step) bool) []step {
	end := time.Now().Add(shrinkTime)
	steps = remove(steps, end, fails)
	for i := range steps {
		c := &steps[i].call
		failsWith := func(args []any) bool {
			changed := slices.Clone(steps)
			changed[i].call.args = args
			return fails(changed)
		}
		if c.method == "Create" || c.method == "Touch" {
			c.args = remove(c.args, end, failsWith)
		}
		for j, arg := range c.args {
			shorter := clone(reflect.ValueOf(arg))
			clear(shorter, func() bool {
				args := slices.Clone(c.args)
				args[j] = shorter.Interface()
				return time.Now().Before(end) && failsWith(args)
			})
			c.args[j] = shorter.Interface()
		}
	}
	return remove(steps, end, fails) // which may succeed now if the choice of a Prune decided before
}

// optional are the fields that may be zero.
var optional = []string{
	"Scopes", "Hint", "Generation", "Origin", "ExpiresAt", "LastUsedAt", "RevokedAt", "Retired", "Slot", "Replaces", "IDs",
	"IncludeRevoked", "After", "Limit", "MinSlot", "MaxSlot", "Resources", "CreatedBy", "RevokedBy", "ExpiresBefore",
}

// clear sets each optional field of a struct to zero for which fails then returns true.
func clear(v reflect.Value, fails func() bool) {
	if v.Kind() != reflect.Struct {
		return
	}
	for i := range v.NumField() {
		field := v.Field(i)
		name := v.Type().Field(i).Name
		if name == "Token" {
			clear(field, fails)
		}
		if field.IsZero() || !slices.Contains(optional, name) {
			continue
		}
		before := reflect.ValueOf(field.Interface())
		if field.SetZero(); !fails() {
			field.Set(before)
		}
	}
}

// remove removes as many items as it can while fails returns true: first halves, then quarters, and
// finally single items.
func remove[T any](items []T, end time.Time, fails func([]T) bool) []T {
	items = slices.Clone(items)
	for size := max(len(items)/2, 1); size > 0; {
		removed := false
		for i := 0; i < len(items) && time.Now().Before(end); {
			shorter := slices.Delete(slices.Clone(items), i, min(i+size, len(items)))
			if fails(shorter) {
				items, removed = shorter, true
			} else {
				i += size
			}
		}
		if size > 1 || !removed {
			size /= 2
		}
	}
	return items
}
