package lua

import (
	"encoding/binary"
	"errors"
	"testing"
)

// framedBatch is plain checks: of one policy with a frame, of two with frames merged three times, of one without, and
// one that is not plain; and their answers.
func framedBatch() (*Batch, []Answer) {
	b, answers := new(Batch), make([]Answer, 4)
	frame := &Frame{Generation: 3, Before: 100}
	fixed := Charge{Key: "f", Algorithm: Fixed, Limit: 10, Window: 1000, Units: 1, Role: Enforced, Frame: frame}
	bucket := Charge{Key: "g", Algorithm: GCRA, Limit: 10, Burst: 5, Window: 1000, Units: 1, Role: Enforced, Frame: frame}
	sliding := Charge{Key: "s", Algorithm: Sliding, Limit: 10, Window: 1000, Units: 2, Role: Enforced, Frame: frame}
	bare := fixed
	bare.Frame = nil
	for i, check := range []Check{
		{Epochs: []Held{{Key: "e", Limits: 1}}, Charges: []Charge{bucket}}, {Charges: []Charge{fixed, sliding}}, {Charges: []Charge{bare}},
		{Mode: Peek, Charges: []Charge{bare}},
	} {
		times := 1
		if i == 1 {
			times = 3
		}
		b.Add(&check, times, &answers[i])
	}
	return b, answers
}

// good is a reply to that: fitting, two of three, the longer way, allowed.
func good() []int64 {
	return []int64{
		500,
		5, 500,
		6, 2, 2, 7, 3, 9,
		7,
		7, 1, 1, 400, 1000, 1, 0, 1400, 10, 0, 0, 0,
		1, 1, 0, 400, 1000, 1, 0, 1400, 10, 0,
	}
}

func TestDecodeFrames(t *testing.T) {
	t.Parallel()
	b, answers := framedBatch()
	if err := b.decode(good()); err != nil {
		t.Fatalf("decode: %v", err)
	}
	for i, want := range []State{
		{Done: 1, Start: 600, Window: 1000, Previous: 10, Ends: 601, Was: 5, Frame: Frame{3, 100}},
		{Done: 2, Start: 100, Window: 1000, Current: 7, Ends: 1100, Was: 10, Frame: Frame{3, 100}},
		{Done: 1, Start: 400, Window: 1000, Current: 1, Ends: 1400, Was: 10},
		{Done: 1, Start: 400, Window: 1000, Current: 1, Ends: 1400, Was: 10},
	} {
		if a := answers[i]; a.Err != nil || a.Status != Allowed || a.Now != 500 || a.States[0] != want {
			t.Errorf("answer %d: %+v, want %+v", i, a, want)
		}
	}
	if s := answers[1].States[1]; answers[1].Fits != 2 || s != (State{Done: 3, Start: 0, Window: 1000, Current: 9, Previous: 100, Ends: 2000, Was: 10, Frame: Frame{3, 100}}) {
		t.Errorf("the second policy of those that are merged: %+v", answers[1])
	}
}

// TestDecodeOddFrames changes one number of a reply: what is wrong with one check's numbers is the Err of its answer
// alone, and what leaves nobody sure whose a number is, an error of all.
func TestDecodeOddFrames(t *testing.T) {
	t.Parallel()
	const all = -1 // of the batch
	for _, tt := range []struct {
		name   string
		at     int
		to     int64
		whose  int
		change func(n []int64) []int64
	}{
		{name: "unknown status", at: 9, to: 8, whose: all},
		{name: "a status of others", at: 9, to: 1, whose: all},
		{name: "negative count", at: 2, to: -501, whose: -2}, // a bucket that was empty long ago: nothing is wrong
		{name: "count of a bucket too large", at: 2, to: 1 << 60, whose: 0},
		{name: "negative count of a window", at: 6, to: -1, whose: 1},
		{name: "count too large", at: 8, to: 1 << 60, whose: 1},
		{name: "more fit than were asked", at: 4, to: 4, whose: 1},
		{name: "fewer than none fit", at: 4, to: -1, whose: 1},
		{name: "negative done", at: 7, to: -1, whose: 1},
		{name: "done too large", at: 7, to: MaxUnits + 1, whose: 1},
		{name: "more fit the longer way", at: 11, to: 2, whose: 2},
		{name: "no window", at: 14, to: 0, whose: 2},
		{name: "negative generation", at: 20, to: -1, whose: 2},
		{name: "negative before", at: 21, to: -1, whose: 2},
		{name: "unknown change", at: 19, to: 9, whose: 2},
		{name: "unknown status of the last", at: 22, to: 9, whose: all},
		{name: "a frame where none was shown", whose: all, change: func(n []int64) []int64 { n[9] = 5; return n }},
		{name: "nothing", whose: all, change: func([]int64) []int64 { return nil }},
		{name: "one too few", whose: all, change: func(n []int64) []int64 { return n[:len(n)-1] }},
		{name: "one too many", whose: all, change: func(n []int64) []int64 { return append(n, 1) }},
		{name: "a head alone", whose: all, change: func(n []int64) []int64 { return n[:1] }},
		{name: "half of those that fit", whose: all, change: func(n []int64) []int64 { return n[:6] }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := good()
			if tt.change != nil {
				n = tt.change(n)
			} else {
				n[tt.at] = tt.to
			}
			b, answers := framedBatch()
			err := b.decode(n)
			if (err != nil) != (tt.whose == all) || err != nil && !errors.Is(err, ErrReply) {
				t.Fatalf("error %v, want one of the batch: %t", err, tt.whose == all)
			}
			for i, a := range answers {
				if wrong := a.Err != nil; tt.whose != all && wrong != (i == tt.whose) || wrong && !errors.Is(a.Err, ErrReply) {
					t.Errorf("answer %d: %+v, want an error of answer %d alone", i, a, tt.whose)
				}
			}
		})
	}
}

