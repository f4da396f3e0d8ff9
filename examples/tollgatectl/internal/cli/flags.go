package cli

import (
	"errors"
	"flag"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Fields is what flags say of a body or of a query. A flag that is not given leaves no field.
type Fields map[string]any

// Query returns fields that are texts as parameters.
func (f Fields) Query() url.Values {
	q := url.Values{}
	for name, value := range f {
		q.Set(name, fmt.Sprint(value))
	}
	return q
}

// Flags declares the flags of a command. Each method named after what a field holds declares one that fills it.
type Flags struct {
	*flag.FlagSet

	now func() time.Time
}

// parse reads flags and arguments, which may stand in any order; all after "--" are arguments.
func (f *Flags) parse(words []string) (args []string, err error) {
	for {
		if err := f.Parse(words); err != nil {
			return nil, err
		}
		if n := len(words) - f.NArg(); n > 0 && words[n-1] == "--" {
			return append(args, f.Args()...), nil
		}
		if f.NArg() == 0 {
			return args, nil
		}
		args, words = append(args, f.Arg(0)), f.Args()[1:]
	}
}

// TextField takes any text, also an empty one.
func (f *Flags) TextField(into Fields, name, field, usage string) {
	f.Func(name, usage, func(text string) error {
		into[field] = text
		return nil
	})
}

// ListField takes texts between commas, and adds up when it is given again. An empty text alone is an empty list.
func (f *Flags) ListField(into Fields, name, field, usage string) {
	list := []string{}
	f.Func(name, usage, func(text string) error {
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part != "" {
				list = append(list, part)
			}
		}
		into[field] = list
		return nil
	})
}

// PairsField takes name=value, and adds up. A name with nothing after it, as in "team", is one to remove.
func (f *Flags) PairsField(into Fields, name, field, usage string) {
	pairs := map[string]*string{}
	f.Func(name, usage, func(text string) error {
		key, value, ok := strings.Cut(text, "=")
		if key == "" {
			return errors.New("want name=value")
		}
		if pairs[key] = nil; ok {
			pairs[key] = &value
		}
		into[field] = pairs
		return nil
	})
}

// IntegerField takes a whole number.
func (f *Flags) IntegerField(into Fields, name, field, usage string) {
	f.Func(name, usage, func(text string) error {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return errors.New("want a whole number")
		}
		into[field] = n
		return nil
	})
}

// DurationField takes a duration as Go writes it, or whole days or weeks: "90s", "24h", "7d", "2w".
func (f *Flags) DurationField(into Fields, name, field, usage string) {
	f.Func(name, usage, func(text string) error {
		d, err := ParseDuration(text)
		if err == nil {
			into[field] = d.String()
		}
		return err
	})
}

// TimeField takes a time as ParseTime has it, seen from now.
func (f *Flags) TimeField(into Fields, name, field, usage string) {
	f.Func(name, usage, func(text string) error {
		t, err := ParseTime(text, f.now())
		if err == nil {
			into[field] = t
		}
		return err
	})
}

// EndFields declares two flags for one field, when something ends: --for with a duration and --until with a time or
// "never". The duration begins with the field start, if there is one, else now. Call what it returns after the flags
// are read: it refuses both flags at once.
func (f *Flags) EndFields(into Fields, field, start string) (settle func() error) {
	var span time.Duration
	f.Func("for", "how `long` it holds: 24h, 7d", func(text string) (err error) {
		span, err = ParseDuration(text)
		if err == nil && span <= 0 {
			err = errors.New("want more than nothing")
		}
		return err
	})
	f.Func("until", "when it ends: a `time`, or never", func(text string) error {
		t := text
		var err error
		if text != "never" {
			t, err = ParseTime(text, f.now())
		}
		into[field] = t
		return err
	})
	return func() error {
		if span == 0 {
			return nil
		}
		if into[field] != nil {
			return usage("--for and --until say the same; give one of them")
		}
		from := f.now()
		if text, ok := into[start].(string); ok {
			t, err := time.Parse(time.RFC3339, text)
			if err != nil {
				return usage("--for needs another beginning than %s", text)
			}
			from = t
		}
		into[field] = from.Add(span).UTC().Format(time.RFC3339)
		return nil
	}
}

// ParseDuration reads a duration as Go writes it, or whole days or weeks.
func ParseDuration(text string) (time.Duration, error) {
	for unit, d := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		digits, ok := strings.CutSuffix(text, unit)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(digits, 10, 32)
		if most := int64((1<<63 - 1) / d); err != nil || n < 0 || n > most {
			break
		}
		return time.Duration(n) * d, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, errors.New(`want a duration, such as "90s", "24h" or "7d"`)
	}
	return d, nil
}

// ParseTime reads a time, and returns it as RFC 3339 has it: one that is written so, a date (its beginning in UTC),
// "now", or a duration from now, such as "+24h" or "-7d".
func ParseTime(text string, now time.Time) (string, error) {
	var t time.Time
	var err error
	switch {
	case text == "now":
		t = now
	case strings.HasPrefix(text, "+") || strings.HasPrefix(text, "-"):
		var d time.Duration
		d, err = ParseDuration(text[1:])
		if text[0] == '-' {
			d = -d
		}
		t = now.Add(d)
	case len(text) == len(time.DateOnly):
		t, err = time.Parse(time.DateOnly, text)
	default:
		t, err = time.Parse(time.RFC3339, text)
	}
	if err != nil {
		return "", errors.New(`want a time, such as "2026-01-31T15:00:00Z", "2026-01-31", "now", "+24h" or "-7d"`)
	}
	return t.UTC().Format(time.RFC3339), nil
}
