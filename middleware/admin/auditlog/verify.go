package auditlog

import (
	"context"
	"fmt"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/audit"
	"github.com/tollgate-go/tollgate/lua/seal"
)

// Report is what Verify found.
type Report struct {
	// OK: nothing is wrong.
	OK bool `json:"ok"`
	// Entries is how many fit, and Head the last of them: an anchor for the next time.
	Entries int64 `json:"entries"`
	Head    Head  `json:"head"`
	// First is the first entry that there is. Its Seq is above 1 where what was before was trimmed, or removed by
	// somebody; then only its seal speaks for the entry itself.
	First Head `json:"first"`
	// BrokenAt is the number of the first entry that is wrong or missing, and Why what is wrong. What follows it was
	// not looked at.
	BrokenAt int64  `json:"broken_at,omitempty"`
	Why      string `json:"why,omitempty"`
}

// Verify reads the whole trail of an org, or with "" that of the plans, and tells whether its entries are as they were
// written. With an anchor, which was the Head of a trail that was verified before, it also tells whether they still are
// those, and whether the trail goes on from there. A trail that was trimmed beyond the anchor is not OK, for nothing
// tells who removed the entries: verify more often than 100,000 changes are made.
//
// It makes a call to Redis for each 500 entries, each within the timeout, and has no more than those in memory. A trail
// that is not OK is no error. Errors: ErrInvalid, ErrUnavailable.
func (l *Log) Verify(ctx context.Context, org string, anchor *Head) (Report, error) {
	if err := validOrg(org); err != nil {
		return Report{}, err
	}
	if err := anchor.validate(); err != nil {
		return Report{}, err
	}
	c := chain{org: org, sealer: l.sealer, anchor: anchor}
	for part := (lua.TrailRange{Count: pageSize}); ; {
		entries, err := l.read(ctx, org, part)
		if err != nil {
			return Report{}, err
		}
		for i := range entries {
			if !c.add(&entries[i]) {
				return c.Report, nil
			}
		}
		if len(entries) < pageSize {
			return c.end(), nil
		}
		part.From = "(" + entries[len(entries)-1].ID
	}
}

const linkLen = 40 // hexadecimal digits of a SHA-1

func (h *Head) validate() error {
	if h != nil && (h.Seq < 0 || (h.Seq == 0) != (h.Link == "") || h.Seq > 0 && len(h.Link) != linkLen) {
		return fmt.Errorf("%w anchor: %d %.50q must be a Head that Head or Verify returned", ErrInvalid, h.Seq, h.Link)
	}
	return nil
}

// What can be wrong with a trail.
const (
	whyDamaged = "it is not made as entries are"
	whyNumber  = "the trail goes on with entry %d: entries were removed, inserted or moved"
	whyLink    = "its link does not follow from the entry before: it, or that, was changed"
	whyAnchor  = "it is not the entry that the anchor names: the trail was written anew"
	whyEnd     = "the trail ends before the anchor: its last entries were removed"
	whyBegin   = "the trail begins after the anchor: what follows the anchor was trimmed or removed"
)

// chain verifies the entries of a trail, one after the other.
type chain struct {
	Report

	org    string
	sealer *seal.Sealer
	anchor *Head
}

// add takes the entry that follows, and reports whether it does.
func (c *chain) add(e *lua.TrailEntry) bool {
	expected := c.Head.Seq + 1
	switch {
	case e.Damaged:
		return c.broken(expected, whyDamaged)
	case c.Entries == 0 && c.anchor != nil && e.Seq > c.anchor.Seq+1:
		return c.broken(c.anchor.Seq+1, whyBegin)
	case c.Entries > 0 && e.Seq != expected:
		return c.broken(expected, fmt.Sprintf(whyNumber, e.Seq))
	}
	if err := e.Line.Verify(c.sealer, c.org); err != nil {
		return c.broken(e.Seq, err.Error())
	}
	if before, known := c.before(e); known && e.Link != audit.Link(before, e.Seq, e.Line.Sum) {
		return c.broken(e.Seq, whyLink)
	}
	head := headOf(e)
	if c.anchor != nil && c.anchor.Seq == e.Seq && *c.anchor != head {
		return c.broken(e.Seq, whyAnchor)
	}
	if c.Entries == 0 {
		c.First = head
	}
	c.Head = head
	c.Entries++
	return true
}

// before returns the link of the entry before; of the first that there is, only an anchor may know it.
func (c *chain) before(e *lua.TrailEntry) (link string, known bool) {
	switch {
	case c.Entries > 0:
		return c.Head.Link, true
	case e.Seq == 1:
		return "", true
	case c.anchor != nil && c.anchor.Seq == e.Seq-1:
		return c.anchor.Link, true
	}
	return "", false
}

func (c *chain) broken(at int64, why string) bool {
	c.OK, c.BrokenAt, c.Why = false, at, why
	return false
}

// end reports on all entries.
func (c *chain) end() Report {
	c.OK = true
	if c.anchor != nil && c.Head.Seq < c.anchor.Seq {
		c.broken(c.Head.Seq+1, whyEnd)
	}
	return c.Report
}
