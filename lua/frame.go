package lua

// Frame is what makes a plain charge one INCRBY: admit.lua tells the frame that a state has (State.Frame), and whoever
// shows it again is answered from a count alone, as long as nothing else was done to the state. A frame that has ended,
// or that was told to a charge of another limit, costs nothing but the longer way.
//
// A frame is told by the answer to a check that showed none, or in vain; one that was shown comes back as it was. Show
// none that was told more than a second ago: what a changed limit makes of what was taken goes by when that was.
type Frame struct {
	Generation int64 // 0 asks for a frame
	Before     int64 // what else decides, as batch.lua has it
}

// shows reports whether a charge has a frame that is known.
func (c *Charge) shows() bool { return c.Frame != nil && c.Frame.Generation != 0 }
