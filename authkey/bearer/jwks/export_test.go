package jwks

// Absent returns how many keys a source remembers not to be there.
func Absent(s *Source) int {
	defer Lock(s)()
	return len(s.entry.Load().absent)
}

// Lock holds what a source needs for everything but a key in memory.
func Lock(s *Source) (unlock func()) {
	s.cache.mu.Lock()
	return s.cache.mu.Unlock
}
