package middleware

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
)

// Metered is a stage whose admitted requests are counted.
type Metered struct{ *step }

// meter is what a step counts. Immutable.
type meter struct {
	recorder      Recorder
	tallier       Tallier // the recorder, if it is one
	product, kind string
	source        func(*http.Request) string
	billable      func(status int) bool
}

// maxName bounds the names of usage.
const maxName = 128

func newMetered(before *step, recorder Recorder, product, kind string) *Metered {
	var faults []error
	if missing(recorder) {
		faults = append(faults, errors.New("middleware: Meter: the recorder is nil"))
	}
	if !validName(product) || !validName(kind) {
		faults = append(faults, fmt.Errorf("middleware: Meter(%q, %q): product and kind must be 1 to %d bytes of visible ASCII", product, kind, maxName))
	}
	m := &meter{recorder: recorder, product: product, kind: kind}
	m.tallier, _ = recorder.(Tallier)
	return &Metered{before.then(step{err: errors.Join(faults...), meter: m})}
}

// Source returns a stage that says where usage comes from. What the function returns is kept for
// billing, so it should choose from a few names rather than hand on what a client wrote; anything that is
// not 1 to 128 bytes of visible ASCII counts as "".
func (s *Metered) Source(source func(*http.Request) string) *Metered {
	return s.change(func(m *meter) error {
		if m.source = source; source == nil {
			return errors.New("middleware: Source(nil)")
		}
		return nil
	})
}

// Billable returns a stage that counts only responses with a status that the function accepts. By
// default every admitted request counts, whatever its handler answered.
func (s *Metered) Billable(billable func(status int) bool) *Metered {
	return s.change(func(m *meter) error {
		if m.billable = billable; billable == nil {
			return errors.New("middleware: Billable(nil)")
		}
		return nil
	})
}

func (s *Metered) change(edit func(*meter) error) *Metered {
	next, m := *s.step, *s.meter
	next.err = errors.Join(s.err, edit(&m))
	next.meter = &m
	return &Metered{&next}
}

func (m *meter) done(a *sight, status int) {
	if m.billable != nil && !m.billable(status) {
		return
	}
	u := Usage{Product: m.product, Kind: m.kind, Units: 1, At: time.Now()}
	if a.identity != nil {
		u.Org, u.Project = a.identity.Org, a.identity.Project
	}
	if m.source != nil {
		if u.Source = m.source(a.request); !validName(u.Source) {
			u.Source = ""
		}
	}
	m.record(a.identity, u)
	for _, c := range a.counts {
		if c.meter == m {
			u.Product, u.Kind, u.Units = c.product, c.kind, c.units
			m.recorder.Record(u)
		}
	}
}

// record counts the stage's own usage, at hand with an identity that is cached where that is possible.
func (m *meter) record(id *authkey.Identity, u Usage) {
	if m.tallier == nil || m.source != nil || id == nil || id.Notes == nil {
		m.recorder.Record(u)
		return
	}
	t, kept := id.Notes.Load(m).(*tallied)
	if !kept {
		t = &tallied{m.tallier.Tally(u), u.Org, u.Project}
		if t.Tally != nil {
			t, _ = id.Notes.Store(m, t).(*tallied)
		}
	}
	if t.Tally == nil || t.org != u.Org || t.project != u.Project {
		m.recorder.Record(u)
		return
	}
	t.Add(u.Units, u.At)
}

// tallied is a tally that an identity keeps, and whose it is.
type tallied struct {
	Tally
	org, project string
}

// count is what a handler added.
type count struct {
	meter         *meter
	product, kind string
	units         int64
}

func validName(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}
