package bearer_test

import (
	"testing"

	"github.com/go-tokenauth/tokenauth/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }
