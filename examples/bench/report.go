package main

import (
	"encoding/json"
	"os"

	"github.com/tollgate-go/tollgate/examples/bench/internal/machine"
	"github.com/tollgate-go/tollgate/examples/bench/internal/result"
)

// report is what result.json holds: every sample, so that any other ratio can be worked out.
type report struct {
	Machine  machine.Machine `json:"machine"`
	Rounds   int             `json:"rounds"`
	Projects int             `json:"projects"`
	Orgs     int             `json:"orgs"`
	Tables   []*result.Table `json:"tables"`
	Targets  []target        `json:"targets"`
}

// finish prints the targets and writes the files that are asked for.
func (b *bench) finish() error {
	r := &report{
		Machine: b.machine, Rounds: b.rounds, Projects: b.projects, Orgs: b.orgs, Tables: b.tables, Targets: targets(b.tables, b.projects),
	}
	if err := writeTargets(b.out, r.Targets); err != nil {
		return err
	}
	if b.json != "" {
		text, err := json.MarshalIndent(r, "", " ")
		if err != nil {
			return err
		}
		if err := writeFile(b.json, append(text, '\n')); err != nil {
			return err
		}
	}
	if b.svg == "" {
		return nil
	}
	drawn, err := chart(r)
	if err != nil {
		return err
	}
	return writeFile(b.svg, drawn)
}

func writeFile(name string, text []byte) error {
	return os.WriteFile(name, text, 0o644) //nolint:gosec // the figures are for everybody to read
}
