package middleware

// MaxNetworks is how many networks a failure budget holds.
const MaxNetworks = maxNetworks

// FailingNetworks returns how many networks the failure budget of a stage holds.
func FailingNetworks(s Stage) int {
	f := s.last().config.failures
	f.mu.RLock()
	defer f.mu.RUnlock()
	return len(f.networks)
}