// TestDecodeShowsNoFrame: a count is told of a frame that was not shown.
func TestDecodeShowsNoFrame(t *testing.T) {
	t.Parallel()
	for name, frame := range map[string]*Frame{"none": nil, "a wish": {}} {
		b, answers := new(Batch), make([]Answer, 1)
		b.Add(&Check{Charges: []Charge{{Key: "f", Algorithm: Fixed, Limit: 10, Window: 1000, Units: 1, Role: Enforced, Frame: frame}}}, 1, &answers[0])
		if err := b.decode([]int64{500, 5, 7}); err != nil || !errors.Is(answers[0].Err, ErrReply) {
			t.Errorf("%s: %v, %+v; want an ErrReply of the answer", name, err, answers[0])
		}
	}
}

// FuzzDecodeFrames holds that an odd reply is an ErrReply, never a panic, and that what is decoded lies within bounds.
func FuzzDecodeFrames(f *testing.F) {
	words := func(n []int64) (b []byte) {
		for _, v := range n {
			b = binary.BigEndian.AppendUint64(b, uint64(v))
		}
		return b
	}
	f.Add(words(good()))
	f.Add(words([]int64{500, 2, 7, 8, 3, 7, -1, 2}))
	f.Add(words([]int64{500, 2, 7, 8, 5, 1, 1, 5, 1, 3}))
	f.Fuzz(func(t *testing.T, bytes []byte) {
		var n []int64
		for ; len(bytes) >= 8; bytes = bytes[8:] {
			n = append(n, int64(binary.BigEndian.Uint64(bytes)))
		}
		b, answers := framedBatch()
		if err := b.decode(n); err != nil {
			if !errors.Is(err, ErrReply) {
				t.Fatalf("error %v, want an ErrReply", err)
			}
			return
		}
		asked := append(append([]asked(nil), b.plain...), b.other...)
		for i, a := range answers {
			if a.Err != nil {
				if !errors.Is(a.Err, ErrReply) {
					t.Fatalf("answer %d: %v, want an ErrReply", i, a.Err)
				}
				continue
			}
			decided := a.Status == Allowed || a.Status == Refused
			if a.Status < Refused || a.Status > Revoked || decided != (len(a.States) > 0) || a.Fits < 0 || a.Fits > asked[i].times {
				t.Errorf("answer %d: %+v", i, a)
			}
			var nth Answer
			for k := range asked[i].times {
				a.Nth(k, asked[i].check.Charges, &nth)
			}
			for _, s := range a.States {
				if !s.valid() {
					t.Errorf("answer %d: state %+v", i, s)
				}
			}
		}
	})
}

// TestNthOfSeveralPolicies: those that are refused took nothing, so each finds what the first of them found.
func TestNthOfSeveralPolicies(t *testing.T) {
	t.Parallel()
	charges := []Charge{{Units: 2}, {Units: 1}, {Units: 0}}
	a := Answer{Status: Allowed, Fits: 2, States: []State{{Done: 2, Current: 4}, {Done: 3, Current: 7}, {Done: 5}}}
	for n, want := range [][3]int64{{1, 1, 1}, {1, 1, 1}, {0, 1, 1}, {0, 1, 1}, {0, 1, 1}} {
		var d Answer
		a.Nth(int64(n), charges, &d)
		if got := [3]int64{d.States[0].Done, d.States[1].Done, d.States[2].Done}; got != want || (d.Status == Allowed) != (n < 2) {
			t.Errorf("number %d: %+v, want done %v", n, d, want)
		}
		if got := d.States[0].Current; got != min(int64(n)*2+2, 4) {
			t.Errorf("number %d: %d used, want those up to it", n, got)
		}
	}
}
