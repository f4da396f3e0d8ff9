package openapi

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/tollgate-go/tollgate/middleware/admin/internal/rest"
)

// schemas are those of the types that were met.
type schemas struct {
	components object
	types      map[string]reflect.Type // by the name of the component
}

func reference(name string) object { return object{"$ref": "#/components/schemas/" + name} }

// problem describes the answer to what fails.
func (s *schemas) problem() {
	described := s.structure(reflect.TypeFor[rest.Error]())
	described["properties"].(object)["code"].(object)["enum"] = rest.Codes() //nolint:errcheck // structure made them
	s.components["Problem"] = described
}

var (
	timeType = reflect.TypeFor[time.Time]()
	rawType  = reflect.TypeFor[json.RawMessage]()
)

// of returns the schema of a type: that of a struct is a component, unless it is generic.
func (s *schemas) of(t reflect.Type) object {
	switch t {
	case timeType:
		return object{"type": "string", "format": "date-time"}
	case rawType:
		return object{}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.of(t.Elem())
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int32, reflect.Int64:
		return object{"type": "integer"}
	case reflect.Slice:
		return object{"type": "array", "items": s.of(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.Interface:
		return object{}
	case reflect.Struct:
		return s.component(t)
	default:
		panic("openapi: no schema for " + t.String())
	}
}

func (s *schemas) component(t reflect.Type) object {
	name := t.Name()
	if name == "" || strings.Contains(name, "[") {
		return s.structure(t)
	}
	name = strings.ToUpper(name[:1]) + name[1:]
	if known, ok := s.types[name]; !ok {
		s.types[name] = t
		s.components[name] = s.structure(t)
	} else if known != t {
		panic(fmt.Sprintf("openapi: %v and %v have one name", known, t))
	}
	return reference(name)
}

func (s *schemas) structure(t reflect.Type) object {
	properties, required := object{}, []string{}
	s.members(t, properties, &required)
	slices.Sort(required)
	described := object{"type": "object", "properties": properties}
	if len(required) > 0 {
		described["required"] = required
	}
	return described
}

func (s *schemas) members(t reflect.Type, properties object, required *[]string) {
	for i := range t.NumField() {
		field := t.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case field.Anonymous && name == "":
			s.members(field.Type, properties, required)
			continue
		case name == "" || name == "-":
			continue
		}
		described := s.of(field.Type)
		for tag, member := range map[string]string{"doc": "description", "format": "format"} {
			if text := field.Tag.Get(tag); text != "" {
				described[member] = text
			}
		}
		if words := field.Tag.Get("enum"); words != "" {
			described["enum"] = strings.Split(words, ",")
		}
		properties[name] = described
		if !strings.Contains(options, "omitempty") && !strings.Contains(options, "omitzero") {
			*required = append(*required, name)
		}
	}
}
