// Package must lets tests call functions that return an error without handling that error.
package must

// Get returns v. It panics if err is not nil.
func Get[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
