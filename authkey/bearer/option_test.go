package bearer_test

import (
	"context"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
)

func nobody(context.Context, string) (bearer.Issuer, error) {
	return bearer.Issuer{}, authkey.ErrUnknown
}

func anything(context.Context, *authkey.Identity) error { return nil }

func TestOptionsThatNewRefuses(t *testing.T) {
	t.Parallel()
	limited := good(t)
	limited.MaxLifetime = time.Hour
	for name, r := range map[string]struct {
		opts []bearer.Option
		want string
	}{
		"nil":                         {[]bearer.Option{nil}, "option number 1 is nil"},
		"no timeout":                  {[]bearer.Option{bearer.WithTimeout(0)}, "WithTimeout(0s): want more than 0, up to 1m0s"},
		"a timeout below zero":        {[]bearer.Option{bearer.WithTimeout(-1)}, "WithTimeout(-1ns)"},
		"too long a timeout":          {[]bearer.Option{bearer.WithTimeout(time.Minute + 1)}, "WithTimeout("},
		"no proofs":                   {[]bearer.Option{bearer.WithProofs(nil)}, "WithProofs(nil)"},
		"proofs that are nil":         {[]bearer.Option{bearer.WithProofs((*proofs)(nil))}, "WithProofs(nil)"},
		"no revocations":              {[]bearer.Option{bearer.WithRevocations(nil)}, "WithRevocations(nil)"},
		"revocations that are nil":    {[]bearer.Option{bearer.WithRevocations((*revocations)(nil))}, "WithRevocations(nil)"},
		"no outage":                   {[]bearer.Option{bearer.WithRevocations(new(revocations)), bearer.WithOpenRevocations(nil)}, "WithOpenRevocations(nil)"},
		"open, and no revocations":    {[]bearer.Option{bearer.WithOpenRevocations(func(error) {})}, "WithOpenRevocations needs WithRevocations"},
		"no introspector":             {[]bearer.Option{bearer.WithIntrospection(limited, nil)}, "WithIntrospection(nil)"},
		"an introspector that is nil": {[]bearer.Option{bearer.WithIntrospection(limited, (*endpoint)(nil))}, "WithIntrospection(nil)"},
		"a bad issuer of opaque ones": {[]bearer.Option{bearer.WithIntrospection(bearer.Issuer{Audiences: []string{""}}, new(endpoint))}, "URL: want"},
		"no validator":                {[]bearer.Option{bearer.WithValidator(nil, time.Second)}, "WithValidator(nil)"},
		"no time for a validator":     {[]bearer.Option{bearer.WithValidator(anything, 0)}, "WithValidator: timeout 0s"},
		"too much time":               {[]bearer.Option{bearer.WithValidator(anything, time.Minute+1)}, "up to 1m0s"},
		"no resolver":                 {[]bearer.Option{bearer.WithResolver(nil, 1)}, "WithResolver: want a function"},
		"a resolver of none":          {[]bearer.Option{bearer.WithResolver(nobody, 0)}, "1 to 100000 issuers"},
		"a resolver of too many":      {[]bearer.Option{bearer.WithResolver(nobody, 100_001)}, "1 to 100000 issuers"},
		"no entries":                  {[]bearer.Option{bearer.WithCache(0, time.Second)}, "WithCache(0, 1s): want 1 to 1000000 entries"},
		"too many entries":            {[]bearer.Option{bearer.WithCache(1_000_001, time.Second)}, "WithCache("},
		"no life":                     {[]bearer.Option{bearer.WithCache(1, 0)}, "WithCache(1, 0s)"},
		"too long a life":             {[]bearer.Option{bearer.WithCache(1, time.Minute+1)}, "up to 1m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := bearer.New([]bearer.Issuer{limited}, r.opts...)
			wants(t, err, r.want)
		})
	}
	t.Run("at the bounds", func(t *testing.T) {
		t.Parallel()
		for _, opts := range [][]bearer.Option{
			{bearer.WithTimeout(time.Minute), bearer.WithCache(1_000_000, time.Minute), bearer.WithValidator(anything, time.Minute), bearer.WithResolver(nobody, 100_000)},
			{bearer.WithTimeout(1), bearer.WithCache(1, 1), bearer.WithValidator(anything, 1), bearer.WithResolver(nobody, 1)},
		} {
			if _, err := bearer.New([]bearer.Issuer{limited}, opts...); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestRevocationsNeedALifetime(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]struct {
		lifetime time.Duration
		bad      bool
	}{
		"none": {0, true}, "longer": {time.Hour + 1, true}, "as long": {time.Hour, false}, "shorter": {time.Minute, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := good(t)
			i.MaxLifetime = r.lifetime
			_, err := bearer.New([]bearer.Issuer{i}, bearer.WithRevocations(new(revocations)))
			_, opaque := bearer.New(nil, bearer.WithRevocations(new(revocations)), bearer.WithIntrospection(i, new(endpoint)))
			for _, err := range []error{err, opaque} {
				if !r.bad && err != nil {
					t.Error(err)
				}
				if r.bad {
					wants(t, err, "WithRevocations needs a MaxLifetime of up to 1h0m0s")
				}
			}
		})
	}
}
