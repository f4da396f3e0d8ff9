package leak

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/tollgate-go/tollgate/authkey"
)

// Found is a key in a text.
type Found struct {
	Key       authkey.Parsed    // what may be shown of it
	Presented authkey.Presented // itself, for Issuer.Lookup
	Line      int               // from 1, where "\n" ends a line
	Offset    int64             // in bytes from the beginning
}

// Scan returns the keys of some formats that are in a text, of any format if none is given, as AnyPattern and
// Format.Pattern find them: set apart by anything but letters, digits and the underscore. Checksums are confirmed, so
// that hardly anything else is found: one in four thousand millions of what has the form. Whether a key is known,
// Issuer.Lookup can tell. It asks nobody itself, and holds 4 KiB, whatever the text is. An error of the reader comes
// last.
func Scan(r io.Reader, formats ...authkey.Format) iter.Seq2[Found, error] {
	return func(yield func(Found, error) bool) {
		if r == nil {
			yield(Found{}, fmt.Errorf("%w: Scan: a reader is needed", ErrInvalid))
			return
		}
		s := scanner{Reader: bufio.NewReader(r), line: 1}
		for {
			found, err := s.next()
			if errors.Is(err, io.EOF) {
				return
			}
			accepted := len(formats) == 0 || slices.ContainsFunc(formats, func(f authkey.Format) bool { return f.Accepts(found.Key) })
			if (err != nil || accepted) && !yield(found, err) || err != nil {
				return
			}
		}
	}
}

// maxWord is more than a key has.
const maxWord = 128

// scanner reads a text word by word. A key is a word as a whole, for nothing else is in it, and the patterns want a
// word boundary on both sides.
type scanner struct {
	*bufio.Reader
	line   int
	offset int64
	word   [maxWord]byte
}

// next returns the next key of any format.
func (s *scanner) next() (Found, error) {
	length := 0
	for {
		c, err := s.ReadByte()
		if err == nil && inWord(c) {
			if length < maxWord {
				s.word[length] = c
			}
			length++
			s.offset++
			continue
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return Found{}, fmt.Errorf("leak: Scan: %w", err)
		}
		found, ok := s.key(length)
		if err == nil {
			s.offset++
			if c == '\n' {
				s.line++
			}
		}
		if ok {
			return found, nil
		}
		if err != nil {
			return Found{}, err
		}
		length = 0
	}
}

// key returns the word that was read last, if it is a key.
func (s *scanner) key(length int) (Found, bool) {
	if length > maxWord {
		return Found{}, false
	}
	word := string(s.word[:length])
	parsed, err := authkey.Parse(word)
	if err != nil {
		return Found{}, false
	}
	return Found{Key: parsed, Presented: authkey.NewPresented(word), Line: s.line, Offset: s.offset - int64(length)}, true
}

// inWord reports whether \b (RE2) takes a byte for a part of a word.
func inWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}
