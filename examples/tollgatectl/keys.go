package main

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"strings"

	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/cli"
	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/client"
	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/show"
)

const ofProject = cli.NeedsOrg | cli.NeedsProject

var keyCommands = []cli.Command{
	{
		Name: "keys create", Brief: "issue a key, and show its secret this once", Needs: ofProject, Prepare: createKey,
		More: secretHelp + `

  tollgatectl keys create --org acme --project shop --name ci --scopes search --for 90d --secret-only | vault-write`,
	},
	{Name: "keys list", Brief: "list the keys of a project", Needs: ofProject, Prepare: listKeys},
	{Name: "keys show", Args: "KEY", Brief: "show a key and its credentials", Needs: ofProject, Prepare: showKey},
	{
		Name: "keys change", Args: "KEY", Brief: "change what a key is called and may do", Needs: ofProject, Prepare: changeKey,
		More: `Only what is given is changed. An empty list takes all restrictions of that sort away: --networks "".
A name of --meta with nothing after it is removed: --meta team.`,
	},
	{
		Name: "keys lookup", Brief: "tell whose key this is", Prepare: lookupKey,
		More: `Reads the key from stdin or a file, never from an argument, which shells and processes keep:

  tollgatectl keys lookup <leaked.txt`,
	},
}

const secretHelp = `The secret is shown once and nobody can show it again. With --secret-only it is all that stdout gets.
An Idempotency-Key goes along, so that a request that is repeated issues nothing twice: where no answer came, repeat
the command with the --idempotency-key that it names.`

var keyOrder = []string{"id", "name", "secret", "kind", "state", "reason", "plan", "owner", "scopes", "products", "networks", "origins", "meta", "not_before", "expires_at"}

var keyColumns = []show.Column{
	{Title: "ID", Field: "id"}, {Title: "NAME", Field: "name"}, {Title: "KIND", Field: "kind"}, {Title: "STATE", Field: "state"},
	{Title: "OWNER", Field: "owner"}, {Title: "PLAN", Field: "plan"}, {Title: "SCOPES", Field: "scopes"}, {Title: "EXPIRES", Field: "expires_at"},
}

// keyFields declares what may be said of a key when it is made and later.
func keyFields(f *cli.Flags, body cli.Fields) (settle func() error) {
	f.TextField(body, "name", "name", "a `name` for people")
	f.TextField(body, "plan", "plan", "the `plan` whose limits it has")
	f.TextField(body, "owner", "owner", "`who` answers for it")
	f.ListField(body, "scopes", "scopes", "the `scopes` that it has, between commas")
	f.ListField(body, "products", "products", "the `products` that it is for, between commas")
	f.ListField(body, "networks", "networks", "the `prefixes` that it may be used from, between commas: 192.0.2.0/24,2001:db8::/32")
	f.ListField(body, "origins", "origins", "the `origins` that a publishable key may be used from, between commas")
	f.PairsField(body, "meta", "meta", "a `name=value` to keep with it; may be repeated")
	f.TimeField(body, "not-before", "not_before", "the `time` when it begins to be valid")
	return f.EndFields(body, "expires_at", "not_before")
}

func createKey(f *cli.Flags) cli.Action {
	body := cli.Fields{}
	settle := keyFields(f, body)
	f.TextField(body, "kind", "kind", "a `kind`: secret, publishable or admin")
	issue := issueFlags(f)
	return func(ctx context.Context, c *cli.Call) error {
		if err := settle(); err != nil {
			return err
		}
		return issue.send(ctx, c, c.ProjectPath("keys"), nil, body)
	}
}

// issuing is what the flags say of a request that answers with a secret.
type issuing struct {
	*repeatable

	secretOnly bool
}

func issueFlags(f *cli.Flags) *issuing {
	i := &issuing{repeatable: repeatFlags(f)}
	f.BoolVar(&i.secretOnly, "secret-only", false, "print the secret and nothing else, for a pipe")
	return i
}

// send posts a body, and shows the secret that comes back.
func (i *issuing) send(ctx context.Context, c *cli.Call, path []string, header http.Header, body cli.Fields) error {
	if i.secretOnly && c.JSON {
		return cli.Usage("--secret-only and --json contradict each other")
	}
	answer, err := i.post(ctx, c, path, header, body)
	if err != nil {
		return err
	}
	return i.print(c, answer)
}

func (i *issuing) print(c *cli.Call, answer *client.Answer) error {
	item, err := show.Decode(answer.Body)
	if err != nil {
		return err
	}
	id, secret := item.String("id"), item.String("secret")
	if secret == "" || show.Text(secret) != secret || strings.Contains(secret, " ") {
		return errors.New("the answer has no secret that could be shown")
	}
	if i.secretOnly {
		err = c.Print([]byte(secret + "\n"))
	} else {
		err = c.Show(answer, nil, keyOrder...)
	}
	if err != nil {
		return errors.Join(err, errors.New("the secret of key "+id+" was not written and cannot be shown again: rotate or revoke the key"))
	}
	if !c.JSON && !i.secretOnly {
		c.Note("the secret is not shown again; keep it now")
	}
	return nil
}

