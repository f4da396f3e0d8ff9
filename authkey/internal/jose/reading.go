package jose

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// reading is a decoder and the buffer that it reads a document from, which it does not copy.
type reading struct {
	jsontext.Decoder
	buffer bytes.Buffer
}

var readings = sync.Pool{New: func() any { return new(reading) }}

// read returns a reading of a document; done gives it back, holding on to nothing.
func read(document []byte) *reading {
	r := readings.Get().(*reading) //nolint:errcheck // the pool holds nothing else
	r.buffer = *bytes.NewBuffer(document)
	r.Reset(&r.buffer)
	return r
}

func (r *reading) done() {
	r.buffer = bytes.Buffer{}
	r.Reset(&r.buffer)
	readings.Put(r)
}

// next returns the next name or value as a part of the document.
func (r *reading) next(document []byte) (json.RawMessage, bool) {
	value, err := r.ReadValue()
	end := int(r.InputOffset())
	return document[end-len(value) : end : end], err == nil
}

// within calls a function before each part of what stands between two brackets, until it returns false, and reports
// whether the document is that and nothing else.
func (r *reading) within(open, end jsontext.Kind, part func() bool) bool {
	if r.PeekKind() != open {
		return false
	}
	if _, err := r.ReadToken(); err != nil {
		return false
	}
	for r.PeekKind() != end {
		if !part() {
			return false
		}
	}
	if _, err := r.ReadToken(); err != nil {
		return false
	}
	_, err := r.ReadToken()
	return errors.Is(err, io.EOF)
}
