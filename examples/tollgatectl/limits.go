package main

import (
	"context"
	"net/http"
	"slices"

	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/cli"
	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/client"
	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/show"
)

var limitCommands = []cli.Command{
	{Name: "limits explain", Brief: "show which limits hold for a project, why, and what of them is used", Needs: ofProject, Prepare: explainLimits},
	{Name: "limits show", Brief: "the same as limits explain", Needs: ofProject, Prepare: explainLimits},
	{
		Name: "limits reset", Brief: "forget what was used of a limit", Needs: ofProject, Prepare: resetLimits,
		More: `What is counted by project is reset; with --key, what is counted by key, of that key; and what the whole org shares
only with --partition org. Without --policy it is about all policies: then it shows which ones these are, and changes
nothing until --yes is given.`,
	},
}

var limitColumns = []show.Column{
	{Title: "ENDPOINT", Field: "endpoint"}, {Title: "POLICY", Field: "policy"}, {Title: "BY", Field: "partition"}, {Title: "LIMIT", Field: "limit"},
	{Title: "WINDOW", Field: "window"}, {Title: "ACCESS", Field: "access"}, {Title: "USED", Field: "used"}, {Title: "REMAINING", Field: "remaining"},
	{Title: "RESET AFTER", Field: "reset_after"}, {Title: "SOURCE", Field: "source"}, {Title: "LEVEL", Field: "level"}, {Title: "REASON", Field: "reason"},
}

var resetColumns = []show.Column{
	{Title: "ENDPOINT", Field: "endpoint"}, {Title: "POLICY", Field: "policy"}, {Title: "BY", Field: "partition"}, {Title: "SHARED", Field: "shared"},
}

func explainLimits(f *cli.Flags) cli.Action {
	query := cli.Fields{}
	f.TextField(query, "endpoint", "endpoint", "only those of an `endpoint`")
	f.TextField(query, "key", "key", "as they are for the `key`")
	f.TextField(query, "plan", "plan", "as they would be under the `plan`")
	return func(ctx context.Context, c *cli.Call) error {
		list, err := limitsOf(ctx, c, query)
		if err != nil {
			return err
		}
		return c.PrintList(list, limitColumns)
	}
}

// limitsOf returns the limits of the project, which come in one page.
func limitsOf(ctx context.Context, c *cli.Call, query cli.Fields) (*client.List, error) {
	answer, err := c.Get(ctx, query.Query(), c.ProjectPath("limits"))
	if err != nil {
		return nil, err
	}
	list := &client.List{}
	return list, list.Add(answer.Body)
}

func resetLimits(f *cli.Flags) cli.Action {
	query := cli.Fields{}
	f.TextField(query, "endpoint", "endpoint", "only those of an `endpoint`")
	f.TextField(query, "policy", "policy", "only those of a `policy`")
	f.TextField(query, "key", "key", "those of a `key`, where each key is counted by itself")
	f.TextField(query, "partition", "partition", "whose counts they are: `project`, key or org")
	return func(ctx context.Context, c *cli.Call) error {
		if query["policy"] == nil && !c.Yes {
			list, err := resettable(ctx, c, query)
			if err != nil {
				return err
			}
			return notDone(c, list, limitColumns)
		}
		answer, err := c.Do(ctx, client.Request{Method: http.MethodDelete, Path: c.ProjectPath("limits"), Query: query.Query()})
		if err != nil {
			return err
		}
		list := &client.List{}
		if err := list.Add(answer.Body); err != nil {
			return err
		}
		return c.PrintList(list, resetColumns)
	}
}

// resettable returns the limits that a reset is about.
func resettable(ctx context.Context, c *cli.Call, query cli.Fields) (*client.List, error) {
	look, partition := cli.Fields{}, "project"
	for _, name := range []string{"endpoint", "key"} {
		if value, ok := query[name]; ok {
			look[name] = value
		}
	}
	if look["key"] != nil {
		partition = "key"
	}
	if other, ok := query["partition"].(string); ok {
		partition = other
	}
	list, err := limitsOf(ctx, c, look)
	if err != nil {
		return nil, err
	}
	items, err := cli.Items(list)
	if err != nil {
		return nil, err
	}
	kept := list.Items[:0]
	for i, document := range slices.Clone(list.Items) {
		if items[i].String("partition") == partition {
			kept = append(kept, document)
		}
	}
	list.Items = kept
	return list, nil
}
