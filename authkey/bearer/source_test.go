package bearer_test

import (
	"context"
	"errors"
	"testing"

	"github.com/tollgate-go/tollgate/authkey/bearer"
)

// faulty is a source that was set up wrongly.
type faulty struct{ err error }

func (f faulty) Err() error { return f.err }

func (f faulty) Keys(context.Context, bearer.Header) (*bearer.KeySet, error) { return nil, f.err }

func TestNewTellsFaultsOfSources(t *testing.T) {
	t.Parallel()
	issuer := bearer.Issuer{URL: "https://issuer.example", Audiences: []string{"api"}}
	for _, want := range []error{nil, errors.New("its URL is no URL")} {
		issuer.Keys = faulty{want}
		if _, err := bearer.New([]bearer.Issuer{issuer}); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("New with a source whose Err is %v: %v", want, err)
		}
	}
}
