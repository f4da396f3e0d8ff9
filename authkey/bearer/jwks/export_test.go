package jwks

// Absent returns how many keys a source remembers not to be there.
func Absent(s *Source) int {
	defer Lock(s)()
	return len(s.entry.Load().absent)
}

// Due returns what the timer of a source's entry calls, for one that is late.
func Due(s *Source) (fire func()) {
	e := s.entry.Load()
	return func() { s.cache.refresh(e) }
}

// Lock holds what a source needs for everything but a key in memory.
func Lock(s *Source) (unlock func()) {
	s.cache.mu.Lock()
	return s.cache.mu.Unlock
}
