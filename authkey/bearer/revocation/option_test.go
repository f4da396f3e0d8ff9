package revocation_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer/revocation"
)

func TestNew(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { rdb.Close() })
	for what, tt := range map[string]struct {
		rdb  redis.UniversalClient
		opts []revocation.Option
		says []string
	}{
		"no client":      {nil, nil, []string{"the Redis client is nil"}},
		"nil option":     {rdb, []revocation.Option{nil}, []string{"option 0: nil"}},
		"nil logger":     {rdb, []revocation.Option{revocation.WithLogger(nil)}, []string{"WithLogger(nil)"}},
		"nil sealer":     {rdb, []revocation.Option{revocation.WithSealer(nil)}, []string{"WithSealer(nil)"}},
		"short lifetime": {rdb, []revocation.Option{revocation.WithLifetime(time.Second - 1)}, []string{"want 1s to 9600h0m0s"}},
		"long lifetime":  {rdb, []revocation.Option{revocation.WithLifetime(9600*time.Hour + 1)}, []string{"want 1s to 9600h0m0s"}},
		"all at once": {
			(*redis.Client)(nil), []revocation.Option{revocation.WithTimeout(time.Millisecond - 1), revocation.WithTimeout(time.Minute + 1), revocation.WithLifetime(0)},
			[]string{"the Redis client is nil", "WithTimeout(999.999µs)", "WithTimeout(1m0.000000001s): want 1ms to 1m", "WithLifetime(0s)"},
		},
	} {
		s, err := revocation.New(tt.rdb, tt.opts...)
		if s != nil || !errors.Is(err, authkey.ErrInvalid) {
			t.Errorf("%s: %v, %v; want ErrInvalid", what, s, err)
			continue
		}
		for _, says := range tt.says {
			if !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %q does not say %q", what, err, says)
			}
		}
	}
	for _, tt := range []struct {
		opts []revocation.Option
		want time.Duration
	}{
		{nil, 24 * time.Hour}, {[]revocation.Option{revocation.WithLifetime(time.Second), revocation.WithLifetime(9600 * time.Hour)}, 9600 * time.Hour},
	} {
		if s, err := revocation.New(rdb, tt.opts...); err != nil || s.Lifetime() != tt.want {
			t.Errorf("%v, want a Lifetime of %v", err, tt.want)
		}
	}
}
