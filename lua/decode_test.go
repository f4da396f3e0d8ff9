package lua

import (
	"encoding/binary"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/tollgate-go/tollgate/lua/redistest"
)

func TestDecodeAnswers(t *testing.T) {
	t.Parallel()
	check := Check{Epochs: make([]Held, 1), Charges: []Charge{{}}}
	bearing := check
	bearing.Token = &Token{}
	// reply is an allowed answer to it with one number changed.
	reply := func(at int, to int64) []any {
		all := []any{int64(5), int64(1), int64(7), int64(8), int64(1), int64(0), int64(3), int64(4), int64(5), int64(6), int64(7), int64(8), int64(0)}
		all[at] = to
		return all
	}
	for _, tt := range []struct {
		name   string
		reply  any
		checks []Check
		ok     bool
	}{
		{"allowed", reply(0, 5), []Check{check}, true},
		{"stale", []any{int64(5), int64(2), int64(7), int64(8)}, []Check{check}, true},
		{"no check", []any{int64(5)}, nil, true},
		{"nothing", []any{}, nil, false},
		{"nil", nil, nil, false},
		{"a string", "5", nil, false},
		{"a string inside", []any{"5"}, nil, false},
		{"no answer", []any{int64(5)}, []Check{check}, false},
		{"half a head", []any{int64(5), int64(2), int64(7)}, []Check{check}, false},
		{"no states", []any{int64(5), int64(1), int64(0), int64(0)}, []Check{check}, false},
		{"one too many", []any{int64(5), int64(2), int64(7), int64(8), int64(9)}, []Check{check}, false},
		{"revoked", []any{int64(5), int64(4), int64(7), int64(8)}, []Check{bearing}, true},
		{"revoked without a token", []any{int64(5), int64(4), int64(7), int64(8)}, []Check{check}, false},
		{"revoked with states", []any{int64(5), int64(4), int64(7), int64(8), int64(1)}, []Check{bearing}, false},
		{"unknown status", []any{int64(5), int64(5), int64(0), int64(0)}, []Check{bearing}, false},
		{"negative status", []any{int64(5), int64(-1), int64(0), int64(0)}, []Check{check}, false},
		{"negative done", reply(4, -1), []Check{check}, false},
		{"held too large", reply(5, MaxUnits+1), []Check{check}, false},
		{"negative start", reply(6, -1), []Check{check}, false},
		{"no window", reply(7, 0), []Check{check}, false},
		{"negative count", reply(8, -1), []Check{check}, false},
		{"count too large", reply(9, 1<<62), []Check{check}, false},
		{"end too late", reply(10, MaxTime+1), []Check{check}, false},
		{"capacity too large", reply(11, MaxUnits+1), []Check{check}, false},
		{"unknown change", reply(12, 4), []Check{check}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n, err := integers(tt.reply)
			if err == nil {
				_, err = decodeAnswers(n, tt.checks)
			}
			if tt.ok != (err == nil) || !tt.ok && !errors.Is(err, ErrReply) {
				t.Errorf("error %v, want one: %t", err, !tt.ok)
			}
		})
	}
}

// FuzzDecodeAnswers holds that an odd reply is an ErrReply, never a panic, and that what is decoded lies
// within the bounds that callers count on.
func FuzzDecodeAnswers(f *testing.F) {
	words := func(n ...int64) (b []byte) {
		for _, v := range n {
			b = binary.BigEndian.AppendUint64(b, uint64(v))
		}
		return b
	}
	f.Add(words(5, 1, 0, 0, 1, 0, 2, 3, 4, 5, 6, 7, 0), uint8(1), uint8(1))
	f.Add(words(5, 2, 7, 8, 0, 1, 2), uint8(2), uint8(2))
	f.Add(words(5, 4, 7, 8, 4, 7, 8), uint8(2), uint8(0))
	f.Add(words(5, 0, 7, 8, 0, 0, -1, 0, -1, -1, 0, 0, 0), uint8(1), uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, checks, charges uint8) {
		var n []int64
		for ; len(b) >= 8; b = b[8:] {
			n = append(n, int64(binary.BigEndian.Uint64(b)))
		}
		asked := make([]Check, checks%8)
		for i := range asked {
			asked[i].Epochs, asked[i].Charges = make([]Held, 1), make([]Charge, charges%8)
			if i%2 == 1 {
				asked[i].Token = &Token{}
			}
		}
		answers, err := decodeAnswers(n, asked)
		if err != nil {
			if !errors.Is(err, ErrReply) {
				t.Fatalf("error %v, want an ErrReply", err)
			}
			return
		}
		if len(answers) != len(asked) {
			t.Fatalf("%d answers to %d checks", len(answers), len(asked))
		}
		for i, a := range answers {
			decided := a.Status == Allowed || a.Status == Refused
			if a.Status < Refused || a.Status > Revoked || a.Status == Revoked && asked[i].Token == nil || decided && len(a.States) != len(asked[i].Charges) || !decided && a.States != nil {
				t.Errorf("answer %+v to %d charges", a, len(asked[i].Charges))
			}
			for _, s := range a.States {
				if s.Start < 0 || s.Window < 1 || s.Window > MaxWindow || s.Current < 0 || s.Previous < 0 {
					t.Errorf("state %+v", s)
				}
			}
		}
	})
}

