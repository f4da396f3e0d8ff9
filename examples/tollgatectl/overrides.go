package main

import (
	"context"
	"net/http"
	"net/url"

	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/cli"
	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/client"
	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/show"
)

var overrideCommands = []cli.Command{
	{Name: "overrides list", Brief: "list the overrides of an org", Needs: cli.NeedsOrg, Prepare: listOverrides},
	{Name: "overrides show", Args: "OVERRIDE", Brief: "show an override", Needs: cli.NeedsOrg, Prepare: showOverride},
	{
		Name: "overrides set", Brief: "write an override, or write it anew", Needs: cli.NeedsOrg, Prepare: setOverride,
		More: overrideHelp + `

  tollgatectl overrides set --org acme --project shop --policy search --limit 500 --for 24h --reason "launch day"`,
	},
	{
		Name: "overrides preview", Brief: "show what an override would do, and do nothing", Needs: cli.NeedsOrg, Prepare: previewOverride,
		More: overrideHelp + `

With --org-wide, --look-at names the project whose limits are shown.`,
	},
	{Name: "overrides delete", Args: "OVERRIDE", Brief: "take an override away", Needs: cli.NeedsOrg, Prepare: deleteOverride},
	{
		Name: "overrides clear", Brief: "take all overrides of a project away", Needs: cli.NeedsOrg, Prepare: clearOverrides,
		More: `With --org-wide, those that hold for the whole org; those of its projects stay. Without --yes it shows which ones
these are, and changes nothing.`,
	},
}

const overrideHelp = `The project (or --org-wide), the endpoint and the policy say which limits it is about; what is absent means all.
There is one override for each such choice, so to set it again replaces it. It must say when it ends: --for, or --until
with a time or never.`

var overrideOrder = []string{"id", "project", "endpoint", "policy", "limit", "window", "burst", "access", "change", "state", "starts_at", "expires_at", "reason"}

var overrideColumns = []show.Column{
	{Title: "ID", Field: "id"}, {Title: "PROJECT", Field: "project", Empty: "*"}, {Title: "ENDPOINT", Field: "endpoint", Empty: "*"},
	{Title: "POLICY", Field: "policy", Empty: "*"}, {Title: "LIMIT", Field: "limit"}, {Title: "WINDOW", Field: "window"},
	{Title: "ACCESS", Field: "access"}, {Title: "STATE", Field: "state"}, {Title: "EXPIRES", Field: "expires_at"}, {Title: "REASON", Field: "reason"},
}

func listOverrides(f *cli.Flags) cli.Action {
	query := cli.Fields{}
	f.TextField(query, "endpoint", "endpoint", "only those of an `endpoint`")
	f.TextField(query, "state", "state", "only those of a `state`: pending, active or ended")
	f.TimeField(query, "ending-before", "ending_before", "only those that end before a `time`: +7d")
	paging := f.Paging()
	return func(ctx context.Context, c *cli.Call) error {
		if c.Project != "" {
			query["project"] = c.Project
		}
		return c.ShowList(ctx, paging, overrideColumns, query.Query(), c.OrgPath("overrides"))
	}
}

func showOverride(*cli.Flags) cli.Action {
	return func(ctx context.Context, c *cli.Call) error {
		answer, err := c.Get(ctx, nil, c.OrgPath("overrides", c.Args[0]))
		return c.Show(answer, err, overrideOrder...)
	}
}

// overrideFlags declares what an override is, and returns what checks it once the flags are read.
func overrideFlags(f *cli.Flags) (body cli.Fields, settle func(*cli.Call) error) {
	body = cli.Fields{}
	f.TextField(body, "endpoint", "endpoint", "the `endpoint`, such as \"GET /v1/search\"")
	f.TextField(body, "policy", "policy", "the `policy`")
	f.IntegerField(body, "limit", "limit", "the limit, as a `number`")
	f.DurationField(body, "window", "window", "the window, as a `duration`")
	f.IntegerField(body, "burst", "burst", "the burst, as a `number`")
	f.TextField(body, "access", "access", "`blocked` or unlimited, instead of a limit")
	f.TextField(body, "change", "change", "what becomes of what is used: `proportional`, additive or reset")
	f.TimeField(body, "starts", "starts_at", "the `time` when it begins")
	f.TextField(body, "reason", "reason", "`why`")
	settleEnd, wide := f.EndFields(body, "expires_at", "starts_at"), orgWide(f)
	return body, func(c *cli.Call) error {
		project, err := wide(c)
		if err != nil {
			return err
		}
		body["project"] = project
		if err := settleEnd(); err != nil {
			return err
		}
		if body["expires_at"] == nil {
			return cli.Usage("an override must say when it ends: --for 24h, or --until with a time or never")
		}
		return nil
	}
}

