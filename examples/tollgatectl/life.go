package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

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
	{Name: "keys enable", Args: "KEY", Brief: "let a disabled key pass again", Needs: ofProject, Prepare: stateOfKey("active"), More: againHelp},
	{
		Name: "keys revoke", Args: "KEY", Brief: "end a key for good", Needs: ofProject, Prepare: revoke(1),
		More: `It holds from the next request on, on every replica; on routes without a limit, within 5 seconds. There is no way back.` + stopHelp,
	},
	{
		Name: "keys revoke-credential", Args: "KEY CREDENTIAL", Brief: "end one credential of a key for good", Needs: ofProject, Prepare: revoke(2),
		More: `The other credentials of the key go on.` + stopHelp,
	},
	{
		Name: "keys bulk-revoke", Args: "[KEY...]", Brief: "end many keys for good", Needs: cli.NeedsOrg, Prepare: bulkRevoke,
		More: `The keys are those that are named, or all that --project, --owner and --created-before select together.
Without --yes it shows which ones these are, and changes nothing.`,
	},
}

const againHelp = "Where it was refused just now, it may be for 5 seconds more."

const stopHelp = "\nA change by somebody else in between does not hinder it, unless --if-match is given."

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
		err = issue.send(ctx, c, append(path, "credentials"), header, body)
		if problem, refused := errors.AsType[*client.Error](err); refused && problem.Code == "too_many_credentials" {
			c.Note("to make room, end a credential with keys revoke-credential, or rotate with --now, which ends all the others")
		}
		return err
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
			already := revokedAlready(ctx, c, path)
			if arguments == 2 {
				path = append(path, "credentials", c.Args[1])
			}
			_, err = c.Do(ctx, client.Request{Method: http.MethodDelete, Path: path, Query: query.Query(), Header: header})
			switch {
			case err != nil:
				return err
			case already:
				c.Note("was revoked already; nothing was changed")
			default:
				c.Note("revoked")
			}
			return nil
		}
	}
}

// maxLook bounds a look that a revocation waits for.
const maxLook = 2 * time.Second

// revokedAlready looks whether the key or the credential of a call is revoked, which the answer of a revocation does
// not tell. A look that fails keeps nobody from a revocation.
func revokedAlready(ctx context.Context, c *cli.Call, key []string) bool {
	ctx, cancel := context.WithTimeout(ctx, maxLook)
	defer cancel()
	answer, err := c.Get(ctx, nil, key)
	if err != nil {
		return false
	}
	item, err := show.Decode(answer.Body)
	if err != nil {
		return false
	}
	return item.String("state") == "revoked" || slices.ContainsFunc(item.Items("credentials"), func(credential show.Item) bool {
		return len(c.Args) == 2 && credential.String("id") == c.Args[1] && credential.String("revoked_at") != ""
	})
}

// maxBulk is the most keys that the route takes at once.
const maxBulk = 200

var bulkColumns = []show.Column{
	{Title: "ID", Field: "id"}, {Title: "PROJECT", Field: "project"}, {Title: "NAME", Field: "name"}, {Title: "OWNER", Field: "owner"},
	{Title: "RESULT", Field: "result"}, {Title: "CODE", Field: "code"},
}

func bulkRevoke(f *cli.Flags) cli.Action {
	filter, reason := cli.Fields{}, cli.Fields{}
	f.TextField(filter, "owner", "owner", "those of an `owner`")
	f.TimeField(filter, "created-before", "created_before", "those made before a `time`: -30d")
	f.TextField(reason, "reason", "reason", "`why`, for the audit trail; needed with --yes")
	return func(ctx context.Context, c *cli.Call) error {
		if c.Project != "" {
			filter["project"] = c.Project
		}
		switch {
		case (len(c.Args) == 0) == (len(filter) == 0):
			return cli.Usage("keys bulk-revoke: name keys, or select them with --project, --owner and --created-before")
		case c.Yes && text(reason["reason"]) == "":
			return cli.Usage("keys bulk-revoke: --reason is missing")
		}
		all := &client.List{}
		for _, body := range bulkBodies(c.Args, filter) {
			maps.Copy(body, reason)
			body["dry_run"] = !c.Yes
			if err := postPages(ctx, c, all, body); err != nil {
				if len(all.Items) > 0 { // what was done until then is worth knowing
					err = errors.Join(c.PrintList(&client.List{Items: all.Items}, bulkColumns), err)
				}
				return err
			}
		}
		if !c.Yes {
			return notDone(c, all, bulkColumns)
		}
		return errors.Join(c.PrintList(all, bulkColumns), failures(all))
	}
}

// bulkBodies returns the bodies of requests for keys that are named, in parts; else the one for all that fit.
func bulkBodies(keys []string, filter cli.Fields) []cli.Fields {
	if len(keys) == 0 {
		return []cli.Fields{filter}
	}
	var bodies []cli.Fields
	for part := range slices.Chunk(keys, maxBulk) {
		bodies = append(bodies, cli.Fields{"keys": part})
	}
	return bodies
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

// failures tells of keys that go on.
func failures(all *client.List) error {
	items, err := cli.Items(all)
	n := 0
	for _, item := range items {
		if result := item.String("result"); result != "revoked" && result != "already_revoked" {
			n++
		}
	}
	if n > 0 {
		err = fmt.Errorf("of %d keys, %d were not revoked", len(items), n)
	}
	return err
}
