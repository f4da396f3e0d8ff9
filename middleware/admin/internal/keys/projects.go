package keys

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/rest"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/strict"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// project is an authkey.Project as JSON has it. One that nothing is set for is active, and has no revision.
type project struct {
	Org       string     `json:"org"`
	Name      string     `json:"name"`
	State     string     `json:"state" enum:"active,suspended"`
	Plan      string     `json:"plan,omitempty"`
	Reason    string     `json:"reason,omitempty"`
	UpdatedAt *time.Time `json:"updated_at,omitempty"`
	Revision  int64      `json:"revision,omitempty"`
}

func projectOf(p *authkey.Project) project {
	return project{
		Org: p.Org, Name: p.Name, State: string(p.State), Plan: p.Plan, Reason: p.Reason,
		UpdatedAt: rest.TimeOrAbsent(p.UpdatedAt), Revision: p.Revision,
	}
}

func (s *Resources) listProjects(c *rest.Call) (rest.Reply, error) {
	q, err := c.Query()
	if err != nil {
		return rest.Reply{}, err
	}
	asked, err := pageIn(q)
	if err != nil {
		return rest.Reply{}, err
	}
	projects, next, err := s.Store.Projects(c.Context(), c.Org, asked.cursor, asked.limit)
	if errors.Is(err, authkey.ErrInvalid) && asked.cursor != "" {
		return rest.Reply{}, rest.BadCursor()
	}
	if err != nil {
		return rest.Reply{}, err
	}
	return rest.Reply{Body: rest.Map(rest.Page[authkey.Project]{Items: projects, Next: next}, projectOf)}, nil
}

func (s *Resources) getProject(c *rest.Call) (rest.Reply, error) {
	if _, err := c.Query(); err != nil {
		return rest.Reply{}, err
	}
	p, err := s.findProject(c)
	if err != nil {
		return rest.Reply{}, err
	}
	return rest.Reply{Body: projectOf(&p), Revision: p.Revision}, nil
}

// findProject returns the project of a call; authkey.ErrUnknown where nothing is set for it and it never had a key.
func (s *Resources) findProject(c *rest.Call) (authkey.Project, error) {
	p, err := s.Store.Project(c.Context(), c.Org, c.Project)
	if !errors.Is(err, authkey.ErrUnknown) {
		return p, err
	}
	keys, _, err := s.Store.List(c.Context(), c.Org, c.Project, "", 1)
	if err == nil && len(keys) == 0 {
		err = authkey.ErrUnknown
	}
	return authkey.Project{Org: c.Org, Name: c.Project, State: authkey.StateActive}, err
}

// PlanOf returns the plan of a project, "" where it has none.
func (s *Resources) PlanOf(ctx context.Context, org, project string) (string, error) {
	p, err := s.Store.Project(ctx, org, project)
	if errors.Is(err, authkey.ErrUnknown) {
		return "", nil
	}
	return p.Plan, err
}

// settings is what a body says of a project; nil is absent.
type settings struct {
	state        *authkey.State
	plan, reason *string
}

func (p *settings) put() []strict.Field {
	fields := p.fields()
	fields[0] = strict.Required(fields[0])
	return fields
}

func (p *settings) fields() []strict.Field {
	return []strict.Field{
		strict.Parsed("state", `"active" or "suspended"`, &p.state, pointer(rest.OneOf(authkey.StateActive, authkey.StateSuspended))),
		strict.Parsed("plan", "a string", &p.plan, pointer(asIs)),
		strict.Parsed("reason", reasonWanted, &p.reason, pointer(reasonOf)),
	}
}

func (p *settings) patch() []strict.Field {
	fields := p.fields()
	fields[1] = strict.Nullable(fields[1], func() { p.plan = new(string) })
	fields[2] = strict.Nullable(fields[2], func() { p.reason = new(string) })
	return fields
}