// orgWide declares --org-wide. A project that was forgotten must not change all of them.
func orgWide(f *cli.Flags) func(*cli.Call) (project string, err error) {
	wide := f.Bool("org-wide", false, "what holds for the whole org, not for one project")
	return func(c *cli.Call) (string, error) {
		if *wide == (c.Project != "") {
			return "", cli.Usage("give either --project or --org-wide")
		}
		return c.Project, nil
	}
}

func setOverride(f *cli.Flags) cli.Action {
	body, settle := overrideFlags(f)
	when := f.Condition()
	return func(ctx context.Context, c *cli.Call) error {
		if err := settle(c); err != nil {
			return err
		}
		header, err := overrideCondition(ctx, c, body, when)
		if err != nil {
			return err
		}
		answer, err := c.Do(ctx, client.Request{Method: http.MethodPut, Path: c.OrgPath("overrides"), Header: header, Body: body})
		return c.Show(answer, err, overrideOrder...)
	}
}

// overrideCondition returns the precondition of an override, which has no path before it is written.
func overrideCondition(ctx context.Context, c *cli.Call, body cli.Fields, when *cli.Condition) (http.Header, error) {
	header, _, err := when.HeaderOrNew(func() (tag string, exists bool, err error) {
		list, err := overridesOf(ctx, c, c.Project)
		if err != nil {
			return "", false, err
		}
		items, err := cli.Items(list)
		for _, item := range items {
			if item.String("endpoint") == text(body["endpoint"]) && item.String("policy") == text(body["policy"]) {
				return cli.TagOf(item), true, nil
			}
		}
		return "", false, err
	})
	return header, err
}

func text(v any) string {
	s, ok := v.(string)
	if !ok {
		return ""
	}
	return s
}

// overridesOf returns the overrides of a project; of the whole org, for no project.
func overridesOf(ctx context.Context, c *cli.Call, project string) (*client.List, error) {
	return c.List(ctx, cli.Everything(), maxPage, url.Values{"project": {project}}, c.OrgPath("overrides"))
}

var previewColumns = []show.Column{
	{Title: "ENDPOINT", Field: "endpoint"}, {Title: "POLICY", Field: "policy"},
	{Title: "LIMIT", Field: "before.limit"}, {Title: "LIMIT THEN", Field: "after.limit"},
	{Title: "USED", Field: "before.used"}, {Title: "USED THEN", Field: "after.used"},
	{Title: "PASSES", Field: "before.passes"}, {Title: "PASSES THEN", Field: "after.passes"}, {Title: "SOURCE THEN", Field: "after.source"},
}

func previewOverride(f *cli.Flags) cli.Action {
	body, settle := overrideFlags(f)
	query := cli.Fields{}
	f.TextField(query, "look-at", "project", "the `project` whose limits are shown")
	f.TextField(query, "key", "key", "the `key` whose limits are shown")
	f.TextField(query, "plan", "plan", "the `plan` under which they are shown")
	return func(ctx context.Context, c *cli.Call) error {
		if err := settle(c); err != nil {
			return err
		}
		answer, err := c.Do(ctx, client.Request{Method: http.MethodPost, Path: c.OrgPath("overrides", "dry-run"), Query: query.Query(), Body: body})
		if err != nil || c.JSON {
			return c.Show(answer, err)
		}
		item, err := show.Decode(answer.Body)
		if err != nil {
			return err
		}
		c.Note("the override would be %s", show.Text(item.String("state")))
		return c.PrintTable(previewColumns, item.Items("items"))
	}
}

func deleteOverride(f *cli.Flags) cli.Action {
	when := f.Condition()
	return func(ctx context.Context, c *cli.Call) error {
		return remove(ctx, c, c.OrgPath("overrides", c.Args[0]), when)
	}
}

// remove deletes what there is at a path.
func remove(ctx context.Context, c *cli.Call, path []string, when *cli.Condition) error {
	header, err := when.Header(ctx, c, path)
	if err != nil {
		return err
	}
	if _, err := c.Do(ctx, client.Request{Method: http.MethodDelete, Path: path, Header: header}); err != nil {
		return err
	}
	c.Note("deleted")
	return nil
}

func clearOverrides(f *cli.Flags) cli.Action {
	wide := orgWide(f)
	return func(ctx context.Context, c *cli.Call) error {
		project, err := wide(c)
		if err != nil {
			return err
		}
		if !c.Yes {
			list, err := overridesOf(ctx, c, project)
			if err != nil {
				return err
			}
			return notDone(c, list, overrideColumns)
		}
		answer, err := c.Do(ctx, client.Request{Method: http.MethodDelete, Path: c.OrgPath("overrides"), Query: url.Values{"project": {project}}})
		return c.Show(answer, err)
	}
}

// notDone shows what would be changed, and says that it is not.
func notDone(c *cli.Call, list *client.List, columns []show.Column) error {
	if err := c.PrintList(list, columns); err != nil {
		return err
	}
	return cli.ErrNotDone
}
