package lua

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// Bounds of a Batch.
const (
	maxPlaces = 255 // of epochs and of terms: a place is a byte
	// MaxBatch is the most checks that a Batch takes, those that are merged counted once.
	MaxBatch = 256
	// MaxTimes is how many equal checks can be one.
	MaxTimes = 255
)

// Batch is checks that travel in one call of admit.lua, in the order in which they are added, but plain ones before all
// others: those that take units of enforced policies, and hold nothing. The zero Batch is empty. To use it again, with
// Reset, saves its memory. It is not safe for concurrent use.
type Batch struct {
	plain, other []asked
	shape        shape
	epochs       []*Held
	places       map[Held]byte // of epochs, once there are many
	terms        []terms
	epochKeys    []any
	plainKeys    []any
	otherKeys    []string
	plainArgs    []any
	otherArgs    []any
	words        []any // of the command
	keys         int   // how many of them are keys
}

// asked is a check of a batch, and where its answer goes.
type asked struct {
	check  *Check
	times  int64
	answer *Answer
}

// terms is what a policy comes to, which many checks have in common. Only some fields of the charge matter.
type terms struct {
	check  *Check
	charge *Charge
}

func (t *terms) equal(check *Check, c *Charge) bool {
	o := t.charge
	return o.Limit == c.Limit && o.Window == c.Window && o.Algorithm == c.Algorithm && o.Start == c.Start && o.Burst == c.Burst &&
		o.Change == c.Change && t.check.From == check.From && *t.check.until() == *check.until()
}

// shape is what the script reads byte by byte.
type shape struct{ bytes []byte }

// MarshalBinary lets a client write the shape without a copy.
func (s *shape) MarshalBinary() ([]byte, error) { return s.bytes, nil }

// Reset empties the batch.
func (b *Batch) Reset() {
	b.plain, b.other, b.shape.bytes = b.plain[:0], b.other[:0], b.shape.bytes[:0]
	b.epochs, b.terms, b.words = b.epochs[:0], b.terms[:0], b.words[:0]
	b.epochKeys, b.plainKeys, b.otherKeys = b.epochKeys[:0], b.plainKeys[:0], b.otherKeys[:0]
	b.plainArgs, b.otherArgs, b.keys = b.plainArgs[:0], b.otherArgs[:0], 0
}

// Len returns how many checks were added.
func (b *Batch) Len() int { return len(b.plain) + len(b.other) }

// Add puts a check into the batch, or returns false where it is full. All keys of a batch must lie in one slot where
// there are slots, which those of one bucket do. The check is the batch's until that was admitted; then answer has what it
// came to, in the memory that it had.
//
// times is how many equal checks, one after the other, it stands for, 1 to MaxTimes; more than 1 needs a Mergeable one.
func (b *Batch) Add(check *Check, times int, answer *Answer) bool {
	if b.Len() >= MaxBatch || len(b.epochs)+len(check.Epochs) > maxPlaces || len(b.terms)+len(check.Charges) > maxPlaces {
		return false
	}
	ask := asked{check, int64(times), answer}
	if !check.plain() {
		b.other = append(b.other, ask)
		b.otherKeys, b.otherArgs = appendCheck(b.otherKeys, b.otherArgs, check)
		return true
	}
	b.plain = append(b.plain, ask)
	places := [2]byte{}
	for i := range check.Epochs {
		places[i] = b.place(&check.Epochs[i])
	}
	b.shape.bytes = append(b.shape.bytes, places[0], places[1], byte(times), byte(len(check.Charges)))
	for i := range check.Charges {
		b.addCharge(check, &check.Charges[i])
	}
	return true
}

// plain reports whether a check is one of those that come first.
func (c *Check) plain() bool {
	if c.Mode != Take && c.Mode != "" || c.Token.revocable() || len(c.Epochs) > 2 || len(c.Charges) > MaxPolicies {
		return false
	}
	for i := range c.Charges {
		if p := &c.Charges[i]; p.Role != Enforced || p.Holds || p.Algorithm == Concurrency {
			return false
		}
	}
	return true
}

// Mergeable reports whether equal checks of this kind can be one: what each of them comes to can be told from what all
// do, as by Answer.Nth.
func (c *Check) Mergeable() bool {
	for i := range c.Charges {
		if p := &c.Charges[i]; p.Algorithm == GCRA || p.Units > MaxUnits/MaxTimes {
			return false
		}
	}
	return len(c.Charges) > 0 && c.plain()
}

// place returns that of an epoch, from 1. Where there are few, to look at all of them costs less than a map.
func (b *Batch) place(held *Held) byte {
	const few = 16
	if len(b.epochs) <= few {
		for i, known := range b.epochs {
			if *known == *held {
				return byte(i + 1)
			}
		}
	} else if at, ok := b.places[*held]; ok {
		return at
	}
	b.epochs, b.epochKeys = append(b.epochs, held), append(b.epochKeys, &held.Key)
	switch at := len(b.epochs); {
	case at == few+1:
		if b.places == nil {
			b.places = make(map[Held]byte)
		}
		clear(b.places) // which are of the batch before
		for i, known := range b.epochs {
			b.places[*known] = byte(i + 1)
		}
	case at > few:
		b.places[*held] = byte(at)
	}
	return byte(len(b.epochs))
}

