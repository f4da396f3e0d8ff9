//go:build !linux

// Package pin keeps processes to one core each, on Linux.
package pin

import "errors"

// Apart is an error: it is for Linux only.
func Apart(...int) (undo func() error, err error) {
	return nil, errors.New("pin: it is known for Linux only")
}
