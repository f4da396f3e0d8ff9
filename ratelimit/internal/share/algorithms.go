package share

import "github.com/tollgate-go/tollgate/lua"

// The functions of an algorithm, as algorithms.lua has them: begin completes an empty state, bring one that is stored,
// count returns the units that count now, fill makes them another number, and take takes some or gives them back and
// returns what to store.

func begin(p *policy, now int64) {
	switch p.Algorithm {
	case lua.Sliding:
		p.start = now - now%p.Window
	case lua.Calendar:
		p.start = p.page(now)
	case lua.GCRA:
		p.previous = p.Limit
	}
}

func (p *policy) bring(now int64, s *stored) bool {
	switch p.Algorithm {
	case lua.Fixed:
		p.window, p.current = min(p.window, p.Window), s.x
		p.ends = p.start + p.window
		return now < p.ends && p.start < now+p.window
	case lua.Sliding:
		return p.slide(now, s)
	case lua.Calendar:
		p.start = p.page(now)
		if s.at < p.start || s.at >= p.start+p.Window {
			return false
		}
		p.window, p.current = p.Window, s.x
		p.ends = min(s.at+s.y, p.start+p.Window)
		return now < p.ends
	case lua.GCRA:
		return p.leak(now, s)
	}
	return false
}

func (p *policy) count(now int64) int64 {
	switch {
	case p.Algorithm == lua.GCRA:
		return p.filled(now)
	case p.Algorithm == lua.Sliding && p.previous > 0:
		return p.current + part(p.previous, min(p.start+p.window-now, p.window), p.window)
	}
	return p.current
}

func (p *policy) fill(now, units int64) {
	if p.Algorithm == lua.GCRA {
		left, parts := divide(units, p.Window, p.Limit)
		p.start, p.current, p.window, p.previous = now+left, parts, p.Window, p.Limit
		return
	}
	p.current, p.previous = units, 0
}

func (p *policy) take(now, units, taken int64) (x, y, z int64) {
	switch p.Algorithm {
	case lua.GCRA:
		return p.pour(now, units, taken)
	case lua.Sliding:
		switch {
		case units > 0 || taken >= p.start:
			p.current = total(p.current, units)
		case taken >= p.start-p.window:
			p.previous = total(p.previous, units)
		}
		p.at, p.ends = max(now, p.at), p.start+weighs(p.current)*p.window
		return p.current, p.previous, 0
	}
	if units > 0 || taken >= p.start {
		p.current = total(p.current, units)
	}
	if p.Algorithm == lua.Calendar {
		p.at, p.ends = max(now, p.at), p.start+p.window
		return p.current, p.ends - p.at, 0
	}
	p.window, p.ends = p.Window, p.start+p.Window
	return p.current, 0, 0
}

// page returns when the running window of a calendar began.
func (p *policy) page(now int64) int64 {
	if p.Start > 0 {
		return p.Start
	}
	return now - now%p.Window
}

// weighs returns for how many windows a sliding one matters.
func weighs(current int64) int64 {
	if current > 0 {
		return 2
	}
	return 1
}

// slide is sliding.open.
func (p *policy) slide(now int64, s *stored) bool {
	start, current, previous := s.at-s.at%p.window, s.x, s.y
	ends := start + weighs(current)*p.window
	if p.window != p.Window {
		current, previous = current+part(previous, start+p.window-s.at, p.window), 0
		start = s.at - s.at%p.Window
	}
	if now >= start+p.Window && now < start+2*p.Window {
		start, current, previous = start+p.Window, 0, current
	}
	p.start, p.window, p.current, p.previous = start, p.Window, current, previous
	p.ends = min(ends, start+2*p.Window)
	return now < p.ends && start < now+p.Window
}

// leak is gcra.open: start is when the bucket is empty, current parts of 1/previous of a microsecond after it.
func (p *policy) leak(now int64, s *stored) bool {
	limit, left, parts := s.x, s.y, s.z
	if p.Limit == 0 {
		return false
	}
	units, rest := divide(left, limit, p.window)
	if units > 4*lua.MaxUnits {
		return false
	}
	// Which rate is the faster is asked of floating point numbers, as the script has no others.
	if float64(p.Limit)*float64(p.window) > float64(limit)*float64(p.Window) {
		left, parts = divide(units+whole(rest+parts, p.window), p.Window, p.Limit)
		limit, p.window = p.Limit, p.Window
	}
	if full, _ := divide(s.capacity, p.window, limit); s.at > now && s.at >= now+full {
		return false
	}
	p.start, p.current, p.previous = s.at+left, parts, limit
	p.ends = p.start + 1
	return p.start >= now
}

// filled is gcra.used.
func (p *policy) filled(now int64) int64 {
	if p.previous == 0 {
		return 0
	}
	units, rest := divide(p.start-now, p.previous, p.window)
	return units + whole(rest+p.current, p.window)
}

// pour is gcra.add.
func (p *policy) pour(now, units, taken int64) (x, y, z int64) {
	if units < 0 { // what leaked since then cannot be given back
		since := max(min(now-taken, lua.MaxWindow), 0)
		is, _ := divide(since, p.Limit, p.Window)
		was, _ := divide(since, p.previous, p.window)
		units = min(units+max(is, was), 0)
	}
	if p.window != p.Window || p.previous != p.Limit {
		p.fill(now, p.used)
	}
	more, parts := divide(max(units, -units), p.Window, p.Limit)
	if units > 0 {
		p.start, p.current = p.start+more, p.current+parts
		if p.current >= p.Limit {
			p.start, p.current = p.start+1, p.current-p.Limit
		}
	} else {
		p.start, p.current = p.start-more, p.current-parts
		if p.current < 0 {
			p.start, p.current = p.start-1, p.current+p.Limit
		}
	}
	if p.used+units > 2*lua.MaxUnits {
		p.fill(now, 2*lua.MaxUnits)
	}
	if p.start < now {
		p.start, p.current = now, 0
	}
	if p.start > now+lua.MaxWindow {
		p.start, p.current = now+lua.MaxWindow, 0
	}
	p.at, p.ends = now, p.start+1
	return p.Limit, p.start - p.at, p.current
}