func (b *Batch) addCharge(check *Check, c *Charge) {
	at := -1
	for i := range b.terms {
		if b.terms[i].equal(check, c) {
			at = i
			break
		}
	}
	if at < 0 {
		at = len(b.terms)
		b.terms = append(b.terms, terms{check, c})
	}
	units := byte(0)
	if c.Units > 0 && c.Units < 256 {
		units = byte(c.Units)
	} else {
		b.plainArgs = append(b.plainArgs, &c.Units)
	}
	b.shape.bytes = append(b.shape.bytes, byte(at+1), units)
	b.plainKeys = append(b.plainKeys, &c.Key)
	c.Count = c.count()
	b.plainKeys = append(b.plainKeys, &c.Count)
	switch {
	case c.shows():
		b.plainArgs = append(b.plainArgs, &c.Frame.Before)
	case c.Frame != nil:
		b.plainArgs = append(b.plainArgs, wanted)
	default:
		b.plainArgs = append(b.plainArgs, absent)
	}
}

// Arguments that are no numbers. As variables they are boxed once.
var absent, wanted any = "-", "+"

// command puts the batch into words.
func (b *Batch) command(script *script) []any {
	b.keys = len(b.epochKeys) + len(b.plainKeys) + len(b.otherKeys)
	words := append(append(append(b.words[:0], script.call...), &b.keys), b.epochKeys...)
	words = append(words, b.plainKeys...)
	for i := range b.otherKeys {
		words = append(words, &b.otherKeys[i])
	}
	words = append(words, &b.shape, len(b.epochs))
	for _, held := range b.epochs {
		words = append(words, given(&held.Keys), given(&held.Limits))
	}
	words = append(words, len(b.terms))
	for i := range b.terms {
		check, c := b.terms[i].check, b.terms[i].charge
		words = append(words, c.Algorithm.arg(), &c.Limit, &c.Window, c.extra(), c.change(), &check.From, check.until())
	}
	b.words = append(append(words, b.plainArgs...), b.otherArgs...)
	return b.words
}

// AdmitBatch decides the checks of a batch in one script call, and puts into the answer of each what it came to. On a
// cluster all keys of the call must lie in one slot.
//
// An error means that nobody knows what was charged; the call is never repeated by the client. What is wrong with the
// answer of one check alone is the Err of its Answer. It returns when the client does: what a ctx that ends means to
// that is go-redis' ContextTimeoutEnabled to say.
//
// Cost: one command, and in Redis one read for each epoch, and one write for each charge of a plain check that has a
// frame; a read more for each other charge, three reads and up to six writes more where it has holds, and a read for a
// token.
func (c *Conn) AdmitBatch(ctx context.Context, b *Batch) error {
	cmd := b.ask(ctx)
	_ = c.rdb.Process(ctx, cmd) // its error is the command's
	return c.answered(ctx, b, cmd)
}

// AdmitBatches is AdmitBatch for several batches, in one pipeline, and puts the error of each into errs. What one of
// them meets, as a slot that has moved, is nothing to the others.
func (c *Conn) AdmitBatches(ctx context.Context, batches []*Batch, errs []error) {
	pipe := c.rdb.Pipeline()
	cmds := make([]onceIntegers, len(batches))
	for i, b := range batches {
		cmds[i] = b.ask(ctx)
		_ = pipe.Process(ctx, cmds[i]) // which only queues it
	}
	_, _ = pipe.Exec(ctx) // errors are the commands'
	for i, b := range batches {
		errs[i] = c.answered(ctx, b, cmds[i])
	}
}

func (b *Batch) ask(ctx context.Context) onceIntegers {
	cmd := onceIntegers{redis.NewIntSliceCmd(ctx, b.command(&admitScript)...)}
	cmd.SetFirstKeyPos(3)
	return cmd
}

// answered reads the reply to a batch. Only NOSCRIPT proves that nothing ran: then the batch is sent again, with the text.
func (c *Conn) answered(ctx context.Context, b *Batch, cmd onceIntegers) error {
	if err := cmd.Err(); err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") {
		cmd = b.ask(ctx)
		b.words[0], b.words[1] = "eval", admitScript.source
		_ = c.rdb.Process(ctx, cmd)
	}
	numbers, err := cmd.Result()
	if err != nil {
		return admitScript.denied(err)
	}
	return b.decode(numbers)
}

// onceIntegers is a command as once is.
type onceIntegers struct{ *redis.IntSliceCmd }

// NoRetry tells go-redis (9.19 and later) never to send the command again by itself.
func (onceIntegers) NoRetry() bool { return true }

// decode reads the reply: plain checks, those of them that took the longer way, and the others.
func (b *Batch) decode(n []int64) error {
	if len(n) == 0 {
		return fmt.Errorf("%w: admit answered nothing", ErrReply)
	}
	r := &replied{now: n[0], rest: n[1:]}
	for i := range b.plain {
		r.plain(&b.plain[i], true)
	}
	for i := range b.plain {
		if b.plain[i].answer.Status == later {
			r.plain(&b.plain[i], false)
		}
	}
	for i := range b.other {
		r.other(&b.other[i])
	}
	switch {
	case r.short:
		return fmt.Errorf("%w: admit answered %d numbers, too few for %d checks", ErrReply, len(n), b.Len())
	case len(r.rest) != 0:
		return fmt.Errorf("%w: admit answered %d numbers too many", ErrReply, len(r.rest))
	}
	return nil
}
