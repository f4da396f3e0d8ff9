// Command tollgatectl administers a service behind Tollgate: its keys, projects, overrides, plans, counts, revocations
// of bearer tokens and audit trail. It speaks HTTP to the admin route (package middleware/admin) and needs neither Redis nor the service's code.
//
//	export TOLLGATE_ADMIN_URL=https://api.example.com/admin
//	export TOLLGATE_ADMIN_TOKEN=...                             # or --token-file; never an argument
//	tollgatectl keys create --org acme --project shop --name ci --scopes search --until never
//	tollgatectl keys rotate --org acme --project shop --overlap 24h KEY
//	tollgatectl keys lookup <leaked.txt
//	tollgatectl overrides set --org acme --project shop --limit 500 --for 24h --reason "launch day"
//	tollgatectl limits explain --org acme --project shop
//	tollgatectl revocations add subject user-17 --org acme --issuer https://login.example.com/ --reason "left"
//	tollgatectl audit verify --org acme
//	tollgatectl help keys rotate
//
// It prints tables for people, in which every character that could drive a terminal is escaped, and with --json what
// the server says, one document for a list however many pages it has. A change goes out with the revision that was
// read, so that it undoes nobody's work. What changes many things at once only shows them until --yes is given.
//
// It ends with 0 when it is done, 1 when it was refused, failed or needs --yes, 2 for a wrong command line, 3 when
// there is no such thing, 4 for a conflict, 5 when the server does not answer in time, and 6 when the audit trail is
// not what it was.
package main

import (
	"context"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	code := cli.Main(ctx, cli.Process(), os.Args[1:], commands())
	stop()
	os.Exit(code)
}

// commands is the table of all commands, in the order of the help.
func commands() []cli.Command {
	return slices.Concat(keyCommands, lifeCommands, projectCommands, overrideCommands, limitCommands, planCommands, revocationCommands, reportCommands)
}
