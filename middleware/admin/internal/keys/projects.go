package keys

import (
	"errors"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/rest"
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
	asked, err := pageIn(c)
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

// page is what the parameters of a list say of its pages.
type page struct {
	cursor string
	limit  int
}

func pageIn(c *rest.Call) (page, error) {
	q, err := c.Query()
	if err != nil {
		return page{}, err
	}
	limit, err := q.Limit(rest.DefaultPage, authkey.MaxPage)
	cursor, given := q.Given(rest.Cursor.Name)
	if err == nil && given && cursor == "" {
		err = rest.BadCursor()
	}
	return page{cursor, limit}, err
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
