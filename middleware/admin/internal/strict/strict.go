// Package strict reads a JSON object and forgives nothing: no unknown, repeated or differently
// cased field, no null, no other type, nothing after the object. Package encoding/json forgives all of
// these, and then a limit of null is a limit of zero.
//
//	var name string
//	var limit *int64
//	faults, err := strict.Decode(body, strict.Text("name", &name), strict.Integer("limit", &limit))
//	if err != nil { ... }         // a *SyntaxError: no JSON, at a byte
//	if len(faults) > 0 { ... }    // JSON, but not what was asked for
//
// It is not for deep or large documents: every value is held in memory.
package strict

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Fault is one field that is not as it should be. It names the place and what is wanted there, and never
// repeats a value.
type Fault struct {
	// Pointer is the place, as RFC 6901 has it; "" is the whole document.
	Pointer string `json:"pointer"`
	// Code is one of the constants below, or the caller's own.
	Code string `json:"code"`
	// Message says what is wanted.
	Message string `json:"message"`
}

// The codes of a Fault.
const (
	CodeUnknown   = "unknown_field"
	CodeDuplicate = "duplicate_field"
	CodeNull      = "null"
	CodeType      = "wrong_type"
	CodeValue     = "invalid_value" // of the right type, but outside what is allowed
	CodeRequired  = "required"      // absent
)

// MaxFaults is how many faults of one document are told: an answer is not to be longer than what was asked.
const MaxFaults = 20

// maxPointer is how many bytes a Fault repeats of a name that the client made up.
const maxPointer = 128

// SyntaxError says where a document stops being JSON in UTF-8.
type SyntaxError struct {
	Offset int64 // in bytes from the beginning
}

// Error names the place.
func (e *SyntaxError) Error() string {
	return "strict: no valid JSON at byte " + strconv.FormatInt(e.Offset, 10)
}

// Field is one member that the object may have. Make it with Text, Texts, Integer, Parsed or Objects. What is
// absent from the document leaves its variable alone.
type Field struct {
	name   string
	schema func() map[string]any
	set    func(value jsontext.Value) []Fault // with pointers relative to the value

	required bool // for the schema
}

// Required describes a field as one that may not be absent. Whoever decodes has to look at that himself, for he can say
// what is missed.
func Required(field Field) Field {
	field.required = true
	return field
}

// HasRequired reports whether one of the fields may not be absent.
func HasRequired(fields []Field) bool {
	return slices.ContainsFunc(fields, func(field Field) bool { return field.required })
}

// Schema returns the JSON Schema of what Decode takes.
func Schema(fields ...Field) map[string]any {
	properties, required := map[string]any{}, []string{}
	for _, field := range fields {
		properties[field.name] = field.schema()
		if field.required {
			required = append(required, field.name)
		}
	}
	schema := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		schema["required"] = required
	}
	return schema
}

// Decode reads a document, which must be one object with nothing but the fields, each at most once. It
// returns up to 20 faults in the order of the document (a repeated name is the last), or a *SyntaxError.
// With either of them, variables of the fields may have been set. Safe for concurrent use.
func Decode(document []byte, fields ...Field) ([]Fault, error) {
	d := decoder{Decoder: jsontext.NewDecoder(bytes.NewReader(document)), fields: fields}
	err := d.document()
	if err == nil {
		return d.faults[:min(len(d.faults), MaxFaults)], nil
	}
	var syntax *jsontext.SyntacticError
	switch {
	case !errors.As(err, &syntax): // the document is empty
		return nil, &SyntaxError{Offset: int64(len(document))}
	case errors.Is(err, jsontext.ErrDuplicateName):
		d.faults = append(d.faults, Fault{bounded(syntax.JSONPointer), CodeDuplicate, "the field is there twice"})
		return d.faults[max(0, len(d.faults)-MaxFaults):], nil
	}
	return nil, &SyntaxError{Offset: syntax.ByteOffset}
}

type decoder struct {
	*jsontext.Decoder
	fields []Field
	faults []Fault
}

func (d *decoder) document() error {
	if d.PeekKind() == '{' {
		if err := d.object(); err != nil {
			return err
		}
	} else {
		if err := d.SkipValue(); err != nil {
			return err
		}
		d.faults = append(d.faults, Fault{"", CodeType, "want an object"})
	}
	end := d.InputOffset()
	_, err := d.ReadToken()
	switch {
	case err == nil:
		return &jsontext.SyntacticError{ByteOffset: end} // a second value
	case errors.Is(err, io.EOF):
		return nil
	}
	return err
}

func (d *decoder) object() error {
	if _, err := d.ReadToken(); err != nil { // {
		return err
	}
	for d.PeekKind() != '}' {
		token, err := d.ReadToken()
		if err != nil {
			return err
		}
		name := token.String()
		value, err := d.ReadValue()
		if err != nil {
			return err
		}
		d.member(name, value)
	}
	_, err := d.ReadToken() // }
	return err
}

