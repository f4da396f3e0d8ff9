package main

import (
	"context"
	"net/http"
	"slices"

	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/cli"
	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/client"
	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/show"
)

var lifeCommands = []cli.Command{
	{
		Name: "keys rotate", Args: "KEY", Brief: "give a key a new credential, and let the old one end", Needs: ofProject, Prepare: rotateKey,
		More: `The old credential goes on for the overlap, never beyond its own end; the limits, the usage and the scopes are
the key's and stay. --now is for a key that leaked: the old credential ends with the answer.

` + secretHelp,
	},
	{Name: "keys disable", Args: "KEY", Brief: "stop a key until it is enabled again", Needs: ofProject, Prepare: stateOfKey("disabled"), More: stopHelp},
	{Name: "keys enable", Args: "KEY", Brief: "let a disabled key pass again", Needs: ofProject, Prepare: stateOfKey("active")},
	{
		Name: "keys revoke", Args: "KEY", Brief: "end a key for good", Needs: ofProject, Prepare: revoke(1),
		More: `It holds from the next request on, on every replica. There is no way back. ` + stopHelp,
	},
	{
		Name: "keys revoke-credential", Args: "KEY CREDENTIAL", Brief: "end one credential of a key for good", Needs: ofProject, Prepare: revoke(2),
		More: `The other credentials of the key go on. ` + stopHelp,
	},
	{
		Name: "keys bulk-revoke", Args: "[KEY...]", Brief: "end many keys for good", Needs: cli.NeedsOrg, Prepare: bulkRevoke,
		More: `The keys are those that are named, or all that --project, --owner and --created-before select together.
Without --yes it shows which ones these are, and changes nothing.`,
	},
}

const stopHelp = `Nobody's change in between
hinders it, unless --if-match is given.`

func rotateKey(f *cli.Flags) cli.Action {
	body := cli.Fields{}
	f.DurationField(body, "overlap", "overlap", "how `long` the old credential goes on (24h by default)")
	now := f.Bool("now", false, "end the old credential at once")
	f.TextField(body, "reason", "reason", "`why`, for the audit trail")
	settle := f.EndFields(body, "expires_at", "")
	issue, when := issueFlags(f), f.Condition()
	return func(ctx context.Context, c *cli.Call) error {
		if err := settle(); err != nil {
			return err
		}
		switch _, given := body["overlap"]; {
		case *now && given:
			return cli.Usage("--now and --overlap contradict each other")
		case *now:
			body["overlap"] = "0s"
		case !given:
			body["overlap"] = "24h"
		}
		path := c.ProjectPath("keys", c.Args[0])
		header, err := when.Header(ctx, c, path)
		if err != nil {
			return err
		}
		return issue.send(ctx, c, append(path, "credentials"), header, body)
	}
}

func stateOfKey(state string) func(*cli.Flags) cli.Action {
	return func(f *cli.Flags) cli.Action {
		body := cli.Fields{"state": state}
		f.TextField(body, "reason", "reason", "`why`, for the audit trail")
		when := f.Condition()
		return func(ctx context.Context, c *cli.Call) error {
			if state == "disabled" {
				when.Force() // to lose a race would leave a leaked key alive
			}
			return patch(ctx, c, c.ProjectPath("keys", c.Args[0]), body, when, keyOrder...)
		}
	}
}

// revoke ends a key, or a credential where there are two arguments.
func revoke(arguments int) func(*cli.Flags) cli.Action {
	return func(f *cli.Flags) cli.Action {
		query := cli.Fields{}
		f.TextField(query, "reason", "reason", "`why`, for the audit trail")
		when := f.Condition()
		return func(ctx context.Context, c *cli.Call) error {
			path := c.ProjectPath("keys", c.Args[0])
			when.Force() // as above
			header, err := when.Header(ctx, c, path)
			if err != nil {
				return err
			}
			if arguments == 2 {
				path = append(path, "credentials", c.Args[1])
			}
			_, err = c.Do(ctx, client.Request{Method: http.MethodDelete, Path: path, Query: query.Query(), Header: header})
			if err == nil {
				c.Note("revoked")
			}
			return err
		}
	}
}

// maxBulk is the most keys that the route takes at once.
const maxBulk = 200

func bulkRevoke(f *cli.Flags) cli.Action {
	filter := cli.Fields{}
	f.TextField(filter, "owner", "owner", "those of an `owner`")
	f.TimeField(filter, "created-before", "created_before", "those made before a `time`: -30d")
	reason := cli.Fields{}
	f.TextField(reason, "reason", "reason", "`why`, for the audit trail")
	return func(ctx context.Context, c *cli.Call) error {
		if c.Project != "" {
			filter["project"] = c.Project
		}
		if (len(c.Args) == 0) == (len(filter) == 0) {
			return cli.Usage("keys bulk-revoke: name keys, or select them with --project, --owner and --created-before")
		}
		var bodies []cli.Fields
		for keys := range slices.Chunk(c.Args, maxBulk) {
			bodies = append(bodies, cli.Fields{"keys": keys})
		}
		if len(c.Args) == 0 {
			bodies = append(bodies, filter)
		}
		all := &client.List{}
		for _, body := range bodies {
			if !c.Yes {
				body["dry_run"] = true
			}
			for name, value := range reason {
				body[name] = value
			}
			if err := postPages(ctx, c, all, body); err != nil {
				return err
			}
		}
		return printBulk(c, all)
	}
}

// postPages adds the items of all pages that a body asks for.
func postPages(ctx context.Context, c *cli.Call, all *client.List, body cli.Fields) error {
	for {
		answer, err := c.Do(ctx, client.Request{Method: http.MethodPost, Path: c.OrgPath("keys:bulk-revoke"), Body: body})
		if err != nil {
			return err
		}
		if err := all.Add(answer.Body); err != nil || all.Next == "" {
			return err
		}
		body["cursor"] = all.Next
	}
}

func printBulk(c *cli.Call, all *client.List) error {
	if c.JSON {
		if err := c.Print(show.JSON(all.Document())); err != nil {
			return err
		}
	} else {
		items, err := cli.Items(all)
		if err != nil {
			return err
		}
		if err := c.PrintTable(show.Columns(items), items); err != nil {
			return err
		}
	}
	if !c.Yes {
		return cli.ErrNotDone
	}
	return nil
}
