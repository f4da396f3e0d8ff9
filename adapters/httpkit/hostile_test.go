package httpkit_test

import (
	"testing"

	"github.com/tollgate-go/tollgate/adapters/adaptertest/hostiletest"
)

func TestHostile(t *testing.T) {
	t.Parallel()
	hostiletest.Run(t, adapter)
}
