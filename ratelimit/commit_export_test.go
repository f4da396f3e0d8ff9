package ratelimit

// LaneOf returns the lane of an org.
func LaneOf(org string) int { return laneOf(org) }

// Waiting returns how many calls wait for a flight, and Flights how many of these are under way: those that somebody
// waits for, and those that were given up.
func (l *Limiter) Waiting() (n int) {
	l.each(func(q *queue) { n += q.waiting.size })
	return n
}

func (l *Limiter) Flights() (flying, late int) {
	l.each(func(q *queue) { flying, late = flying+len(q.flights)-q.late, late+q.late })
	return flying, late
}

// each calls f with each queue, while nobody else has it.
func (l *Limiter) each(f func(*queue)) {
	l.queues.mu.Lock()
	defer l.queues.mu.Unlock()
	for _, q := range l.queues.byNode {
		q.mu.Lock()
		f(q)
		q.mu.Unlock()
	}
}
