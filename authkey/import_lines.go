package authkey

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/netip"
	"time"
)

// maxImportLine is more than a record of all its bounds needs.
const maxImportLine = 64 << 10

// importLine is a line that ImportLines reads.
type importLine struct {
	Key       string            `json:"key"`
	SHA256    string            `json:"sha256"`
	Source    string            `json:"source"`
	Org       string            `json:"org"`
	Project   string            `json:"project"`
	Name      string            `json:"name"`
	Owner     string            `json:"owner"`
	Plan      string            `json:"plan"`
	Kind      Kind              `json:"kind"`
	Scopes    []string          `json:"scopes"`
	Products  []string          `json:"products"`
	Networks  []netip.Prefix    `json:"networks"`
	Origins   []string          `json:"origins"`
	Meta      map[string]string `json:"meta"`
	NotBefore time.Time         `json:"not_before"`
	ExpiresAt time.Time         `json:"expires_at"`
}

// ImportLines reads keys for ImportAll from lines of JSON (NDJSON), of up to 64 KiB each:
//
//	{"source":"api_keys 17","key":"…","org":"demo","project":"shop"}
//	{"source":"api_keys 18","sha256":"<64 hex digits>","org":"demo","project":"shop","scopes":["read"],"expires_at":"2027-01-02T15:04:05Z"}
//
// Members are those of NewKey in lower case with underscores, and either key or sha256, which is of the whole key. A
// line that is anything else is ErrInvalid, and reading goes on; the error tells which member, where that is known, and
// nothing of what it holds. What r fails with ends the sequence. It can be ranged over once. The file is full of
// secrets where it holds keys: keep it nowhere.
func ImportLines(r io.Reader) iter.Seq2[Existing, error] {
	return func(yield func(Existing, error) bool) {
		lines := bufio.NewReaderSize(r, maxImportLine)
		for {
			line, err := lines.ReadSlice('\n')
			long := errors.Is(err, bufio.ErrBufferFull)
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = lines.ReadSlice('\n')
			}
			ended := errors.Is(err, io.EOF)
			if err != nil && !ended {
				yield(Existing{}, fmt.Errorf("authkey: import: %w", err))
				return
			}
			if ended && len(line) == 0 {
				return
			}
			existing, err := readImportLine(line)
			if long {
				existing, err = Existing{}, fmt.Errorf("%w: import: a line of more than %d bytes", ErrInvalid, maxImportLine)
			}
			if !yield(existing, err) || ended {
				return
			}
		}
	}
}

func readImportLine(text []byte) (Existing, error) {
	var line importLine
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&line)
	if _, rest := decoder.Token(); err == nil && !errors.Is(rest, io.EOF) {
		err = errors.New("more than one value")
	}
	e := Existing{Key: NewKey{
		Org: line.Org, Project: line.Project, Name: line.Name, Owner: line.Owner, Plan: line.Plan, Kind: line.Kind,
		Scopes: line.Scopes, Products: line.Products, Networks: line.Networks, Origins: line.Origins, Meta: line.Meta,
		NotBefore: line.NotBefore, ExpiresAt: line.ExpiresAt, Source: line.Source,
	}}
	if err != nil {
		var typed *json.UnmarshalTypeError
		if errors.As(err, &typed) && typed.Field != "" {
			return e, fmt.Errorf("%w: import: %s: want %s", ErrInvalid, typed.Field, typed.Type)
		}
		return e, fmt.Errorf("%w: import: want one object of JSON with no member that ImportLines does not know", ErrInvalid)
	}
	e.Presented = NewPresented(line.Key)
	if line.SHA256 == "" {
		return e, nil
	}
	sum, err := hex.DecodeString(line.SHA256)
	if err != nil || len(sum) != sha256.Size {
		return e, fmt.Errorf("%w: import: sha256: want 64 hexadecimal digits", ErrInvalid)
	}
	e.Digest = NewDigest([sha256.Size]byte(sum))
	return e, nil
}
