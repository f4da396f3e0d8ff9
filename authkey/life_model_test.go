package authkey_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

// lifeModel is one key as it should be.
type lifeModel struct {
	id, project   string
	state         authkey.State
	revision      int64
	starts, ends  time.Time
	credentials   []*modelCredential // the newest first
	forgotten     []*modelCredential
	projectIsDown func() bool
}

type modelCredential struct {
	id      string
	key     authkey.Presented
	ends    time.Time
	revoked bool
}

func (c *modelCredential) live(now time.Time) bool {
	return !c.revoked && (c.ends.IsZero() || now.Before(c.ends))
}

// verdict is what a credential should be worth.
func (m *lifeModel) verdict(c *modelCredential, now time.Time) error {
	over := func(end time.Time) bool { return !end.IsZero() && !now.Before(end) }
	switch {
	case slices.Contains(m.forgotten, c):
		return authkey.ErrUnknown
	case m.state == authkey.StateRevoked || c.revoked:
		return authkey.ErrRevoked
	case m.state == authkey.StateDisabled:
		return authkey.ErrDisabled
	case now.Before(m.starts):
		return authkey.ErrNotYetValid
	case over(m.ends) || over(c.ends):
		return authkey.ErrExpired
	case m.projectIsDown():
		return authkey.ErrSuspended
	}
	return nil
}

// rotate does to the model what a rotation does, if it may.
func (m *lifeModel) rotate(now time.Time, overlap time.Duration, fresh *modelCredential) error {
	var old []*modelCredential
	for _, c := range m.credentials {
		if c.live(now) || overlap == 0 { // what ended here may live by another clock
			old = append(old, c)
		}
	}
	if overlap > 0 && len(old) > 1 {
		return authkey.ErrTooMany
	}
	if m.state == authkey.StateRevoked {
		return authkey.ErrRevoked
	}
	for _, c := range old {
		if overlap == 0 {
			c.revoked = true
		} else if end := now.Add(overlap); c.ends.IsZero() || end.Before(c.ends) {
			c.ends = end
		}
	}
	m.revision++
	m.credentials = append([]*modelCredential{fresh}, m.credentials...)
	for i := len(m.credentials) - 1; len(m.credentials) > authkey.MaxCredentials; i-- {
		if c := m.credentials[i]; !c.live(now) {
			m.forgotten, m.credentials = append(m.forgotten, c), slices.Delete(m.credentials, i, i+1)
		}
	}
	return nil
}

// Whatever is done to keys, and in whatever order, each credential that there ever was opens the gate when the model
// says so and is refused for the reason that the model has; of a verifier that has cached all of it, too.
func TestLifeModel(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, l *lives) {
		_, quick := l.Store.(*authkey.MemoryStore)
		rapid.Check(t, func(rt *rapid.T) {
			if quick || rapid.IntRange(0, 2).Draw(rt, "of three") == 0 { // a third of the runs is enough for a Redis
				newLifeMachine(rt, t, l).run()
			}
		})
	})
}

// lifeMachine drives a store and a model side by side.
type lifeMachine struct {
	*rapid.T
	outer    *testing.T
	lives    *lives
	keys     []*lifeModel
	projects map[string]bool // which are suspended
}

func newLifeMachine(rt *rapid.T, t *testing.T, l *lives) *lifeMachine {
	m := &lifeMachine{T: rt, outer: t, lives: l, projects: map[string]bool{}}
	shop := fmt.Sprint("shop-", redistest.Org(t)) // of this run
	for _, project := range []string{shop, shop, "blog-" + shop} {
		record, key, err := l.issuer.Issue(t.Context(), authkey.NewKey{Org: l.org, Project: project})
		if err != nil {
			rt.Fatal(err)
		}
		m.keys = append(m.keys, &lifeModel{
			id: record.ID, project: project, state: authkey.StateActive, revision: 1,
			credentials: []*modelCredential{{id: record.ID, key: key}}, projectIsDown: func() bool { return m.projects[project] },
		})
	}
	return m
}

