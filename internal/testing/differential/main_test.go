package differential

import (
	"testing"

	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }
