package middleware

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Metered is a stage whose admitted requests are counted.
type Metered struct{ *step }

// meter is what a step counts. Immutable.
type meter struct {
	recorder      Recorder
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

func (m *meter) done(a *Admission, status int) {
	if m.billable != nil && !m.billable(status) {
		return
	}
	m.record(a, m.product, m.kind, 1)
	for _, c := range a.counts {
		if c.meter == m {
			m.record(a, c.product, c.kind, c.units)
		}
	}
}

func (m *meter) record(a *Admission, product, kind string, units int64) {
	u := Usage{Product: product, Kind: kind, Units: units, At: time.Now()}
	if a.identity != nil {
		u.Org, u.Project = a.identity.Org, a.identity.Project
	}
	if m.source != nil {
		if u.Source = m.source(a.request); !validName(u.Source) {
			u.Source = ""
		}
	}
	m.recorder.Record(u)
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