func (m *lifeMachine) run() {
	m.Repeat(map[string]func(*rapid.T){
		"rotate": m.rotate, "rotate now": m.rotate, "revoke a credential": m.revokeCredential, "set state": m.setState, "change": m.change,
		"set project": m.setProject, "time passes": m.pass, "": m.check,
	})
	for _, k := range m.keys {
		for _, c := range slices.Concat(k.credentials, k.forgotten) {
			m.compare(m.T, k, c)
		}
	}
}

func (m *lifeMachine) key(rt *rapid.T) *lifeModel { return rapid.SampledFrom(m.keys).Draw(rt, "key") }

// revision draws 0 or one that a caller may know, and tells whether it is right.
func (m *lifeMachine) revision(rt *rapid.T, k *lifeModel) (revision int64, stale bool) {
	revision = k.revision + rapid.SampledFrom([]int64{-k.revision, -k.revision, 0, -1, 1}).Draw(rt, "revision")
	return revision, revision != 0 && revision != k.revision
}

func (m *lifeMachine) wants(rt *rapid.T, what string, err, want error) {
	if !errors.Is(err, want) {
		rt.Fatalf("%s: error %v, want %v", what, err, want)
	}
}

func (m *lifeMachine) rotate(rt *rapid.T) {
	k, now := m.key(rt), m.lives.clock.now()
	overlap := rapid.SampledFrom([]time.Duration{0, time.Microsecond, time.Hour, 24 * time.Hour}).Draw(rt, "overlap")
	fresh := &modelCredential{}
	if life := rapid.SampledFrom([]time.Duration{0, 0, time.Hour, 30 * time.Hour}).Draw(rt, "life"); life > 0 {
		fresh.ends = now.Add(life)
	}
	revision, stale := m.revision(rt, k)
	record, key, err := m.lives.issuer.Rotate(m.outer.Context(), m.lives.org, k.id, authkey.Rotation{Overlap: overlap, ExpiresAt: fresh.ends, Revision: revision})
	if stale {
		m.wants(rt, "Rotate", err, authkey.ErrConflict)
		return
	}
	m.wants(rt, "Rotate", err, k.rotate(now, overlap, fresh))
	if err == nil {
		fresh.key, fresh.id = key, record.Credentials[0].ID
	}
}

func (m *lifeMachine) revokeCredential(rt *rapid.T) {
	k := m.key(rt)
	c := rapid.SampledFrom(slices.Concat(k.credentials, k.forgotten)).Draw(rt, "credential")
	revision, stale := m.revision(rt, k)
	_, err := m.lives.issuer.RevokeCredential(m.outer.Context(), m.lives.org, k.id, c.id, revision, "test")
	switch {
	case stale:
		m.wants(rt, "RevokeCredential", err, authkey.ErrConflict)
	case slices.Contains(k.forgotten, c):
		m.wants(rt, "RevokeCredential", err, authkey.ErrUnknown)
	case c.revoked:
		m.wants(rt, "RevokeCredential again", err, nil)
	case k.state == authkey.StateRevoked:
		m.wants(rt, "RevokeCredential", err, authkey.ErrRevoked)
	default:
		m.wants(rt, "RevokeCredential", err, nil)
		c.revoked = true
		k.revision++
	}
}

func (m *lifeMachine) setState(rt *rapid.T) {
	k := m.key(rt)
	active, disabled := authkey.StateActive, authkey.StateDisabled
	state := rapid.SampledFrom([]authkey.State{active, active, active, disabled, disabled, authkey.StateRevoked}).Draw(rt, "state")
	revision, stale := m.revision(rt, k)
	_, err := m.lives.issuer.SetState(m.outer.Context(), m.lives.org, k.id, revision, state, "test")
	switch {
	case stale:
		m.wants(rt, "SetState", err, authkey.ErrConflict)
	case k.state == state:
		m.wants(rt, "SetState again", err, nil)
	case k.state == authkey.StateRevoked:
		m.wants(rt, "SetState", err, authkey.ErrRevoked)
	default:
		m.wants(rt, "SetState", err, nil)
		k.state = state
		k.revision++
	}
}

