package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/cli"
	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/client"
	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/show"
)

const (
	maxPage      = 200  // items that a list gives at once
	maxUsagePage = 1000 // items of usage
)

var reportCommands = []cli.Command{
	{
		Name: "usage", Brief: "show what was used", Needs: cli.NeedsOrg, Prepare: showUsage,
		More: `Of the last 24 hours, by the hour, of all projects, where nothing else is said.`,
	},
	{
		Name: "audit list", Brief: "list who changed what", Prepare: listAudit,
		More: `Of an org, or with --plans of the plans, which belong to none.`,
	},
	{
		Name: "audit verify", Brief: "check that nobody changed the audit trail", Prepare: verifyAudit,
		More: `Each entry seals the one before. Keep the head that is printed elsewhere, and give it back as --seq and --link: so
it shows too if the end of the trail is cut off. Ends with 6 if the trail is not what it was.`,
	},
	{
		Name: "openapi", Brief: "print the OpenAPI document of the admin route", Needs: cli.NoToken, Prepare: printOpenAPI,
	},
}

var usageColumns = []show.Column{
	{Title: "PERIOD", Field: "period"}, {Title: "PROJECT", Field: "project"}, {Title: "PRODUCT", Field: "product"},
	{Title: "KIND", Field: "kind"}, {Title: "SOURCE", Field: "source"}, {Title: "UNITS", Field: "units"},
}

func showUsage(f *cli.Flags) cli.Action {
	query := cli.Fields{}
	f.TimeField(query, "from", "from", "from a `time`: -7d")
	f.TimeField(query, "to", "to", "to a `time`")
	f.TextField(query, "step", "step", "by the `hour`, day or month")
	paging := f.Paging()
	return func(ctx context.Context, c *cli.Call) error {
		if c.Project != "" {
			query["project"] = c.Project
		}
		list, err := c.List(ctx, paging, maxUsagePage, query.Query(), c.OrgPath("usage"))
		if err != nil {
			return err
		}
		return c.PrintList(list, usageColumns)
	}
}

// trail declares --plans, and returns the path of the trail that is meant.
func trail(f *cli.Flags) func(c *cli.Call, name string) ([]string, error) {
	plans := f.Bool("plans", false, "the trail of the plans, not of an org")
	return func(c *cli.Call, name string) ([]string, error) {
		switch {
		case *plans == (c.Org != ""):
			return nil, cli.Usage("give either --org or --plans")
		case *plans:
			return []string{"v1", name}, nil
		}
		return c.OrgPath(name), nil
	}
}

var auditColumns = []show.Column{
	{Title: "SEQ", Field: "seq"}, {Title: "WRITTEN", Field: "written"}, {Title: "ACTOR", Field: "actor"}, {Title: "ACTION", Field: "action"},
	{Title: "PROJECT", Field: "project"}, {Title: "ID", Field: "id"}, {Title: "REQUEST", Field: "request_id"},
	{Title: "FAULT", Field: "fault"}, {Title: "REASON", Field: "after.reason"},
}

func listAudit(f *cli.Flags) cli.Action {
	query := cli.Fields{}
	f.TextField(query, "actor", "actor", "only what an `actor` did")
	f.TextField(query, "action", "action", "only an `action`, such as key.revoke")
	f.TextField(query, "id", "id", "only what was done to an `id`")
	f.TimeField(query, "from", "from", "from a `time`: -7d")
	f.TimeField(query, "to", "to", "to a `time`")
	f.TextField(query, "order", "order", "what comes first: `newest` or oldest")
	paging, path := f.Paging(), trail(f)
	return func(ctx context.Context, c *cli.Call) error {
		at, err := path(c, "audit")
		if err != nil {
			return err
		}
		return c.ShowList(ctx, paging, auditColumns, query.Query(), at)
	}
}

func verifyAudit(f *cli.Flags) cli.Action {
	query := cli.Fields{}
	f.IntegerField(query, "seq", "seq", "the `number` of an entry that was the head once")
	f.TextField(query, "link", "link", "the `link` of that entry")
	path := trail(f)
	return func(ctx context.Context, c *cli.Call) error {
		at, err := path(c, "audit:verify")
		if err != nil {
			return err
		}
		if (query["seq"] == nil) != (query["link"] == nil) {
			return cli.Usage("--seq and --link go together")
		}
		answer, err := c.Get(ctx, query.Query(), at)
		if err := c.Show(answer, err, "ok", "why", "broken_at", "entries", "first", "head"); err != nil {
			return err
		}
		item, err := show.Decode(answer.Body)
		if err != nil {
			return err
		}
		switch ok, isBool := item["ok"].(bool); {
		case !isBool:
			return fmt.Errorf("%w: it does not say whether the trail is whole", client.ErrAnswer)
		case !ok:
			return fmt.Errorf("%w: %s", cli.ErrBroken, item.String("why"))
		case item["entries"] == json.Number("0"):
			c.Note("there is no trail: nothing was changed there yet, the name is another, or all of it was removed")
		}
		return nil
	}
}

func printOpenAPI(*cli.Flags) cli.Action {
	return func(ctx context.Context, c *cli.Call) error {
		answer, err := c.Get(ctx, nil, []string{"v1", "openapi.json"})
		if err != nil {
			return err
		}
		return c.Print(show.JSON(answer.Body))
	}
}