func (s *Resources) putProject(c *rest.Call) (rest.Reply, error) {
	body := settings{}
	return s.writeProject(c, body.put(), func(authkey.Project) (authkey.Project, error) {
		if body.state == nil { // what is left out must not let a suspended project go
			return authkey.Project{}, rest.InvalidFields(strict.Fault{Pointer: "/state", Code: strict.CodeRequired, Message: `want "active" or "suspended"`})
		}
		var whole authkey.Project
		body.applyTo(&whole)
		return whole, nil
	})
}

func (s *Resources) patchProject(c *rest.Call) (rest.Reply, error) {
	body := settings{}
	return s.writeProject(c, body.patch(), func(now authkey.Project) (authkey.Project, error) {
		if now.Name == "" {
			return authkey.Project{}, authkey.ErrUnknown
		}
		if body.state != nil && *body.state != now.State { // the reason was one for another state
			now.Reason = ""
		}
		body.applyTo(&now)
		return now, nil
	})
}

func (p *settings) applyTo(project *authkey.Project) {
	set(&project.State, p.state)
	set(&project.Plan, p.plan)
	set(&project.Reason, p.reason)
}

// writeProject sets a project to what edit makes of it: of the zero Project, where there is none.
func (s *Resources) writeProject(c *rest.Call, fields []strict.Field, edit func(now authkey.Project) (authkey.Project, error)) (rest.Reply, error) {
	if _, err := c.Query(); err != nil {
		return rest.Reply{}, err
	}
	condition, err := c.Condition()
	if err != nil {
		return rest.Reply{}, err
	}
	if err := c.Body(fields...); err != nil {
		return rest.Reply{}, err
	}
	var before, after authkey.Project
	look := func(context.Context) (int64, error) {
		now, err := s.findProject(c)
		if errors.Is(err, authkey.ErrUnknown) {
			err = rest.PreconditionFailed()
		}
		return revisionOf(&now), err
	}
	err = condition.Meet(c.Context(), look, func(ctx context.Context, p ratelimit.Precondition) error {
		return again(ctx, p, func() (err error) {
			before, after, err = s.setProject(c, p, edit)
			return err
		})
	})
	if err != nil {
		return rest.Reply{}, err
	}
	if after.Revision != before.Revision {
		c.Report(rest.Change{Action: "project.set", Project: c.Project})
	}
	answer := rest.Reply{Status: http.StatusOK, Body: projectOf(&after), Revision: after.Revision}
	if c.Request.Method == http.MethodPut {
		answer.Location = c.Path("projects", c.Project)
		if before.Revision == 0 {
			answer.Status = http.StatusCreated
		}
	}
	return answer, nil
}

// setProject sets a project to what edit makes of it, if it is what a precondition says.
func (s *Resources) setProject(c *rest.Call, p ratelimit.Precondition, edit func(now authkey.Project) (authkey.Project, error)) (before, after authkey.Project, err error) {
	before, err = s.findProject(c)
	if errors.Is(err, authkey.ErrUnknown) {
		before, err = authkey.Project{}, nil
	}
	if err != nil {
		return before, after, err
	}
	if p != ratelimit.Always && int64(p) != revisionOf(&before) {
		return before, after, authkey.ErrConflict
	}
	wanted, err := edit(before)
	if err != nil {
		return before, after, err
	}
	if wanted.Plan != before.Plan && c.Actor.Org != "" {
		return before, after, planForbidden()
	}
	after, err = s.Issuer.SetProject(c.Context(), c.Org, c.Project, revisionOf(&before), wanted.State, wanted.Plan, wanted.Reason)
	return before, after, err
}

// revisionOf is what a change of a project starts from.
func revisionOf(p *authkey.Project) int64 { return cmp.Or(p.Revision, authkey.IfAbsent) }

// again runs a change once more while others come between, where no precondition says what it starts from.
func again(ctx context.Context, p ratelimit.Precondition, change func() error) error {
	for {
		err := change()
		if p != ratelimit.Always || !errors.Is(err, authkey.ErrConflict) || ctx.Err() != nil {
			return err
		}
	}
}