// TestShare takes the one function out of batch.lua whose products do not fit a Lua number, and
// compares what it makes of them with math/big.
func TestShare(t *testing.T) {
	t.Parallel()
	begin, end := strings.Index(batchSource, "local LIMIT"), strings.Index(batchSource, "-- generation returns")
	body := strings.Replace(batchSource[begin:end], "redis.call('TIME')", "{ 0, 0 }", 1)
	script := redis.NewScript(body + `
local reply = {}
for i = 1, #ARGV, 3 do reply[#reply + 1] = share(tonumber(ARGV[i]), tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])) end
return reply`)
	rdb := redistest.Standalone(t)
	units := rapid.OneOf(rapid.Int64Range(0, 4*MaxUnits), rapid.Int64Range(2*MaxUnits-9, 2*MaxUnits), rapid.Int64Range(0, 100))
	wholes := rapid.OneOf(
		rapid.Int64Range(1, MaxWindow), rapid.Int64Range(MaxWindow-9, MaxWindow), rapid.Int64Range(1, 100),
		rapid.Int64Range(1, MaxUnits), rapid.Int64Range(MaxUnits-9, MaxUnits),
	)
	rapid.Check(t, func(rt *rapid.T) {
		args, want := make([]any, 0, 300), make([]int64, 0, 100)
		for range 100 {
			u, whole := min(units.Draw(rt, "units"), 2*MaxUnits), wholes.Draw(rt, "whole")
			part := rapid.Int64Range(max(0, whole-9), whole).Draw(rt, "part")
			if rapid.Bool().Draw(rt, "any part") {
				part = rapid.Int64Range(0, whole).Draw(rt, "part")
			}
			if rapid.Bool().Draw(rt, "whole result") { // an exact quotient must not be rounded up
				u -= u % whole
			}
			args = append(args, u, part, whole)
			product := new(big.Int).Mul(big.NewInt(u), big.NewInt(part))
			product.Add(product, big.NewInt(whole-1))
			want = append(want, product.Div(product, big.NewInt(whole)).Int64())
		}
		got, err := script.Run(t.Context(), rdb, nil, args...).Int64Slice()
		if err != nil {
			rt.Fatalf("script: %v", err)
		}
		for i := range want {
			if got[i] != want[i] {
				rt.Errorf("share(%d, %d, %d) = %d, want %d", args[3*i], args[3*i+1], args[3*i+2], got[i], want[i])
			}
		}
	})
}

// TestScriptsDeclareTheirKeys reads every script: each command that takes a key gets one from KEYS.
// On a cluster, and under access rules, only those are allowed.
func TestScriptsDeclareTheirKeys(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.lua")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d scripts found (%v)", len(files), err)
	}
	call := regexp.MustCompile(`\b(?:p?call|read)\(\s*([^,)]*)(?:,\s*([^,)]*))?`)
	declared := regexp.MustCompile(`^(KEYS\[[\w +*-]+\]|next_key\($)`)
	assigned := regexp.MustCompile(`(?m)^\s*local ([\w, ]+) = (.*KEYS.*)$`)
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatalf("ReadFile: %v", err)
			}
			// read.lua goes through KEYS. A policy's keys come from KEYS or
			// next_key alone, in plain.lua and admit.lua. What audit.lua and
			// stamp.lua are given is looked at where that is.
			names := map[string]bool{"key": strings.Contains(string(text), "for i, key in ipairs(KEYS)") || file == "audit.lua", "epoch": file == "stamp.lua", "p.key": true, "p.holds": true, "p.count": true, "count": file == "batch.lua", "policies[j].count": file == "plain.lua"}
			for _, given := range regexp.MustCompile(`(?:=|return) (?:trail|next_stamp)\(([^,]*)`).FindAllStringSubmatch(string(text), -1) {
				if !regexp.MustCompile(`^(KEYS\[\d\]|.* and next_key\(\))$`).MatchString(given[1]) {
					t.Errorf("%s: key %q is not from KEYS", given[0], given[1])
				}
			}
			if file != "admit.lua" && strings.Contains(string(text), ".holds =") || strings.Contains(string(text), ".key =") ||
				file == "batch.lua" && !strings.Contains(string(text), "charge(t, ARGV[arg + 1], KEYS[key + 2],") ||
				file == "plain.lua" && !strings.Contains(string(text), "key = KEYS[name + 1], count = KEYS[name + 2],") ||
				file == "admit.lua" && !strings.Contains(string(text), "{ key = next_key(),") ||
				file == "admit.lua" && !strings.Contains(string(text), "p.holds = lease ~= '-' and (p.kind == 'h' and p.key or next_key()) or nil\n") {
				t.Error("the keys of a policy come from elsewhere")
			}
			for _, m := range assigned.FindAllStringSubmatch(string(text), -1) {
				for name := range strings.SplitSeq(m[1], ",") {
					names[strings.TrimSpace(name)] = true
				}
			}
			calls := call.FindAllStringSubmatch(string(text), -1)
			if len(calls) == 0 && file != "algorithms.lua" && file != "integer.lua" {
				t.Fatal("no call found")
			}
			for _, m := range calls {
				command, key := m[1], strings.TrimSpace(m[2])
				if command == "cjson.decode" || file == "state.lua" && command == "command" { // Lua's own pcall, and the way of read
					continue
				}
				if !regexp.MustCompile(`^'[A-Z]+'$`).MatchString(command) {
					t.Errorf("%s: the command is not written out", m[0])
				}
				if command != "'TIME'" && !names[key] && !declared.MatchString(key) {
					t.Errorf("%s: key %q is not from KEYS", m[0], key)
				}
			}
		})
	}
}

// decodeAnswers reads a reply as that of the checks.
func decodeAnswers(n []int64, checks []Check) ([]Answer, error) {
	b, answers := new(Batch), make([]Answer, len(checks))
	for i := range checks {
		if !b.Add(&checks[i], 1, &answers[i]) {
			return nil, errors.New("the batch is full")
		}
	}
	err := b.decode(n)
	for i := range answers {
		err = errors.Join(err, answers[i].Err)
	}
	return answers, err
}
