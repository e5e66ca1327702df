package storetest_test

import (
	"testing"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/storetest"
)

func ExampleRun() {
	var t *testing.T // the parameter of a test, such as TestStore
	storetest.Run(t, func(t *testing.T) tokenauth.Store {
		return tokenauth.NewMemoryStore() // your own store, without records
	})
}