// repeatable is what the flags say of a request that is to be done once, however often it is sent.
type repeatable struct{ idempotencyKey string }

func repeatFlags(f *cli.Flags) *repeatable {
	r := &repeatable{}
	f.StringVar(&r.idempotencyKey, "idempotency-key", "", "the `key` of the request, to repeat one; random where it is not given")
	return r
}

// post sends a body, and says how to repeat it where no answer came.
func (r *repeatable) post(ctx context.Context, c *cli.Call, path []string, header http.Header, body cli.Fields) (*client.Answer, error) {
	if strings.ContainsFunc(r.idempotencyKey, func(r rune) bool { return r <= ' ' || r > '~' }) || len(r.idempotencyKey) > 128 {
		return nil, cli.Usage("--idempotency-key must be at most 128 visible ASCII characters")
	}
	given := r.idempotencyKey != ""
	if !given {
		r.idempotencyKey = rand.Text()
	}
	if header == nil {
		header = http.Header{}
	}
	header.Set("Idempotency-Key", r.idempotencyKey)
	request := client.Request{Method: http.MethodPost, Path: path, Header: header, Body: body}
	answer, err := c.Do(ctx, request)
	problem, refused := errors.AsType[*client.Error](err)
	if refused && problem.Code == "invalid_idempotency_key" && !given { // the server does not count repeats
		header.Del("Idempotency-Key")
		answer, err = c.Do(ctx, request)
		given = true
	}
	if err != nil && !given && (!refused || cli.Code(err) == cli.Unavailable) {
		c.Note("%s", r.again(body))
	}
	return answer, err
}

// again says how to repeat a request whose answer did not come: a time that was relative would be another by then.
func (r *repeatable) again(body cli.Fields) string {
	flags := " --idempotency-key " + r.idempotencyKey
	for _, at := range [][2]string{{"--not-before", "not_before"}, {"--before", "before"}, {"--until", "expires_at"}} {
		if time := text(body[at[1]]); time != "" {
			flags += " " + at[0] + " " + time
		}
	}
	return "to repeat this very request, write the same again with" + flags
}

func listKeys(f *cli.Flags) cli.Action {
	query := cli.Fields{}
	f.TextField(query, "state", "state", "only those of a `state`: active, disabled or revoked")
	f.TextField(query, "owner", "owner", "only those of an `owner`")
	f.TextField(query, "scope", "scope", "only those with a `scope`")
	f.TextField(query, "kind", "kind", "only those of a `kind`: secret, publishable or admin")
	f.TimeField(query, "expires-before", "expires_before", "only those that expire before a `time`: +7d")
	f.TimeField(query, "unused-since", "unused_since", "only those not used since a `time`: -90d")
	paging := f.Paging()
	return func(ctx context.Context, c *cli.Call) error {
		return c.ShowList(ctx, paging, keyColumns, query.Query(), c.ProjectPath("keys"))
	}
}

func showKey(*cli.Flags) cli.Action {
	return func(ctx context.Context, c *cli.Call) error {
		answer, err := c.Get(ctx, nil, c.ProjectPath("keys", c.Args[0]))
		return c.Show(answer, err, keyOrder...)
	}
}

func changeKey(f *cli.Flags) cli.Action {
	body := cli.Fields{}
	settle, when := keyFields(f, body), f.Condition()
	return func(ctx context.Context, c *cli.Call) error {
		if err := settle(); err != nil {
			return err
		}
		if len(body) == 0 {
			return cli.Usage("keys change: what is to be changed? See tollgatectl help keys change")
		}
		return patch(ctx, c, c.ProjectPath("keys", c.Args[0]), body, when, keyOrder...)
	}
}

// patch changes some fields of what there is at a path, and shows what it is then.
func patch(ctx context.Context, c *cli.Call, path []string, body cli.Fields, when *cli.Condition, order ...string) error {
	header, err := when.Header(ctx, c, path)
	if err != nil {
		return err
	}
	answer, err := c.Do(ctx, client.Request{Method: http.MethodPatch, Path: path, Header: header, Body: body})
	return c.Show(answer, err, order...)
}

func lookupKey(f *cli.Flags) cli.Action {
	file := f.String("file", "-", "the `file` with the key; stdin by default")
	return func(ctx context.Context, c *cli.Call) error {
		presented, err := c.Line(ctx, *file)
		if err != nil {
			return err
		}
		answer, err := c.Do(ctx, client.Request{Method: http.MethodPost, Path: []string{"v1", "keys:lookup"}, Body: cli.Fields{"key": presented}})
		return c.Show(answer, err, append([]string{"id", "credential", "org", "project"}, keyOrder[1:]...)...)
	}
}
