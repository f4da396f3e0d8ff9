package ratelimit

import (
	"hash/maphash"
	"sync"
)

// table holds the Prepared of the requests that came lately, so that whoever just calls Admit has their profit, too. Safe
// for concurrent use.
type table struct {
	seed   maphash.Seed
	shards [64]shard
	most   int // in a shard
}

// shard is a part of the table. Two requests with one hash do not occur; if they do, one goes without.
type shard struct {
	mu      sync.RWMutex
	entries map[uint64]*Prepared
}

func (t *table) init(most int) {
	t.seed, t.most = maphash.MakeSeed(), max(most/len(t.shards), 1)
	for i := range t.shards {
		t.shards[i].entries = make(map[uint64]*Prepared)
	}
}

// find returns the Prepared of a request, apart from what comes with each call, and from its costs too where these will.
func (l *Limiter) find(r *Request, costs bool) (*Prepared, error) {
	if r.preview != nil {
		return l.prepare(r)
	}
	hash := l.prepared.hash(r)
	s := &l.prepared.shards[hash%uint64(len(l.prepared.shards))]
	s.mu.RLock()
	p := s.entries[hash]
	s.mu.RUnlock()
	if p != nil && p.request.same(r, costs) && len(r.Hold) <= maxTenant {
		return p, nil
	}
	p, err := l.prepare(r)
	if err != nil {
		return nil, err
	}
	return s.add(hash, p, l.prepared.most, costs), nil
}

// add puts a Prepared in, unless somebody just did, and returns the one to go on with. Where there is no room, another
// gives way: a map is ranged over from a random place.
func (s *shard) add(hash uint64, p *Prepared, most int, costs bool) *Prepared {
	s.mu.Lock()
	defer s.mu.Unlock()
	if held := s.entries[hash]; held != nil && held.request.same(&p.request, costs) {
		return held
	}
	if len(s.entries) >= most {
		for other := range s.entries {
			delete(s.entries, other)
			break
		}
	}
	s.entries[hash] = p
	return p
}

// hash is of what tells most requests apart.
func (t *table) hash(r *Request) uint64 {
	hash := maphash.String(t.seed, r.Project)
	for _, s := range [...]string{r.Org, r.Key, r.Endpoint} {
		hash = hash*31 + maphash.String(t.seed, s)
	}
	for i := range r.Charges {
		hash = hash*31 + maphash.String(t.seed, r.Charges[i].Policy.Name)
		if value := r.Charges[i].Value; value != "" {
			hash = hash*31 + maphash.String(t.seed, value)
		}
	}
	return hash
}

// same reports whether two requests differ in nothing but what comes with each call: Epoch, Token, Hold and Peek, and
// costs unless those are asked for.
func (r *Request) same(o *Request, costs bool) bool {
	if r.Org != o.Org || r.Project != o.Project || r.Key != o.Key || r.Plan != o.Plan || r.Endpoint != o.Endpoint || len(r.Charges) != len(o.Charges) {
		return false
	}
	for i := range r.Charges {
		a, b := &r.Charges[i], &o.Charges[i]
		if a.Policy != b.Policy || a.Value != b.Value || a.AtOnce != b.AtOnce || costs && a.Cost != b.Cost {
			return false
		}
	}
	return true
}
