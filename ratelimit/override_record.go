package ratelimit

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/seal"
)

// record is an override as Redis holds it. Numbers are strings, since the script that passes them on
// would round them to 14 digits.
type record struct {
	Project  string `json:"project"`
	Endpoint string `json:"endpoint"`
	Policy   string `json:"policy"`
	Limit    *int64 `json:"limit,string,omitempty"`
	Window   int64  `json:"window,string"` // microseconds
	Burst    int64  `json:"burst,string,omitempty"`
	Access   Access `json:"access,omitempty"`
	Change   Change `json:"change,omitempty"`
	From     int64  `json:"from,string,omitempty"` // Redis time, microseconds; 0 at once
	Until    int64  `json:"until,string"`          // 0 never
	Reason   string `json:"reason"`
	Revision int64  `json:"revision,string,omitempty"`
	Created  int64  `json:"created,string,omitempty"`
	Seal     string `json:"seal,omitempty"`
}

func (o *Override) record() record {
	r := record{
		Project: o.Project, Endpoint: o.Endpoint, Policy: o.Policy,
		Limit: o.Limit, Window: o.Window.Microseconds(), Burst: o.Burst, Access: o.Access, Change: o.Change, Reason: o.Reason,
	}
	if !o.StartsAt.IsZero() {
		r.From = o.StartsAt.UnixMicro()
	}
	if !o.ExpiresAt.IsZero() {
		r.Until = o.ExpiresAt.UnixMicro()
	}
	return r
}

// overrideDomain is what seals of overrides are told from others by.
const overrideDomain = "override"

// text returns the JSON of what the caller of Set says. A seal is of this text, so it has to stay the same for
// what is stored already: a member to come is left out where it is empty.
func (r record) text() (string, error) {
	r.Seal, r.Revision, r.Created = "", 0, 0
	text, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("%w override: %w", ErrInvalid, err)
	}
	return string(text), nil
}

// withSeal adds a seal to a JSON object that has other members; "" adds nothing.
func withSeal(text, mac string) string {
	if mac == "" {
		return text
	}
	return text[:len(text)-1] + `,"seal":"` + mac + `"}`
}

// verify tells of a seal that is missing or broken.
func (r record) verify(sealer *seal.Sealer, org, id string) error {
	if sealer == nil {
		return nil
	}
	text, err := r.text()
	if err != nil {
		return err
	}
	return sealer.Verify(r.Seal, overrideDomain, org, id, text)
}

// decodeOverride reads what Redis holds. What is not an override as Set writes them is an error.
func decodeOverride(sealer *seal.Sealer, org, id, text string) (Override, error) {
	var r record
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return Override{}, fmt.Errorf("%w: override %q of org %q cannot be read; delete it: %w", ErrUnavailable, id, org, err)
	}
	if err := r.verify(sealer, org, id); err != nil {
		return Override{}, fmt.Errorf("%w: override %q of org %q is not what was set; set it again or delete it: %w", ErrUnavailable, id, org, err)
	}
	o := Override{
		ID: id, Org: org, Project: r.Project, Endpoint: r.Endpoint, Policy: r.Policy,
		Limit: r.Limit, Window: time.Duration(r.Window) * time.Microsecond, Burst: r.Burst,
		Access: r.Access, Change: r.Change, Reason: r.Reason,
		Revision: r.Revision, UpdatedAt: time.UnixMicro(r.Revision).UTC(), CreatedAt: time.UnixMicro(r.Created).UTC(),
	}
	if r.From != 0 {
		o.StartsAt = time.UnixMicro(r.From).UTC()
	}
	if r.Until != 0 {
		o.ExpiresAt = time.UnixMicro(r.Until).UTC()
	}
	if err := errors.Join(o.Validate(), validStamps(r.Revision, r.Created)); err != nil {
		return Override{}, fmt.Errorf("%w: override %q of org %q cannot be used; delete it: %w", ErrUnavailable, id, org, err)
	}
	return o, nil
}

// validStamps tells of times that no change ever had, and that no clock shows.
func validStamps(revision, created int64) error {
	if min(revision, created) < 0 || max(revision, created) > lua.MaxTime {
		return fmt.Errorf("revision %d and created %d must be 0 to %d", revision, created, int64(lua.MaxTime))
	}
	return nil
}