func (m *lifeMachine) change(rt *rapid.T) {
	k, now := m.key(rt), m.lives.clock.now()
	var starts, ends time.Time
	if rapid.IntRange(0, 3).Draw(rt, "starts") == 0 {
		starts = now.Add(time.Duration(rapid.IntRange(-1, 1).Draw(rt, "start")) * time.Hour)
	}
	if rapid.Bool().Draw(rt, "ends") {
		ends = now.Add(time.Duration(rapid.IntRange(-1, 48).Draw(rt, "end")) * time.Hour)
	}
	revision, stale := m.revision(rt, k)
	_, err := m.lives.issuer.Change(m.outer.Context(), m.lives.org, k.id, revision, authkey.Changes{NotBefore: &starts, ExpiresAt: &ends})
	switch {
	case stale:
		m.wants(rt, "Change", err, authkey.ErrConflict)
	case starts.Equal(k.starts) && ends.Equal(k.ends):
		m.wants(rt, "Change of nothing", err, nil)
	case k.state == authkey.StateRevoked:
		m.wants(rt, "Change", err, authkey.ErrRevoked)
	case !ends.IsZero() && !ends.After(starts):
		m.wants(rt, "Change", err, authkey.ErrInvalid)
	default:
		m.wants(rt, "Change", err, nil)
		k.starts, k.ends = starts, ends
		k.revision++
	}
}

func (m *lifeMachine) setProject(rt *rapid.T) {
	project, down := m.key(rt).project, rapid.Bool().Draw(rt, "suspended")
	state := authkey.StateActive
	if down {
		state = authkey.StateSuspended
	}
	_, err := m.lives.issuer.SetProject(m.outer.Context(), m.lives.org, project, 0, state, "", "test")
	m.wants(rt, "SetProject", err, nil)
	m.projects[project] = down
}

// pass moves the clock, now and then to the very end of something.
func (m *lifeMachine) pass(rt *rapid.T) {
	now := m.lives.clock.now()
	moves := []time.Duration{time.Microsecond, time.Hour, 5 * time.Hour}
	for _, k := range m.keys {
		for _, c := range k.credentials {
			if c.ends.After(now) {
				moves = append(moves, c.ends.Sub(now), c.ends.Sub(now)-time.Microsecond)
			}
		}
		if k.ends.After(now) {
			moves = append(moves, k.ends.Sub(now))
		}
	}
	m.lives.clock.advance(rapid.SampledFrom(moves).Draw(rt, "by"))
}

// check compares a key, and one of its credentials; at the end all are compared.
func (m *lifeMachine) check(rt *rapid.T) {
	k := m.key(rt)
	record, err := m.lives.issuer.Find(m.outer.Context(), m.lives.org, k.id)
	if err != nil || record.Revision != k.revision || record.State != k.state || len(record.Credentials) != len(k.credentials) {
		rt.Fatalf("stored is %+v, %v; the model has %+v", record, err, k)
	}
	m.compare(rt, k, rapid.SampledFrom(slices.Concat(k.credentials, k.forgotten)).Draw(rt, "credential"))
}

// compare asks for a credential: of the verifier's cache, once that was told to look.
func (m *lifeMachine) compare(rt *rapid.T, k *lifeModel, c *modelCredential) {
	want := k.verdict(c, m.lives.clock.now())
	identity, err := m.lives.verifier.Refresh(m.outer.Context(), c.key, nil)
	m.wants(rt, "Refresh "+c.id, err, want)
	if want == nil && (identity.Key != k.id || identity.Credential != c.id || identity.Project != k.project) {
		rt.Fatalf("credential %s of key %s is %+v", c.id, k.id, identity)
	}
	_, err = m.lives.verifier.Authenticate(m.outer.Context(), c.key)
	m.wants(rt, "Authenticate "+c.id, err, want)
}
