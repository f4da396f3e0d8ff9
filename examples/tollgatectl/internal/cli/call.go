package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/client"
	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/show"
)

const (
	usualItems = 1000    // of a list, unless more are asked for
	maxPage    = 200     // items that the route gives at once
	maxInput   = 1 << 20 // bytes of a file or of stdin
)

// Call is a command that runs.
type Call struct {
	Env
	Global

	// Args is the arguments, as many as the table says.
	Args []string

	client *client.Client
}

// OrgPath returns the path of something of the org.
func (c *Call) OrgPath(path ...string) []string {
	return append([]string{"v1", "orgs", c.Org}, path...)
}

// ProjectPath returns the path of something of the project.
func (c *Call) ProjectPath(path ...string) []string {
	return append(c.OrgPath("projects", c.Project), path...)
}

// Do sends a request; see client.Do.
func (c *Call) Do(ctx context.Context, r client.Request) (*client.Answer, error) {
	return c.client.Do(ctx, r)
}

// Get reads something.
func (c *Call) Get(ctx context.Context, query url.Values, path []string) (*client.Answer, error) {
	return c.Do(ctx, client.Request{Method: http.MethodGet, Path: path, Query: query})
}

// Paging is what the flags of a list say.
type Paging struct {
	limit  int
	all    bool
	cursor string
}

// Paging declares the flags of a list.
func (f *Flags) Paging() *Paging {
	p := &Paging{}
	f.IntVar(&p.limit, "limit", usualItems, "the most `items` to read")
	f.BoolVar(&p.all, "all", false, "read all items")
	f.StringVar(&p.cursor, "cursor", "", "begin where another list ended, with its `next`")
	return p
}

// List reads a list, of which a page has at most so many items.
func (c *Call) List(ctx context.Context, p *Paging, page int, query url.Values, path []string) (*client.List, error) {
	if p.limit < 1 {
		return nil, Usage("--limit must be at least 1")
	}
	bound := client.Bound{Items: p.limit, Page: page, Cursor: p.cursor}
	if p.all {
		bound.Items = 0
	}
	return c.client.List(ctx, client.Request{Method: http.MethodGet, Path: path, Query: query}, bound)
}

// Everything is the Paging of a list that is looked at before it is changed: all of it.
func Everything() *Paging { return &Paging{limit: 1, all: true} }

// ShowList reads a list and prints it.
func (c *Call) ShowList(ctx context.Context, p *Paging, columns []show.Column, query url.Values, path []string) error {
	list, err := c.List(ctx, p, maxPage, query, path)
	if err != nil {
		return err
	}
	return c.PrintList(list, columns)
}

// PrintList prints a list as a table, or as one JSON document.
func (c *Call) PrintList(list *client.List, columns []show.Column) error {
	if c.JSON {
		return c.Print(show.JSON(list.Document()))
	}
	items, err := Items(list)
	if err != nil {
		return err
	}
	if err := c.PrintTable(columns, items); err != nil {
		return err
	}
	if list.Next != "" {
		c.Note("there are more: give --all, or --cursor %s", show.Text(list.Next))
	}
	return nil
}

// Items decodes the items of a list.
func Items(list *client.List) ([]show.Item, error) {
	items := make([]show.Item, len(list.Items))
	for i, document := range list.Items {
		item, err := show.Decode(document)
		if err != nil {
			return nil, err
		}
		items[i] = item
	}
	return items, nil
}

// PrintTable prints items as a table.
func (c *Call) PrintTable(columns []show.Column, items []show.Item) error {
	return c.Print(show.Table(c.Now(), columns, items))
}

// Show prints the one thing of an answer, some of its fields first. It hands on the error of whoever asked.
func (c *Call) Show(answer *client.Answer, err error, first ...string) error {
	switch {
	case err != nil:
		return err
	case len(answer.Body) == 0:
		return nil
	case c.JSON:
		return c.Print(show.JSON(answer.Body))
	}
	item, err := show.Decode(answer.Body)
	if err != nil {
		return err
	}
	return c.Print(show.Fields(c.Now(), item, first...))
}

// Print writes to stdout.
func (c *Call) Print(text []byte) error {
	if _, err := c.Stdout.Write(text); err != nil {
		return fmt.Errorf("stdout: %w", err)
	}
	return nil
}

// Note writes a line for people to stderr. Texts of a server among the arguments must be escaped already.
func (c *Call) Note(format string, args ...any) {
	_, _ = fmt.Fprintf(c.Stderr, format+"\n", args...) // there is no one else to tell
}

// ErrNotDone says that a change wants --yes.
var ErrNotDone = errors.New("nothing was changed; add --yes to do it")

// Input reads a file, or stdin for "-" and "", until the context ends.
func (c *Call) Input(ctx context.Context, name string) ([]byte, error) {
	if name != "" && name != "-" {
		text, err := readFile(name, maxInput, nil)
		if err != nil {
			return nil, Usage(err.Error())
		}
		return text, nil
	}
	type input struct {
		text []byte
		err  error
	}
	read := make(chan input, 1)
	go func() { // nothing else interrupts a read of a terminal; it ends with the process
		text, err := readAll(c.Stdin, maxInput)
		read <- input{text, err}
	}()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case in := <-read:
		return in.text, in.err
	}
}

// Line reads the one line that a file or stdin has.
func (c *Call) Line(ctx context.Context, name string) (string, error) {
	text, err := c.Input(ctx, name)
	if err != nil {
		return "", err
	}
	line := strings.TrimRight(string(text), "\r\n")
	if line == "" || strings.ContainsAny(line, "\r\n") {
		return "", Usage("the input must be one line")
	}
	return line, nil
}
