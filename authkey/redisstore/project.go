package redisstore

import (
	"context"
	"errors"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/audit"
)

// Project implements authkey.Store. Cost: one round trip.
func (s *Store) Project(ctx context.Context, org, name string) (authkey.Project, error) {
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return authkey.Project{}, err
	}
	defer cancel()
	reading, err := s.conn.Project(ctx, org, name)
	if err != nil {
		return authkey.Project{}, translate(err)
	}
	project, err := s.project(org, &reading)
	if err != nil {
		return authkey.Project{}, translate(plain(err))
	}
	return project, nil
}

// SetProject implements authkey.Store. Cost: one round trip.
func (s *Store) SetProject(ctx context.Context, project authkey.Project) (authkey.Project, error) {
	return s.setProject(ctx, project, "project.set", true)
}

// setProject raises the org's epoch where others have to notice.
func (s *Store) setProject(ctx context.Context, project authkey.Project, action string, raise bool) (authkey.Project, error) {
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return authkey.Project{}, err
	}
	defer cancel()
	if err := project.Validate(); err != nil {
		return authkey.Project{}, err
	}
	expected := project.Revision
	project.Revision++
	text := encodeProject(&project)
	line, err := audit.NewLine(ctx, s.sealer, audit.Entry{
		Action: action, Org: project.Org, Project: project.Name, ID: project.Name, After: text,
	})
	if err != nil {
		return authkey.Project{}, translate(err)
	}
	reading := lua.ProjectReading{
		Name: project.Name, Revision: project.Revision, Record: string(text), Seal: s.seal(sealedProject, project.Org, project.Name, text),
	}
	if err := s.conn.PutProject(ctx, project.Org, reading, expected, raise, line); err != nil {
		return authkey.Project{}, translate(err)
	}
	return s.project(project.Org, &reading)
}

// Projects implements authkey.Store. Cost: two round trips.
func (s *Store) Projects(ctx context.Context, org, cursor string, limit int) ([]authkey.Project, string, error) {
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return nil, "", err
	}
	defer cancel()
	after, err := decodeCursor(cursor, limit)
	if err != nil {
		return nil, "", err
	}
	readings, next, err := s.conn.Projects(ctx, org, after, limit)
	if err != nil {
		return nil, "", translate(err)
	}
	projects := make([]authkey.Project, len(readings))
	for i := range readings {
		if projects[i], err = s.project(org, &readings[i]); err != nil {
			return nil, "", translate(plain(err))
		}
		if projects[i].Revision == 0 {
			projects[i] = authkey.Project{Org: org, Name: readings[i].Name, State: authkey.StateActive}
		}
	}
	return projects, encodeCursor(next), nil
}

// Reseal gives the keys and projects of an org the seal of the current key, those that have it too, and returns how
// many there are. Each gets a revision of its own, which nobody has to notice, and one that somebody else changes
// meanwhile is read again. To change keys of the sealer, list the new one first, reseal every org, and drop the old one;
// but keep it in the sealer of an audit trail, whose entries stay as they were written. Cost: four round trips for each.
func (s *Store) Reseal(ctx context.Context, org string) (n int, err error) {
	for cursor := ""; ; {
		records, next, err := s.List(ctx, org, "", cursor, authkey.MaxPage)
		if err != nil {
			return n, err
		}
		for i := range records {
			if err := s.resealKey(ctx, records[i]); err != nil {
				return n, err
			}
			n++
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	for cursor := ""; ; {
		projects, next, err := s.Projects(ctx, org, cursor, authkey.MaxPage)
		if err != nil {
			return n, err
		}
		for _, project := range projects {
			if project.Revision == 0 {
				continue
			}
			if err := s.resealProject(ctx, project); err != nil {
				return n, err
			}
			n++
		}
		if cursor = next; cursor == "" {
			return n, nil
		}
	}
}

func (s *Store) resealKey(ctx context.Context, record authkey.Record) error {
	for {
		_, err := s.change(ctx, record, "key.reseal", false)
		if !errors.Is(err, authkey.ErrConflict) && !errors.Is(err, authkey.ErrRevoked) { // it was not revoked when it was read
			return err
		}
		if record, err = s.Find(ctx, record.ID); err != nil {
			return err
		}
	}
}

func (s *Store) resealProject(ctx context.Context, project authkey.Project) error {
	for {
		_, err := s.setProject(ctx, project, "project.reseal", false)
		if !errors.Is(err, authkey.ErrConflict) {
			return err
		}
		if project, err = s.Project(ctx, project.Org, project.Name); err != nil {
			return err
		}
	}
}
