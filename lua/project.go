package lua

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"strings"

	"github.com/tollgate-go/tollgate/lua/audit"
)

//go:embed project.lua
var projectSource string

var projectScript = newScript(auditSource + stampSource + projectSource)

// ProjectReading is what a project is set to. Record and Seal are the caller's; the zero Revision: nothing is set.
type ProjectReading struct {
	Name         string
	Revision     int64
	Record, Seal string
}

// Project returns what a project of an org is set to; ErrKeyNotFound when that is nothing. One round trip.
func (c *Conn) Project(ctx context.Context, org, name string) (ProjectReading, error) {
	values, err := c.read(ctx, readField(ProjectsKey(org), name))
	if err != nil {
		return ProjectReading{}, err
	}
	p, err := projectOf(name, values[1])
	if err == nil && p.Revision == 0 {
		err = ErrKeyNotFound
	}
	return p, err
}

// PutProject sets a project of an org, whose Revision is the one that it has then, and writes the audit entry. raise
// raises the org's `keys` stamp. expected is the revision that it replaces, 0 where nothing was set. ErrKeyChanged where
// that is another; any other error means that it may have been written. One command.
func (c *Conn) PutProject(ctx context.Context, org string, p ProjectReading, expected int64, raise bool, line audit.Line) error {
	keys := []string{EpochKey(org), ProjectsKey(org), ProjectIndexKey(org), AuditKey(org)}
	value := strconv.FormatInt(p.Revision, 10) + " " + p.Seal + " " + p.Record
	return c.put(ctx, projectScript, keys, append([]any{expected, flag(raise), p.Name, Escape(p.Name), value}, lineArgs(line)...))
}

// Projects returns up to limit projects of an org in the order of their names as they are escaped; those that nothing
// is set for have no Revision. after is "" or what was returned as next; ErrCursor where it is neither. Two round
// trips.
func (c *Conn) Projects(ctx context.Context, org, after string, limit int) (projects []ProjectReading, next string, err error) {
	low := "-"
	if after != "" {
		if _, ok := Unescape(after); !ok {
			return nil, "", ErrCursor
		}
		low = "(" + after
	}
	members, next, err := c.index(ctx, ProjectIndexKey(org), low, "+", limit)
	if err != nil || len(members) == 0 {
		return nil, "", err
	}
	readings, names := make([]reading, len(members)), make([]string, len(members))
	for i, member := range members {
		names[i], _ = Unescape(member)
		readings[i] = readField(ProjectsKey(org), names[i])
	}
	values, err := c.read(ctx, readings...)
	if err != nil {
		return nil, "", err
	}
	for i, name := range names {
		p, err := projectOf(name, values[1+i])
		if err != nil {
			return nil, "", err
		}
		projects = append(projects, p)
	}
	return projects, next, nil
}

// projectOf decodes "<revision> <seal> <record>", or nothing.
func projectOf(name string, value any) (ProjectReading, error) {
	if value == nil {
		return ProjectReading{Name: name}, nil
	}
	text, _ := value.(string)
	number, rest, _ := strings.Cut(text, " ")
	seal, record, ok := strings.Cut(rest, " ")
	revision, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil || revision < 1 {
		return ProjectReading{}, fmt.Errorf("%w: project %.40q", ErrReply, name)
	}
	return ProjectReading{Name: name, Revision: revision, Record: record, Seal: seal}, nil
}
