package journal

import (
	"encoding/binary"
	"errors"

	"github.com/tollgate-go/tollgate/lua"
)

// Kind says what a Record tells.
type Kind byte

// The kinds of records.
const (
	// Pending: Entries are what is being added up. Their units take the place of what was told of the same names
	// before, and Number is that of the org's last batch.
	Pending Kind = 1 + iota
	// Frozen: Entries became the batch Number, and are pending no more. It may be sent once this is in the journal.
	Frozen
	// Settled: the batch Number was decided.
	Settled
)

// Record is a step on the way of an org's units. At, in Unix seconds, is when it was made. Settled has no Hour and no
// Entries.
type Record struct {
	Kind    Kind
	Org     string
	Number  int64
	At      int64
	Hour    int64 // the Unix time in seconds when the hour begins
	Entries []lua.UsageEntry
}

// Bounds of what a record may hold. Nothing beyond them is believed, whatever its checksum.
const (
	maxText   = 128
	maxNumber = 1 << 53
	maxHour   = 253402300800 / 3600 // the year 10000
)

var errRecord = errors.New("a record is out of its bounds")

// appendTo writes a record behind others.
func (r *Record) appendTo(b []byte) []byte {
	b = append(b, byte(r.Kind))
	b = binary.AppendUvarint(b, uint64(r.At))
	b = binary.AppendUvarint(b, uint64(r.Number))
	b = appendText(b, r.Org)
	if r.Kind == Settled {
		return b
	}
	b = binary.AppendUvarint(b, uint64(r.Hour/3600))
	b = binary.AppendUvarint(b, uint64(len(r.Entries)))
	for i := range r.Entries {
		e := &r.Entries[i]
		for _, text := range [...]string{e.Project, e.Product, e.Kind, e.Source} {
			b = appendText(b, text)
		}
		b = binary.AppendUvarint(b, uint64(e.Units))
	}
	return b
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// reading is what is left to read of a payload. What it hands out are pieces of the payload.
type reading struct {
	rest string
	bad  bool
}

// record reads what appendTo wrote.
func (r *reading) record() (rec Record, err error) {
	rec.Kind = Kind(r.number(int64(Settled)))
	rec.At = r.number(maxNumber)
	rec.Number = r.number(maxNumber)
	rec.Org = r.text()
	if rec.Kind != Settled {
		rec.Hour = r.number(maxHour-1) * 3600
		rec.Entries = make([]lua.UsageEntry, r.number(lua.MaxUsageEntries))
		for i := range rec.Entries {
			e := &rec.Entries[i]
			e.Project, e.Product, e.Kind, e.Source = r.text(), r.text(), r.text(), r.text()
			if e.Units = r.number(lua.MaxUsageUnits); e.Units == 0 || r.bad {
				return rec, errRecord
			}
		}
	}
	whole := rec.Kind == Settled || len(rec.Entries) > 0
	if r.bad || rec.Kind == 0 || rec.Org == "" || !whole || rec.Kind != Pending && rec.Number == 0 {
		return rec, errRecord
	}
	return rec, nil
}

// number reads a whole number from 0 to high.
func (r *reading) number(high int64) int64 {
	var n uint64
	for i := 0; i < len(r.rest) && i < binary.MaxVarintLen64; i++ {
		c := r.rest[i]
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			r.rest = r.rest[i+1:]
			if n > uint64(high) {
				break
			}
			return int64(n)
		}
	}
	r.bad, r.rest = true, ""
	return 0
}

func (r *reading) text() string {
	n := int(r.number(maxText))
	if n > len(r.rest) {
		r.bad, r.rest = true, ""
		return ""
	}
	text := r.rest[:n]
	r.rest = r.rest[n:]
	return text
}
