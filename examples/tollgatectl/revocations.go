package main

import (
	"context"
	"net/http"

	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/cli"
	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/client"
	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/show"
)

var revocationCommands = []cli.Command{
	{Name: "revocations list", Brief: "list what is revoked of an org's bearer tokens", Needs: cli.NeedsOrg, Prepare: listRevocations},
	{
		Name: "revocations add", Args: "KIND VALUE", Brief: "refuse bearer tokens from now on", Needs: cli.NeedsOrg, Prepare: addRevocation,
		More: revocationHelp + `

It holds from the next request on, on every replica. Of a subject, a session or a client, tokens that were made before
--before are refused, which is now where it is not given; of a token, --until is when it expires by itself. What is
revoked already is never weakened. Too many tokens of one subject or client are best revoked by that:

  tollgatectl revocations add subject user-17 --org acme --issuer https://login.example.com/ --reason "left the company"

An Idempotency-Key goes along, so that a request that is repeated refuses no token that was made since: where no answer
came, repeat the command with the --idempotency-key that it names.`,
	},
	{
		Name: "revocations lift", Args: "KIND VALUE", Brief: "end a revocation before its time", Needs: cli.NeedsOrg, Prepare: liftRevocation,
		More: revocationHelp + `

Tokens that are good otherwise pass again from the next request on.`,
	},
}

const revocationHelp = `KIND says what VALUE is: token (jti), subject (sub), session (sid) or client (client_id), as the tokens of the
--issuer have it, byte for byte.`

var revocationOrder = []string{"kind", "issuer", "value", "before", "until", "reason", "actor"}

var revocationColumns = []show.Column{
	{Title: "KIND", Field: "kind"}, {Title: "ISSUER", Field: "issuer"}, {Title: "VALUE", Field: "value"},
	{Title: "BEFORE", Field: "before", Empty: "*"}, {Title: "UNTIL", Field: "until"}, {Title: "ACTOR", Field: "actor"},
	{Title: "REASON", Field: "reason"}, {Title: "DAMAGED", Field: "damaged"},
}

func listRevocations(f *cli.Flags) cli.Action {
	paging := f.Paging()
	return func(ctx context.Context, c *cli.Call) error {
		return c.ShowList(ctx, paging, revocationColumns, nil, c.OrgPath("revocations"))
	}
}

// revoked declares --issuer, and returns what adds it and the arguments once they are read.
func revoked(f *cli.Flags, into cli.Fields) (settle func(*cli.Call) error) {
	f.TextField(into, "issuer", "issuer", "the `issuer` of the tokens, as their iss has it; needed")
	return func(c *cli.Call) error {
		if text(into["issuer"]) == "" {
			return cli.Usage("--issuer is missing: who made the tokens, as their iss has it")
		}
		into["kind"], into["value"] = c.Args[0], c.Args[1]
		return nil
	}
}

func addRevocation(f *cli.Flags) cli.Action {
	body := cli.Fields{}
	settle := revoked(f, body)
	f.TimeField(body, "before", "before", "refuse tokens made before a `time`: -1h")
	f.TimeField(body, "until", "expires_at", "the `time` when the token expires")
	f.TextField(body, "reason", "reason", "`why`; needed")
	once := repeatFlags(f)
	return func(ctx context.Context, c *cli.Call) error {
		if err := settle(c); err != nil {
			return err
		}
		if text(body["reason"]) == "" {
			return cli.Usage("revocations add: --reason is missing")
		}
		answer, err := once.post(ctx, c, c.OrgPath("revocations"), nil, body)
		return c.Show(answer, err, revocationOrder...)
	}
}

func liftRevocation(f *cli.Flags) cli.Action {
	query := cli.Fields{}
	settle := revoked(f, query)
	return func(ctx context.Context, c *cli.Call) error {
		if err := settle(c); err != nil {
			return err
		}
		if _, err := c.Do(ctx, client.Request{Method: http.MethodDelete, Path: c.OrgPath("revocations"), Query: query.Query()}); err != nil {
			return err
		}
		c.Note("lifted")
		return nil
	}
}
