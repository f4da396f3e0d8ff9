package journal

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// A file is a header and frames. The header is a magic text, a marker that is random and of this file alone, the name
// of the process, and the CRC-32C of them. A frame is the marker, the length of its payload, the CRC-32C of both and of
// the payload, and the payload, which is some records. Numbers are big-endian, of 4 bytes.
//
// The marker tells a frame that is damaged from one that was not written to its end: behind the former are others. No
// client knows it, so that nothing which is counted can look like a frame.
const (
	magic      = "tgusage1"
	processLen = 26
	headerLen  = len(magic) + 4 + processLen + 4
	frameLen   = 12 // of a frame without its payload
	maxPayload = 1 << 20
	// aim is how much a frame has before another is begun. The records of one Append follow, which are less than 700 kB.
	aim = 256 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	errHeader = errors.New("its header is damaged")
	errFrame  = errors.New("a frame before the last is damaged")
)

type marker [4]byte

func newMarker() (m marker) {
	_, _ = rand.Read(m[:]) // it never fails
	return m
}

func header(m marker, process string) []byte {
	b := append([]byte(magic), m[:]...)
	b = append(b, process...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// frame puts a payload of 1 to maxPayload bytes into a frame.
func (m marker) frame(payload []byte) []byte {
	b := append(make([]byte, 0, frameLen+len(payload)), m[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	b = binary.BigEndian.AppendUint32(b, crc32.Update(crc32.Checksum(b, castagnoli), castagnoli, payload))
	return append(b, payload...)
}

// payload returns that of the frame that some bytes begin with; nil if they do not.
func (m marker) payload(b []byte) []byte {
	if len(b) < frameLen || marker(b) != m {
		return nil
	}
	n := int(binary.BigEndian.Uint32(b[4:]))
	if n < 1 || n > maxPayload || n > len(b)-frameLen {
		return nil
	}
	payload := b[frameLen : frameLen+n]
	if binary.BigEndian.Uint32(b[8:]) != crc32.Update(crc32.Checksum(b[:8], castagnoli), castagnoli, payload) {
		return nil
	}
	return payload
}

// parse reads a file. It returns its process, what is open, and how many bytes of it are whole: what follows those is
// a frame that was not written to its end. Where an error is about the file, at is the offset of the damage.
func parse(b []byte) (process string, m marker, s *state, at int, err error) {
	if len(b) < headerLen || string(b[:len(magic)]) != magic {
		return "", m, nil, 0, errHeader
	}
	m = marker(b[len(magic):])
	process = string(b[len(magic)+4:][:processLen])
	if !bytes.Equal(header(m, process), b[:headerLen]) {
		return "", m, nil, 0, errHeader
	}
	s, at = newState(), headerLen
	for at < len(b) {
		payload := m.payload(b[at:])
		if payload == nil {
			if m.later(b[at+1:]) {
				return process, m, nil, at, errFrame
			}
			break
		}
		if err := s.apply(payload); err != nil {
			return process, m, nil, at, err
		}
		at += frameLen + len(payload)
	}
	return process, m, s, at, nil
}

// later reports whether a frame begins anywhere in some bytes.
func (m marker) later(b []byte) bool {
	for {
		i := bytes.Index(b, m[:])
		if i < 0 {
			return false
		}
		if m.payload(b[i:]) != nil {
			return true
		}
		b = b[i+1:]
	}
}
