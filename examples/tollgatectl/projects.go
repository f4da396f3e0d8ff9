package main

import (
	"context"
	"net/http"

	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/cli"
	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/client"
	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/show"
)

var projectCommands = []cli.Command{
	{Name: "projects list", Brief: "list the projects of an org that something was said of", Needs: cli.NeedsOrg, Prepare: listProjects},
	{Name: "projects show", Args: "PROJECT", Brief: "show a project", Needs: cli.NeedsOrg, Prepare: showProject},
	{
		Name: "projects suspend", Args: "PROJECT", Brief: "stop all keys of a project", Needs: cli.NeedsOrg, Prepare: stateOfProject("suspended"),
		More: `It holds from the next request on, on every replica; on routes without a limit, within 5 seconds. The keys stay as they are.` + stopHelp,
	},
	{Name: "projects activate", Args: "PROJECT", Brief: "let the keys of a suspended project pass again", Needs: cli.NeedsOrg, Prepare: stateOfProject("active"), More: againHelp},
	{
		Name: "projects set", Args: "PROJECT", Brief: "set the state and the plan of a project", Needs: cli.NeedsOrg, Prepare: setProject,
		More: `Only what is given is changed. A project that nothing was said of is written.`,
	},
}

var projectOrder = []string{"org", "project", "name", "state", "reason", "plan"}

var projectColumns = []show.Column{
	{Title: "PROJECT", Field: "name"}, {Title: "STATE", Field: "state"}, {Title: "PLAN", Field: "plan"},
	{Title: "REASON", Field: "reason"}, {Title: "UPDATED", Field: "updated_at"},
}

func listProjects(f *cli.Flags) cli.Action {
	paging := f.Paging()
	return func(ctx context.Context, c *cli.Call) error {
		return c.ShowList(ctx, paging, projectColumns, nil, c.OrgPath("projects"))
	}
}

func showProject(*cli.Flags) cli.Action {
	return func(ctx context.Context, c *cli.Call) error {
		answer, err := c.Get(ctx, nil, c.OrgPath("projects", c.Args[0]))
		return c.Show(answer, err, projectOrder...)
	}
}

func stateOfProject(state string) func(*cli.Flags) cli.Action {
	return func(f *cli.Flags) cli.Action {
		body := cli.Fields{"state": state}
		f.TextField(body, "reason", "reason", "`why`, for the audit trail")
		when := f.Condition()
		return func(ctx context.Context, c *cli.Call) error {
			if state == "suspended" {
				when.Force() // to lose a race would leave it open
			}
			return writeProject(ctx, c, body, when)
		}
	}
}

func setProject(f *cli.Flags) cli.Action {
	body := cli.Fields{}
	f.TextField(body, "state", "state", "a `state`: active or suspended")
	f.TextField(body, "plan", "plan", "the `plan` whose limits its keys have")
	f.TextField(body, "reason", "reason", "`why`, for the audit trail")
	when := f.Condition()
	return func(ctx context.Context, c *cli.Call) error {
		if len(body) == 0 {
			return cli.Usage("projects set: what is to be set? See tollgatectl help projects set")
		}
		return writeProject(ctx, c, body, when)
	}
}

// writeProject changes a project, or writes one that is not there.
func writeProject(ctx context.Context, c *cli.Call, body cli.Fields, when *cli.Condition) error {
	path := c.OrgPath("projects", c.Args[0])
	header, exists, err := when.HeaderOrNew(c.LookAt(ctx, path))
	if err != nil {
		return err
	}
	method := http.MethodPatch
	if !exists {
		method = http.MethodPut
		if body["state"] == nil {
			body["state"] = "active"
		}
	}
	answer, err := c.Do(ctx, client.Request{Method: method, Path: path, Header: header, Body: body})
	return c.Show(answer, err, projectOrder...)
}
