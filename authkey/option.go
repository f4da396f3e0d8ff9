package authkey

import (
	"fmt"
	"slices"
	"time"

	"github.com/tollgate-go/tollgate/authkey/internal/cache"
)

// Defaults and bounds of the options.
const (
	defaultEntries         = 10_000
	defaultLife            = 5 * time.Second
	defaultNegativeEntries = 1_024
	defaultNegativeLife    = 2 * time.Second
	defaultTimeout         = 50 * time.Millisecond
	maxEntries             = 10_000_000
	maxLife                = time.Minute
	maxTimeout             = time.Minute
)

// Option sets up New.
type Option interface{ apply(*Verifier) error }

// SharedOption sets up New and NewIssuer.
type SharedOption interface {
	Option
	IssuerOption
}

type option func(*Verifier) error

func (o option) apply(v *Verifier) error { return o(v) }

// basis is what a verifier and an issuer both need.
type basis struct {
	hasher *Hasher
	now    func() time.Time
	since  func(time.Time) time.Duration
}

type sharedOption func(*basis) error

func (o sharedOption) apply(v *Verifier) error     { return o(&v.basis) }
func (o sharedOption) applyIssuer(i *Issuer) error { return o(&i.basis) }

// WithFormat accepts minted keys of this brand and env only: a test key does not open a live service.
// Given several times, each format is accepted. Default: every well-formed key.
func WithFormat(f Format) Option {
	return option(func(v *Verifier) error {
		if f == (Format{}) {
			return fmt.Errorf("%w: WithFormat: want a format from NewFormat", ErrInvalid)
		}
		v.formats = append(v.formats, f)
		return nil
	})
}

// WithForeignKeys also accepts keys that Issuer.Import stored. Whatever is not a minted key of an accepted
// format is then looked up by its digest, so junk costs a look-up. Default: minted keys only.
func WithForeignKeys() Option {
	return option(func(v *Verifier) error {
		v.foreign = true
		return nil
	})
}

// WithKinds accepts keys of these kinds only; others are unknown. Default: KindSecret and KindPublishable, so that a key
// of the admin route opens nothing else.
func WithKinds(kinds ...Kind) Option {
	return option(func(v *Verifier) error {
		v.kinds = slices.Clone(kinds)
		for _, kind := range kinds {
			if kind != KindSecret && kind != KindPublishable && kind != KindAdmin {
				return fmt.Errorf("%w: WithKinds: %.20q: want %q, %q or %q", ErrInvalid, kind, KindSecret, KindPublishable, KindAdmin)
			}
		}
		if len(kinds) == 0 {
			return fmt.Errorf("%w: WithKinds(): want at least one", ErrInvalid)
		}
		return nil
	})
}

// WithUses notes when credentials are found good. Default: nobody does.
func WithUses(u *Uses) Option {
	return option(func(v *Verifier) error {
		if u == nil {
			return fmt.Errorf("%w: WithUses(nil): want one from NewUses", ErrInvalid)
		}
		v.uses = u
		return nil
	})
}

// WithHasher makes and compares digests with h. Default: plain SHA-256.
func WithHasher(h *Hasher) SharedOption {
	return sharedOption(func(b *basis) error {
		if h == nil {
			return fmt.Errorf("%w: WithHasher(nil): want one from NewHasher", ErrInvalid)
		}
		b.hasher = h
		return nil
	})
}

// WithClock takes the time from now instead of time.Now. For tests.
func WithClock(now func() time.Time) SharedOption {
	return sharedOption(func(b *basis) error {
		if now == nil {
			return fmt.Errorf("%w: WithClock(nil): want a function", ErrInvalid)
		}
		b.now, b.since = now, func(t time.Time) time.Duration { return now().Sub(t) }
		return nil
	})
}

// WithCache keeps up to entries records (1 to 10,000,000), each for life (up to a minute), counted from
// before it was read. Where nothing calls Refresh, life is how long a revoked key may go on. Default:
// 10,000 for 5 s.
func WithCache(entries int, life time.Duration) Option {
	return option(func(v *Verifier) error {
		v.good = cache.New[*entry](entries, life)
		return checkCache("WithCache", entries, life)
	})
}

// WithNegativeCache remembers up to entries unknown keys (1 to 10,000,000), each for life (up to a
// minute): that long a key created meanwhile may stay unknown. They never displace known ones. Default:
// 1,024 for 2 s.
func WithNegativeCache(entries int, life time.Duration) Option {
	return option(func(v *Verifier) error {
		v.bad = cache.New[struct{}](entries, life)
		return checkCache("WithNegativeCache", entries, life)
	})
}

// WithTimeout bounds a look-up in the store, and how long a call waits for it: up to a minute. Default
// 50 ms.
func WithTimeout(d time.Duration) Option {
	return option(func(v *Verifier) error {
		if d <= 0 || d > maxTimeout {
			return fmt.Errorf("%w: WithTimeout(%v): want more than 0, up to %v", ErrInvalid, d, maxTimeout)
		}
		v.timeout = d
		return nil
	})
}

func checkCache(name string, entries int, life time.Duration) error {
	if entries < 1 || entries > maxEntries || life <= 0 || life > maxLife {
		return fmt.Errorf("%w: %s(%d, %v): want 1 to %d entries, for more than 0, up to %v", ErrInvalid, name, entries, life, maxEntries, maxLife)
	}
	return nil
}

func checkStore(s Store) error {
	if s == nil {
		return fmt.Errorf("%w: store: nil", ErrInvalid)
	}
	if s, ok := s.(interface{ Err() error }); ok {
		return s.Err()
	}
	return nil
}

func nilOption(n int) error {
	return fmt.Errorf("%w: option %d: nil", ErrInvalid, n)
}
