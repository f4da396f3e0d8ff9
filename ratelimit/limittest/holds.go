package limittest

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tollgate-go/tollgate/lua"
)

func holdsKey(c *lua.Charge) string {
	if c.Algorithm == lua.Concurrency {
		return c.Key
	}
	return lua.HoldsKey(c.Key)
}

// held returns the units that are held at now.
func (p *policy) held(now int64) (units int64) {
	for member, end := range p.holds {
		if !gone(now, end) {
			units += unitsOf(member)
		}
	}
	return units
}

// gone reports whether a hold does not count any more: it has ended, or it ends so late that it would begin a
// longest lease in the future.
func gone(now, end int64) bool { return end <= now || end > now+2*lua.MaxLease }

func unitsOf(member string) int64 {
	text, _, _ := strings.Cut(member, ":")
	units, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		panic("limittest: a hold is " + member)
	}
	return units
}

func (p *policy) sweep(now int64) {
	for member, end := range p.holds {
		if gone(now, end) {
			delete(p.holds, member)
		}
	}
}

func (m *Model) hold(now int64, p *policy, units int64, id string) {
	if p.holds == nil {
		p.holds = map[string]int64{}
	}
	p.sweep(now)
	p.holds[fmt.Sprintf("%d:%s", units, id)] = now + p.Lease
	m.keep(p)
}

// keep stores the holds, if there are any.
func (m *Model) keep(p *policy) {
	m.Written[holdsKey(&p.Charge)] = true
	if len(p.holds) == 0 {
		delete(m.Holds, holdsKey(&p.Charge))
		return
	}
	m.Holds[holdsKey(&p.Charge)] = p.holds
}
