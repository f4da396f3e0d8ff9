package lua

// Frame is what makes a plain charge one INCRBY: admit.lua tells the frame that a state has (State.Frame), and whoever
// shows it again is answered from a count alone, as long as nothing else was done to the state. A frame that has ended
// costs nothing but the longer way, and so does one that was told to a charge of another limit. Copy it as a whole: it
// knows what it was told to.
//
// A frame is told by the answer to a check that showed none, or in vain; one that was shown comes back as it was. Show
// none that was told more than a second ago: what a changed limit makes of what was taken goes by when that was.
type Frame struct {
	Generation int64 // 0 asks for a frame
	Before     int64 // what else decides, as batch.lua has it
	of         measure
}

// measure is how a charge is counted, whatever its units.
type measure struct {
	algorithm                   Algorithm
	limit, window, start, burst int64
	change                      Change
}

func (c *Charge) measure() measure {
	return measure{c.Algorithm, c.Limit, c.Window, c.Start, c.Burst, c.Change}
}

// frame returns the one that a charge is told, or the zero one.
func frame(c *Charge, generation, before int64) Frame {
	if generation == 0 {
		return Frame{}
	}
	return Frame{generation, before, c.measure()}
}

// shows reports whether a charge has a frame of its own.
func (c *Charge) shows() bool {
	return c.Frame != nil && c.Frame.Generation != 0 && c.Frame.of == c.measure()
}
