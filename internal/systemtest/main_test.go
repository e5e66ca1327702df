// Package systemtest tests the library as a whole: faults, load, kills, leaks, databases, and
// the comparison with Django REST Framework.
package systemtest_test

import (
	"context"
	"testing"

	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

var ctx = context.Background()
