package authkey

import (
	"errors"
	"time"
)

// Project is what a project of an org is set to, for all of its keys. A project that nothing is set for is active.
type Project struct {
	Org, Name string // 1 to 128 bytes each
	State     State  // StateActive, or StateSuspended, which stops all keys of the project at once
	Plan      string // of the keys that name none; up to 128 bytes, may be empty
	Reason    string // up to 256 bytes

	UpdatedAt time.Time // by the clock of the issuer
	Revision  int64     // 1 when first set, one more with each change; 0: nothing is set
}

// Validate joins every fault of a project that is about to be stored; each is ErrInvalid. For implementations of
// Store.
func (p *Project) Validate() error {
	var f faults
	f.text("Org", p.Org, 1, maxNameLen)
	f.text("Project", p.Name, 1, maxNameLen)
	f.text("Plan", p.Plan, 0, maxNameLen)
	f.text("Reason", p.Reason, 0, maxReasonLen)
	if p.State != StateActive && p.State != StateSuspended {
		f.add("State: want %q or %q", StateActive, StateSuspended)
	}
	return errors.Join(f...)
}
