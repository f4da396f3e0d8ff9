package ratelimit

import "github.com/tollgate-go/tollgate/lua"

// A count that is asked for again and again is charged by one command, if the caller shows the frame that it was told
// lately: see lua.Frame.

// frame is one that was told, and when.
type frame struct {
	lua.Frame
	told int64
}

// Times of frames, in microseconds.
const (
	often     = 250_000   // a frame is asked for where the request came so lately
	frameLife = 1_000_000 // see lua.Frame
)

// wanted asks for a frame.
var wanted = new(lua.Frame)

// frame returns that of a charge, or one that asks for it, or nil where it is not worth one.
func (p *Prepared) frame(i int, c *lua.Charge, now int64, often bool) *lua.Frame {
	f := p.frames[i].Load()
	switch {
	case f != nil && now >= f.told && now < f.told+frameLife && (c.Algorithm != lua.Sliding || now/c.Window == f.told/c.Window):
		return &f.Frame
	case often || f != nil:
		return wanted
	}
	return nil
}

// remember keeps the frames that an answer told. One that was shown comes back as it was, and gets no older life by that.
func (p *Prepared) remember(c *call, w *worked) {
	counted := 0
	for i := range w.limits {
		if w.limits[i].uncounted {
			continue
		}
		told, shown := c.answer.States[counted].Frame, c.check.Charges[counted].Frame
		counted++
		known := p.frames[i].Load()
		switch {
		case shown != nil && told == *shown && told.Generation != 0:
		case told.Generation != 0:
			p.frames[i].CompareAndSwap(known, &frame{told, c.answer.Now})
		case known != nil:
			p.frames[i].CompareAndSwap(known, nil)
		}
	}
}
