package authkey

import "sync/atomic"

// Notes is what others keep with an identity that is cached: work that is the same for each of its requests, such as the
// names of its counts. It lives and ends with the identity, so nothing of it outlasts a change. The zero Notes is empty
// and ready; a nil one keeps nothing. Safe for concurrent use.
type Notes struct{ last atomic.Pointer[note] }

// note is one of a list, which only grows, at its beginning.
type note struct {
	key, value any
	before     *note
	count      int
}

// maxNotes bounds the list: an identity meets few routes of few kinds, and one that meets more does that work anew.
const maxNotes = 32

// Load returns what is kept under a key, nil if nothing is. Keys are compared as in a map; a pointer of the caller's own
// meets nobody else's. It takes no lock and does not allocate, a nanosecond or two for each note.
func (n *Notes) Load(key any) any {
	if n == nil {
		return nil
	}
	for at := n.last.Load(); at != nil; at = at.before {
		if at.key == key {
			return at.value
		}
	}
	return nil
}

// Store keeps a value under a key, unless something is kept there already or 32 are kept, and returns what Load returns
// then: the value that all callers are to use, or value where there was no room.
func (n *Notes) Store(key, value any) any {
	if n == nil {
		return value
	}
	for {
		last := n.last.Load()
		if kept := n.Load(key); kept != nil {
			return kept
		}
		next := &note{key: key, value: value, before: last, count: 1}
		if last != nil {
			if last.count >= maxNotes {
				return value
			}
			next.count += last.count
		}
		if n.last.CompareAndSwap(last, next) {
			return value
		}
	}
}
