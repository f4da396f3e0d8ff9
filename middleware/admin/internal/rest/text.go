package rest

import (
	"errors"
	"slices"
	"time"
)

// Never is the text for a time that does not come.
const Never = "never"

// TimeOrNever returns the text of a time, of which zero is Never.
func TimeOrNever(t time.Time) string {
	if t.IsZero() {
		return Never
	}
	return t.Format(time.RFC3339Nano)
}

// TimeOrAbsent returns nil for the zero time.
func TimeOrAbsent(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// ParseTime reads a time as RFC 3339 has it; not the zero one.
func ParseTime(text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, text)
	if err == nil && t.IsZero() {
		return t, errors.New("the zero time stands for never")
	}
	return t, err
}

// ParseTimeOrNever reads what TimeOrNever writes.
func ParseTimeOrNever(text string) (time.Time, error) {
	if text == Never {
		return time.Time{}, nil
	}
	return ParseTime(text)
}

// OneOf returns a parser that takes some texts and no other.
func OneOf[T ~string](texts ...T) func(string) (T, error) {
	return func(text string) (T, error) {
		if !slices.Contains(texts, T(text)) {
			return "", errors.New("none of them")
		}
		return T(text), nil
	}
}
