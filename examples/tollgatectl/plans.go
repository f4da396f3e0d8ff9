package main

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/cli"
	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/client"
	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/show"
)

var planCommands = []cli.Command{
	{Name: "plans list", Brief: "list the plans", Prepare: listPlans},
	{Name: "plans show", Args: "PLAN", Brief: "show a plan and its rules", Prepare: showPlan},
	{
		Name: "plans set", Args: "PLAN", Brief: "write a plan from a file", Prepare: setPlan,
		More: `The file is JSON, {"rules":[{"endpoint":"GET /v1/search","policy":"search","limit":100}]}, or what plans show --json
printed. That has a revision, and is written only if the plan still has it, so this loses nobody's work:

  tollgatectl plans show gold --json >gold.json
  $EDITOR gold.json
  tollgatectl plans set gold --file gold.json`,
	},
	{
		Name: "plans delete", Args: "PLAN", Brief: "take a plan away from all keys that have it", Prepare: deletePlan,
		More: `Keys that have it fall back on the limits as coded, in all orgs. Without --yes it shows the plan, and changes nothing.
Where a failure cut the deletion short, so that the plan is gone for some orgs only, --force ends it.`,
	},
}

var planOrder = []string{"name", "revision", "created_at", "updated_at"}

func planPath(c *cli.Call) []string { return []string{"v1", "plans", c.Args[0]} }

var planColumns = []show.Column{
	{Title: "PLAN", Field: "name"}, {Title: "REVISION", Field: "revision"}, {Title: "UPDATED", Field: "updated_at"},
}

func listPlans(f *cli.Flags) cli.Action {
	paging := f.Paging()
	return func(ctx context.Context, c *cli.Call) error {
		return c.ShowList(ctx, paging, planColumns, nil, []string{"v1", "plans"})
	}
}

func showPlan(*cli.Flags) cli.Action {
	return func(ctx context.Context, c *cli.Call) error {
		answer, err := c.Get(ctx, nil, planPath(c))
		return c.Show(answer, err, planOrder...)
	}
}

func setPlan(f *cli.Flags) cli.Action {
	file := f.String("file", "-", "the `file` with the rules; stdin by default")
	when := f.Condition()
	return func(ctx context.Context, c *cli.Call) error {
		document, err := c.Input(ctx, *file)
		if err != nil {
			return err
		}
		rules, tag, err := readPlan(document, c.Args[0])
		if err != nil {
			return err
		}
		when.Pin(tag)
		header, _, err := when.HeaderOrNew(c.LookAt(ctx, planPath(c)))
		if err != nil {
			return err
		}
		body := cli.Fields{"rules": rules}
		answer, err := c.Do(ctx, client.Request{Method: http.MethodPut, Path: planPath(c), Header: header, Body: body})
		return c.Show(answer, err, planOrder...)
	}
}

// readPlan returns the rules of a document, and the tag of the revision that the plan had when it was read. That of
// another plan, which this one is to be like, says nothing.
func readPlan(document []byte, name string) (rules json.RawMessage, tag string, err error) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(document, &fields) != nil || fields["rules"] == nil {
		return nil, "", cli.Usage(`plans set: the file must be a JSON object with "rules"`)
	}
	for field := range fields {
		switch field {
		case "rules", "name", "revision", "created_at", "updated_at":
		default: // the route would refuse it; it may be a rule that was written in the wrong place
			return nil, "", cli.Usage("plans set: the file has a field that a plan does not have; the rules go into \"rules\"")
		}
	}
	item, err := show.Decode(document)
	if item.String("name") == name {
		tag = cli.TagOf(item)
	}
	return fields["rules"], tag, err
}

func deletePlan(f *cli.Flags) cli.Action {
	when := f.Condition()
	return func(ctx context.Context, c *cli.Call) error {
		if c.Yes {
			return remove(ctx, c, planPath(c), when)
		}
		answer, err := c.Get(ctx, nil, planPath(c))
		if err := c.Show(answer, err, planOrder...); err != nil {
			return err
		}
		return cli.ErrNotDone
	}
}
