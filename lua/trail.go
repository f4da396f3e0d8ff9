package lua

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"

	"github.com/tollgate-go/tollgate/lua/audit"
)

//go:embed audit.lua
var auditSource string // the first part of each script that makes audited changes

// lineArgs are what a script gives to trail of audit.lua. It always takes three arguments.
func lineArgs(line audit.Line) []any { return []any{line.Text, line.Sum, line.Seal} }

// TrailEntry is an entry of an audit trail as it is stored. Nothing is verified.
type TrailEntry struct {
	ID   string // in the stream: Redis time in milliseconds, '-', and a count
	Seq  int64
	Link string
	Line audit.Line
	// Damaged says that the entry is not made as audit.lua makes them; then it has an ID alone.
	Damaged bool
}

// TrailRange is a part of a trail.
type TrailRange struct {
	From, To string // IDs, both within it, or after a '(' not; a time stands for all of its IDs. "" is the end of the trail
	Count    int    // at most so many
	Newest   bool   // from the end back
}

// Trail returns entries of the audit trail of an org, or with "" of that of the plans. One command, on the primary.
func (c *Conn) Trail(ctx context.Context, org string, r TrailRange) ([]TrailEntry, error) {
	how := []any{"oldest", "-", "+", r.Count}
	if r.Newest {
		how[0] = "newest"
	}
	if r.From != "" {
		how[1] = r.From
	}
	if r.To != "" {
		how[2] = r.To
	}
	values, err := c.read(ctx, reading{AuditKey(org), how})
	if err != nil {
		return nil, err
	}
	items, ok := values[1].([]any)
	if !ok {
		return nil, fmt.Errorf("%w: a trail is %T", ErrReply, values[1])
	}
	entries := make([]TrailEntry, len(items))
	for i, item := range items {
		pair, ok := item.([]any)
		if !ok || len(pair) != 2 {
			return nil, fmt.Errorf("%w: an entry is %T", ErrReply, item)
		}
		id, ok := pair[0].(string)
		if !ok {
			return nil, fmt.Errorf("%w: an entry has the id %T", ErrReply, pair[0])
		}
		flat, err := textsOf(pair[1])
		if err != nil {
			return nil, err
		}
		entries[i] = trailEntry(id, flat)
	}
	return entries, nil
}

// trailEntry reads the fields of an entry: those that audit.lua writes, each once.
func trailEntry(id string, flat []string) TrailEntry {
	fields := make(map[string]string, len(flat)/2)
	for i := 0; i+1 < len(flat); i += 2 {
		fields[flat[i]] = flat[i+1]
	}
	e := TrailEntry{ID: id, Link: fields["link"], Line: audit.Line{Text: fields["entry"], Sum: fields["sum"], Seal: fields["seal"]}}
	seq, err := strconv.ParseInt(fields["seq"], 10, 64)
	_, sealed := fields["seal"]
	if err != nil || seq < 1 || strconv.FormatInt(seq, 10) != fields["seq"] || e.Link == "" || e.Line.Text == "" || e.Line.Sum == "" ||
		!sealed || len(flat) != 10 || len(fields) != 5 {
		return TrailEntry{ID: id, Damaged: true}
	}
	e.Seq = seq
	return e
}
