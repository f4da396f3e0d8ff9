package legacy

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/lua/audit"
)

const maxHashLen = 1024

// refusals are the answers of a Lookup that say something of the key.
var refusals = []error{
	authkey.ErrUnknown, authkey.ErrRevoked, authkey.ErrDisabled, authkey.ErrExpired, authkey.ErrNotYetValid,
	authkey.ErrSuspended, authkey.ErrMalformed,
}

// ask tries each scheme that a key has the form of, until one knows it. An outage of one does not keep the key from the
// next, but then nobody can say that it is unknown.
func (c *Chain) ask(ctx context.Context, presented authkey.Presented, key sum) (*authkey.Identity, error) {
	from := c.now()
	var outage error
	for _, s := range c.schemes {
		if !s.shape(presented.Reveal()) {
			continue
		}
		identity, err := c.try(ctx, s, presented)
		switch {
		case err == nil:
			return identity, nil
		case errors.Is(err, authkey.ErrUnavailable):
			outage = errors.Join(outage, err)
		case !errors.Is(err, errNext):
			if errors.Is(err, authkey.ErrExpired) || errors.Is(err, authkey.ErrUnknown) {
				c.refused.Add(key, refusal{err, from.Add(c.life)})
			}
			return nil, err
		}
	}
	if outage != nil {
		return nil, outage
	}
	c.refused.Add(key, refusal{authkey.ErrUnknown, from.Add(c.life)})
	return nil, authkey.ErrUnknown
}

// errNext says that a scheme does not have the key, so that the next may.
var errNext = errors.New("legacy: not of this scheme")

// try asks one scheme's table, and moves the key if it is there. errNext: it is not.
func (c *Chain) try(ctx context.Context, s *Scheme, presented authkey.Presented) (identity *authkey.Identity, err error) {
	e := Event{Scheme: s.name, Outcome: Failed}
	defer func() {
		if r := recover(); r != nil { // in a look-up's own goroutine nobody else could
			identity, err = nil, unavailable(fmt.Errorf("scheme %s panicked: %v", s.name, r))
			c.counts[s.name].failed.Add(1)
		}
	}()
	row, err := c.find(ctx, s, presented)
	switch {
	case errors.Is(err, errThrottled):
		c.counts[s.name].throttled.Add(1)
		return nil, err
	case errors.Is(err, errNext):
		e.Outcome, e.Err = Refused, authkey.ErrUnknown
		c.note(e)
		return nil, err
	case err == nil:
		e.Source, e.Org, e.Project = row.Key.Source, row.Key.Org, row.Key.Project
		identity, e.Outcome, err = c.move(ctx, s, presented, row.Key)
	}
	e.Err = err
	c.note(e)
	return identity, err
}

var errThrottled = errors.New("more look-ups than WithRate allows")

// find returns the row of a key whose hash is that of the key. Errors: errNext, or ErrUnavailable.
func (c *Chain) find(ctx context.Context, s *Scheme, presented authkey.Presented) (Row, error) {
	if !c.lookups.AllowN(c.now(), 1) {
		return Row{}, unavailable(errThrottled)
	}
	row, err := s.lookup(ctx, s.reference(presented.Reveal()))
	switch {
	case errors.Is(err, authkey.ErrUnavailable):
		return Row{}, err
	case slices.ContainsFunc(refusals, func(refusal error) bool { return errors.Is(err, refusal) }):
		return Row{}, errNext
	case err != nil:
		return Row{}, unavailable(fmt.Errorf("scheme %s: lookup: %w", s.name, err))
	case row.Hash == "" || len(row.Hash) > maxHashLen:
		return Row{}, unavailable(fmt.Errorf("scheme %s: the stored hash has %d bytes, want 1 to %d", s.name, len(row.Hash), maxHashLen))
	case s.slow && !c.compares.AllowN(c.now(), 1):
		return Row{}, unavailable(errThrottled)
	}
	same, err := s.compare(ctx, presented, row.Hash)
	if err != nil {
		return Row{}, unavailable(fmt.Errorf("scheme %s: %w", s.name, err))
	}
	if !same {
		return Row{}, errNext
	}
	return row, nil
}

// move imports a key that an old table has, and has the verifier answer.
func (c *Chain) move(ctx context.Context, s *Scheme, presented authkey.Presented, key authkey.NewKey) (*authkey.Identity, Outcome, error) {
	if key.Source == "" {
		return nil, Failed, unavailable(fmt.Errorf("scheme %s: the Lookup gave a key without Source", s.name))
	}
	if !key.ExpiresAt.IsZero() && !c.now().Before(key.ExpiresAt) {
		return nil, Refused, fmt.Errorf("%w: legacy: source %q", authkey.ErrExpired, key.Source)
	}
	actor := audit.ActorOf(ctx)
	actor.Name = "legacy:" + s.name
	_, err := c.issuer.Import(audit.NewContext(ctx, actor), presented, key)
	outcome := Upgraded
	if errors.Is(err, authkey.ErrExists) {
		outcome, err = Joined, nil
	}
	if err != nil {
		return nil, Failed, unavailable(fmt.Errorf("scheme %s: import of %q: %w", s.name, key.Source, err))
	}
	// Whatever the verifier has cached is older than the record; nil makes it look.
	identity, err := c.verifier.Refresh(ctx, presented, nil)
	switch {
	case err == nil:
		return identity, outcome, nil
	case errors.Is(err, authkey.ErrUnavailable) && outcome == Joined:
		return nil, Failed, err
	case outcome == Upgraded && (isUnknown(err) || errors.Is(err, authkey.ErrMalformed)):
		return nil, outcome, unavailable(fmt.Errorf("source %q was imported, but the verifier does not find it: give issuer and verifier the same store and hasher, and have the verifier accept its kind", key.Source))
	case outcome == Upgraded:
		return nil, outcome, err
	}
	// Refused in the new store for what it is there; or its digest there is under a pepper that the hasher has not, or
	// its credential was replaced. The old table has no say any more.
	return nil, Refused, fmt.Errorf("%w: legacy: source %q is in the new store already", err, key.Source)
}