func (d *decoder) member(name string, value jsontext.Value) {
	at := bounded(jsontext.Pointer("").AppendToken(name))
	unknown := Fault{at, CodeUnknown, "the field is not known"}
	for _, field := range d.fields {
		if field.name == name {
			for _, fault := range field.set(value) {
				fault.Pointer = at + fault.Pointer
				d.faults = append(d.faults, fault)
			}
			return
		}
		if strings.EqualFold(field.name, name) {
			unknown.Message = "the field is not known; upper and lower case matter: write " + field.name
		}
	}
	d.faults = append(d.faults, unknown)
}

// bounded returns a pointer, or that to the whole document where it is too long to be repeated.
func bounded(p jsontext.Pointer) string {
	if len(p) > maxPointer {
		return ""
	}
	return string(p)
}

// Text is a field that holds a string.
func Text(name string, into *string) Field {
	field := Parsed(name, "a string", into, func(text string) (string, error) { return text, nil })
	field.schema = func() map[string]any { return map[string]any{"type": "string"} }
	return field
}

// Parsed is a field that holds a string that stands for something else. want says what, as in "a time".
func Parsed[T any](name, want string, into *T, parse func(text string) (T, error)) Field {
	return Field{name: name, schema: func() map[string]any { return map[string]any{"type": "string", "description": want} }, set: func(value jsontext.Value) []Fault {
		text, fault := unquote(value, want)
		if fault != nil {
			return fault
		}
		parsed, err := parse(text)
		if err != nil {
			return []Fault{{"", CodeValue, "want " + want}}
		}
		*into = parsed
		return nil
	}}
}

// Integer is a field that holds a number written without fraction and exponent.
func Integer(name string, into **int64) Field {
	return Field{name: name, schema: func() map[string]any { return map[string]any{"type": "integer"} }, set: func(value jsontext.Value) []Fault {
		if fault := expect(value, '0', "an integer"); fault != nil {
			return fault
		}
		text := string(value)
		if strings.ContainsAny(text, ".eE") {
			return []Fault{{"", CodeType, "want an integer, without fraction and exponent"}}
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return []Fault{{"", CodeValue, "want an integer of at most 15 digits"}}
		}
		*into = &n
		return nil
	}}
}

// Texts is a field that holds an array of strings.
func Texts(name string, into *[]string) Field {
	const want = "an array of strings"
	return Field{name: name, schema: func() map[string]any { return arrayOf(map[string]any{"type": "string"}) }, set: func(value jsontext.Value) []Fault {
		texts := []string{}
		faults := elements(value, want, func(_ int, element jsontext.Value) []Fault {
			text, fault := unquote(element, "a string")
			texts = append(texts, text)
			return fault
		})
		*into = texts
		return faults
	}}
}

// Objects is a field that holds an array of objects, each with nothing but the fields of its place, which counts
// from 0. fields is called for one after the other.
func Objects(name string, fields func(i int) []Field) Field {
	const want = "an array of objects"
	return Field{name: name, schema: func() map[string]any { return arrayOf(Schema(fields(0)...)) }, set: func(value jsontext.Value) []Fault {
		return elements(value, want, func(i int, element jsontext.Value) []Fault {
			faults, err := Decode(element, fields(i)...)
			if err != nil { // not to be expected: the value was read as a whole before
				return []Fault{{"", CodeType, "want an object"}}
			}
			return faults
		})
	}}
}

func arrayOf(items map[string]any) map[string]any {
	return map[string]any{"type": "array", "items": items}
}

// elements reads each element of an array.
func elements(value jsontext.Value, want string, read func(i int, element jsontext.Value) []Fault) []Fault {
	if fault := expect(value, '[', want); fault != nil {
		return fault
	}
	var faults []Fault
	d := jsontext.NewDecoder(bytes.NewReader(value))
	_, err := d.ReadToken() // [
	for i := 0; err == nil && d.PeekKind() != ']'; i++ {
		var element jsontext.Value
		if element, err = d.ReadValue(); err != nil {
			break
		}
		for _, fault := range read(i, element) {
			fault.Pointer = "/" + strconv.Itoa(i) + fault.Pointer
			faults = append(faults, fault)
		}
	}
	if err != nil { // not to be expected: the value was read as a whole before
		return []Fault{{"", CodeType, "want " + want}}
	}
	return faults
}

func unquote(value jsontext.Value, want string) (string, []Fault) {
	if fault := expect(value, '"', want); fault != nil {
		return "", fault
	}
	text, err := jsontext.AppendUnquote(nil, value)
	if err != nil { // not to be expected either
		return "", []Fault{{"", CodeType, "want " + want}}
	}
	return string(text), nil
}

func expect(value jsontext.Value, kind jsontext.Kind, want string) []Fault {
	switch value.Kind() {
	case kind:
		return nil
	case 'n':
		return []Fault{{"", CodeNull, "null is not allowed; leave the field out"}}
	}
	return []Fault{{"", CodeType, "want " + want}}
}
