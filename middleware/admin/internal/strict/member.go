package strict

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"
)

// Nullable is a field that may also be null, which a merge patch (RFC 7396) takes away with. Then none is called.
func Nullable(field Field, none func()) Field {
	return Field{name: field.name, schema: func() map[string]any {
		schema := field.schema()
		schema["type"] = []any{schema["type"], "null"}
		return schema
	}, set: func(value jsontext.Value) []Fault {
		if value.Kind() == 'n' {
			none()
			return nil
		}
		return field.set(value)
	}}
}

// Bool is a field that holds true or false.
func Bool(name string, into *bool) Field {
	return Field{name: name, schema: func() map[string]any { return map[string]any{"type": "boolean"} }, set: func(value jsontext.Value) []Fault {
		if value.Kind() != 't' && value.Kind() != 'f' {
			return expect(value, 't', "true or false")
		}
		*into = value.Kind() == 't'
		return nil
	}}
}

// ParsedTexts is a field that holds an array of strings, each of which stands for something else, as in "a network".
func ParsedTexts[T any](name, want string, into *[]T, parse func(text string) (T, error)) Field {
	return Field{name: name, schema: func() map[string]any { return arrayOf(map[string]any{"type": "string", "description": want}) }, set: func(value jsontext.Value) []Fault {
		all := []T{}
		faults := elements(value, "an array of strings", func(_ int, element jsontext.Value) []Fault {
			text, fault := unquote(element, want)
			if fault != nil {
				return fault
			}
			parsed, err := parse(text)
			if err != nil {
				return []Fault{{"", CodeValue, "want " + want}}
			}
			all = append(all, parsed)
			return nil
		})
		*into = all
		return faults
	}}
}

// Pairs is a field that holds an object whose members are strings.
func Pairs(name string, into *map[string]string) Field {
	return members(name, map[string]any{"type": "string"}, func(member string, value jsontext.Value) []Fault {
		text, fault := unquote(value, "a string")
		(*into)[member] = text
		return fault
	}, func() { *into = map[string]string{} })
}

// PairsOrNull is Pairs, where a member may be null too: then it is there, as nil.
func PairsOrNull(name string, into *map[string]*string) Field {
	return members(name, map[string]any{"type": []any{"string", "null"}}, func(member string, value jsontext.Value) []Fault {
		if (*into)[member] = nil; value.Kind() == 'n' {
			return nil
		}
		text, fault := unquote(value, "a string or null")
		(*into)[member] = &text
		return fault
	}, func() { *into = map[string]*string{} })
}

// members is a field that holds an object of any members, set one after the other once reset was called.
func members(name string, schema map[string]any, set func(member string, value jsontext.Value) []Fault, reset func()) Field {
	return Field{name: name, schema: func() map[string]any {
		return map[string]any{"type": "object", "additionalProperties": schema}
	}, set: func(value jsontext.Value) []Fault {
		if fault := expect(value, '{', "an object of strings"); fault != nil {
			return fault
		}
		reset()
		var faults []Fault
		d := jsontext.NewDecoder(bytes.NewReader(value))
		_, err := d.ReadToken() // {
		for err == nil && d.PeekKind() != '}' && len(faults) < MaxFaults {
			var token jsontext.Token
			if token, err = d.ReadToken(); err != nil {
				break
			}
			member := token.String()
			var inner jsontext.Value
			if inner, err = d.ReadValue(); err != nil {
				break
			}
			at := bounded(jsontext.Pointer("").AppendToken(member))
			faults = append(faults, within(at, set(member, inner))...)
		}
		if err != nil { // not to be expected: the value was read as a whole before
			return []Fault{{"", CodeType, "want an object of strings"}}
		}
		return faults
	}}
}

// within returns faults of something at a place.
func within(at string, faults []Fault) []Fault {
	for i := range faults {
		faults[i].Pointer = at + faults[i].Pointer
	}
	return faults
}
