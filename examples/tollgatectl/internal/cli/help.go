package cli

import (
	"bytes"
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/show"
)

const exitHelp = `
Exit codes: 0 done; 1 refused, failed, or not done without --yes; 2 wrong command line; 3 not found; 4 conflict or
changed meanwhile; 5 unavailable; 6 the audit trail is broken.
`

const head = `tollgatectl administers a service behind Tollgate, over its admin route.

usage: tollgatectl [flags] COMMAND [flags] [arguments]

`

// help writes what is known of some words: a command, the commands of a group, or all of them.
func help(env Env, words []string, commands []Command) error {
	var b bytes.Buffer
	command, rest := find(words, commands)
	switch {
	case command != nil && len(rest) == 0:
		command.help(&b, env)
	case len(words) == 0 || len(group(words, commands)) > 0:
		overview(&b, words, commands)
	default:
		return usage("there is no such command; see tollgatectl help")
	}
	_, err := env.Stdout.Write(b.Bytes())
	return err
}

// group returns the words that may follow some.
func group(words []string, commands []Command) []string {
	var next []string
	for i := range commands {
		name := strings.Fields(commands[i].Name)
		if len(name) > len(words) && slices.Equal(name[:len(words)], words) && !slices.Contains(next, name[len(words)]) {
			next = append(next, name[len(words)])
		}
	}
	return next
}

func overview(b *bytes.Buffer, words []string, commands []Command) {
	b.WriteString(head)
	var rows [][]string
	for i := range commands {
		name := strings.Fields(commands[i].Name)
		if len(name) >= len(words) && slices.Equal(name[:len(words)], words) {
			rows = append(rows, []string{"  " + commands[i].Name, commands[i].Brief})
		}
	}
	b.Write(show.Align(rows))
	b.WriteString("\nFlags of all commands:\n")
	writeFlags(b, global(), nil)
	b.WriteString(exitHelp)
	b.WriteString("\ntollgatectl help COMMAND tells the rest.\n")
}

func global() *flag.FlagSet {
	set := newSet("")
	(&Global{Timeout: defaultTimeout}).register(set)
	return set
}

func (c *Command) help(b *bytes.Buffer, env Env) {
	line := strings.TrimSpace(c.Name + " " + c.Args)
	fmt.Fprintf(b, "usage: tollgatectl %s [flags]\n\n%s.\n", line, strings.ToUpper(c.Brief[:1])+c.Brief[1:])
	if c.More != "" {
		fmt.Fprintf(b, "\n%s\n", strings.TrimSpace(c.More))
	}
	flags := &Flags{newSet(c.Name), env.Now}
	c.Prepare(flags)
	of := 0
	flags.VisitAll(func(*flag.Flag) { of++ })
	if of > 0 {
		b.WriteString("\nFlags:\n")
		writeFlags(b, flags.FlagSet, nil)
	}
	b.WriteString("\nFlags of all commands:\n")
	writeFlags(b, global(), c.needed())
	b.WriteString(exitHelp)
}

// needed names the flags that the command does not do without.
func (c *Command) needed() []string {
	var names []string
	if c.Needs&NeedsOrg != 0 {
		names = append(names, "org")
	}
	if c.Needs&NeedsProject != 0 {
		names = append(names, "project")
	}
	return names
}

func writeFlags(b *bytes.Buffer, set *flag.FlagSet, needed []string) {
	var rows [][]string
	set.VisitAll(func(f *flag.Flag) {
		value, text := flag.UnquoteUsage(f)
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" {
			text += " (" + f.DefValue + " by default)"
		}
		if slices.Contains(needed, f.Name) {
			text += "; needed"
		}
		rows = append(rows, []string{"  --" + strings.TrimSpace(f.Name+" "+strings.ToUpper(value)), text})
	})
	b.Write(show.Align(rows))
}
