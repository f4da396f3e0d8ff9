// Package cli is the frame of a command line over an admin route: a table of commands, the flags that all of them
// have, help, and what a process ends with. The commands are the caller's; it knows none of them. For a command line
// with completion, aliases and nested groups take github.com/spf13/cobra instead.
//
//	os.Exit(cli.Main(ctx, cli.Process(), os.Args[1:], []cli.Command{{
//		Name: "plans show", Args: "NAME", Brief: "show a plan",
//		Prepare: func(*cli.Flags) cli.Action {
//			return func(ctx context.Context, c *cli.Call) error {
//				answer, err := c.Do(ctx, client.Request{Method: "GET", Path: []string{"v1", "plans", c.Args[0]}})
//				return c.Show(answer, err)
//			}
//		},
//	}}))
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/show"
)

// Env is what a command line has of its process.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	Now            func() time.Time
}

// Process returns the Env of this process.
func Process() Env {
	return Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv, Now: time.Now}
}

// Need is what a command cannot do without, or does without.
type Need uint8

// The needs of a command, which can be added.
const (
	NeedsOrg     Need = 1 << iota // --org
	NeedsProject                  // --project
	NoToken                       // sends none
)

// Command is a row of the table.
type Command struct {
	// Name is the words that call it, such as "keys rotate".
	Name string
	// Args names the arguments in capitals, such as "KEY CREDENTIAL"; "[KEY...]" is any number of them.
	Args string
	// Brief says what it does in a line, More in some.
	Brief, More string
	// Needs is what is asked for before it is run.
	Needs Need
	// Prepare declares its flags, and returns what runs once they are read.
	Prepare func(*Flags) Action
}

// Action is what a command does. Its error decides what the process ends with; see Code.
type Action func(ctx context.Context, c *Call) error

// Main runs the command that the arguments name, and returns what the process ends with.
func Main(ctx context.Context, env Env, args []string, commands []Command) int {
	err := run(ctx, env, args, commands)
	if err != nil {
		report(env.Stderr, err)
	}
	return Code(err)
}

func run(ctx context.Context, env Env, args []string, commands []Command) error {
	g := Global{Timeout: defaultTimeout}
	set := newSet("tollgatectl")
	g.register(set)
	if err := set.Parse(args); errors.Is(err, flag.ErrHelp) {
		return help(env, nil, commands)
	} else if err != nil {
		return usage("%v; see tollgatectl help", advised(err))
	}
	words := set.Args()
	if len(words) == 0 {
		return usage("a command is missing; see tollgatectl help")
	}
	if words[0] == "help" {
		return help(env, words[1:], commands)
	}
	command, rest := find(words, commands)
	if command == nil {
		return unknown(words, commands)
	}
	flags := &Flags{newSet(command.Name), env.Now}
	g.register(flags.FlagSet)
	action := command.Prepare(flags)
	given, err := flags.parse(rest)
	if errors.Is(err, flag.ErrHelp) {
		return help(env, strings.Fields(command.Name), commands)
	}
	if err == nil {
		err = command.check(given, &g)
	}
	if err != nil {
		return usage("%s: %v; see tollgatectl help %s", command.Name, advised(err), command.Name)
	}
	c := &Call{Env: env, Global: g, Args: given}
	if err := c.connect(command.Needs&NoToken != 0); err != nil {
		return err
	}
	defer c.client.Close()
	return action(ctx, c)
}

func newSet(name string) *flag.FlagSet {
	set := flag.NewFlagSet(name, flag.ContinueOnError)
	set.SetOutput(io.Discard) // report tells it
	return set
}

// find returns the command with the most words of those given, and the words after them.
func find(words []string, commands []Command) (command *Command, rest []string) {
	taken := 0
	for i := range commands {
		name := strings.Fields(commands[i].Name)
		if len(name) > taken && len(words) >= len(name) && slices.Equal(words[:len(name)], name) {
			command, taken = &commands[i], len(name)
		}
	}
	return command, words[taken:]
}

func unknown(words []string, commands []Command) error {
	if of := group(words[:1], commands); len(of) > 0 {
		return usage("%s wants one of %s", words[0], strings.Join(of, ", "))
	}
	return usage("there is no such command; see tollgatectl help")
}

// check compares the arguments with what the table wants. It repeats none: one may be a secret in the wrong place.
func (c *Command) check(args []string, g *Global) error {
	least, most := 0, 0
	for name := range strings.FieldsSeq(c.Args) {
		switch {
		case strings.HasSuffix(name, "...]"):
			most = len(args)
		case strings.HasPrefix(name, "["):
			most++
		default:
			least, most = least+1, most+1
		}
	}
	switch {
	case len(args) > most && most == 0:
		return errors.New("it takes no arguments")
	case len(args) < least || len(args) > most:
		return fmt.Errorf("its arguments are %s", c.Args)
	case slices.Contains(args, ""):
		return errors.New("an argument is empty")
	case c.Needs&NeedsOrg != 0 && g.Org == "":
		return errors.New("--org is missing")
	case c.Needs&NeedsProject != 0 && g.Project == "":
		return errors.New("--project is missing")
	case g.Timeout <= 0:
		return errors.New("--timeout must be positive")
	}
	return nil
}

// advised says what to do about the flag that people look for and that is not there.
func advised(err error) error {
	if strings.HasPrefix(err.Error(), "flag provided but not defined: -token") {
		return errors.New("the token is never an argument, which every process of the machine can read: use " + envToken + " or --token-file")
	}
	return errors.New(show.Text(err.Error()))
}
