package differential

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/go-tokenauth/tokenauth"
)

// A call is a call of a method of Store. The arguments do not include the context.
type call struct {
	method string
	args   []any
}

func newCall(method string, args ...any) call { return call{method, args} }

// A result is what a call returns.
type result struct {
	kind   string // see kindOf
	err    error
	values []any // without the error; nil if there is an error
}

var sentinels = []struct {
	name string
	err  error
}{
	{"ErrNotFound", tokenauth.ErrNotFound},
	{"ErrNameTaken", tokenauth.ErrNameTaken},
	{"ErrKeyTaken", tokenauth.ErrKeyTaken},
	{"ErrSlotTaken", tokenauth.ErrSlotTaken},
	{"ErrConflict", tokenauth.ErrConflict},
	{"ErrUserUnknown", tokenauth.ErrUserUnknown},
}

// kindOf returns the names of the sentinel errors that err wraps, and the index of a RecordError.
func kindOf(err error) string {
	if err == nil {
		return ""
	}
	var names []string
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			names = append(names, s.name)
		}
	}
	if names == nil {
		return "another error"
	}
	if one, ok := errors.AsType[*tokenauth.RecordError](err); ok {
		names = append(names, fmt.Sprint("index ", one.Index))
	}
	return strings.Join(names, " and ")
}

// run makes the call on a store. The store gets copies of the arguments. After the call, run
// overwrites these copies and a returned list, because a store must keep copies.
func (c call) run(ctx context.Context, s tokenauth.Store) (r result) {
	defer func() {
		if p := recover(); p != nil {
			r = result{kind: "panic", err: fmt.Errorf("panic: %v", p)}
		}
	}()
	in := []reflect.Value{reflect.ValueOf(ctx)}
	for _, arg := range c.args {
		in = append(in, clone(reflect.ValueOf(arg)))
	}
	out := reflect.ValueOf(s).MethodByName(c.method).Call(in)
	last := len(out) - 1
	if err, ok := out[last].Interface().(error); ok {
		r = result{kind: kindOf(err), err: err}
	} else {
		for _, v := range out[:last] {
			if v.Kind() == reflect.Slice && v.Len() == 0 {
				v = reflect.Zero(v.Type()) // an empty list may be nil
			}
			r.values = append(r.values, clone(v).Interface())
		}
	}
	for _, v := range in[1:] {
		overwrite(v)
	}
	if c.method == "List" {
		overwrite(out[0])
	}
	return r
}

// equal reports whether two results agree. The texts of errors may differ.
func (r result) equal(other result) bool {
	return r.kind == other.kind && reflect.DeepEqual(r.values, other.values)
}

func (r result) String() string {
	if r.err != nil {
		return fmt.Sprintf("%s (%v)", r.kind, r.err)
	}
	if len(r.values) == 0 {
		return "no error"
	}
	return goSource(r.values[0])
}

// clone returns a deep copy of v.
func clone(v reflect.Value) reflect.Value {
	c := reflect.New(v.Type()).Elem()
	c.Set(v)
	switch v.Kind() {
	case reflect.Slice:
		if v.IsNil() {
			break
		}
		c.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		for i := range v.Len() {
			c.Index(i).Set(clone(v.Index(i)))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			c.Set(reflect.New(v.Type().Elem()))
			c.Elem().Set(clone(v.Elem()))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				c.Field(i).Set(clone(v.Field(i)))
			}
		}
	}
	return c
}

// overwrite sets everything to zero that v refers to.
func overwrite(v reflect.Value) {
	switch v.Kind() {
	case reflect.Slice:
		for i := range v.Len() {
			overwrite(v.Index(i))
			v.Index(i).SetZero()
		}
	case reflect.Pointer:
		if !v.IsNil() {
			overwrite(v.Elem())
			v.Elem().SetZero()
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				overwrite(v.Field(i))
			}
		}
	}
}
