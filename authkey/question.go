package authkey

import (
	"fmt"
	"strings"

	"github.com/tollgate-go/tollgate/authkey/internal/cache"
)

// sum is the SHA-256 of a presented key.
type sum = cache.Sum

// question is a key that passed all checks that need no I/O.
type question struct {
	presented Presented
	sum       sum
	id        string // "": a foreign key, found by digest
}

// shaped refuses what can be no key, at a glance: before its sum costs anything.
func (v *Verifier) shaped(presented Presented) error {
	key := presented.Reveal()
	if len(key) == 0 || len(key) > maxKeyLen || !v.foreign && !shaped(key) {
		return ErrMalformed
	}
	if p := presented.Presentation(); p != nil && strings.EqualFold(p.Scheme, "DPoP") {
		return fmt.Errorf("%w: it came by the scheme DPoP, and no key is bound to another", ErrMalformed)
	}
	return nil
}

// parse checks shape and checksum of what is shaped, then brand and env.
func (v *Verifier) parse(presented Presented, sum sum) (question, error) {
	q, key := question{presented: presented, sum: sum}, presented.Reveal()
	parsed, err := Parse(key)
	switch {
	case err == nil && v.accepts(parsed):
		q.id = parsed.ID
	case v.foreign && onlyVisible(key):
	case err != nil:
		return question{}, err
	default:
		return question{}, fmt.Errorf("%w: of another brand or env than %v", ErrMalformed, v.formats)
	}
	return q, nil
}

func (v *Verifier) accepts(parsed Parsed) bool {
	for _, f := range v.formats {
		if f.Accepts(parsed) {
			return true
		}
	}
	return len(v.formats) == 0
}
