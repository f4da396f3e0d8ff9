package rest

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/tollgate-go/tollgate/middleware/admin/internal/strict"
)

const maxBody = 128 << 10 // bytes; a plan of as many rules as it may have needs more than half

// The media types of bodies.
const (
	mediaJSON  = "application/json"
	mediaPatch = "application/merge-patch+json" // RFC 7396
)

// Body reads the request's body into the fields, which are those that the operation names.
func (c *Call) Body(fields ...strict.Field) error { return c.decode(false, fields) }

// OptionalBody is Body, where none at all is an object without fields.
func (c *Call) OptionalBody(fields ...strict.Field) error { return c.decode(true, fields) }

func (c *Call) decode(mayBeEmpty bool, fields []strict.Field) error {
	text, err := c.readBody()
	types := c.Request.Header.Values("Content-Type")
	if err == nil && len(text) == 0 && len(types) == 0 && mayBeEmpty {
		return nil
	}
	if accept := c.operation.Media(); len(types) != 1 || !isOneOf(types[0], accept) || c.Request.Header.Get("Content-Encoding") != "" {
		c.Header().Set("Accept", strings.Join(accept, ", "))
		return NewProblem(http.StatusUnsupportedMediaType, CodeMediaType, "The body must be "+strings.Join(accept, " or ")+" in UTF-8, not compressed.")
	}
	if err != nil {
		return err
	}
	if len(text) == 0 && mayBeEmpty {
		return nil
	}
	faults, err := strict.Decode(text, fields...)
	if syntax := new(strict.SyntaxError); errors.As(err, &syntax) {
		at := "at byte " + strconv.FormatInt(syntax.Offset, 10)
		return badBody("The body is not one JSON object in UTF-8: look "+at+".", "not valid JSON "+at)
	}
	if len(faults) > 0 {
		return InvalidFields(faults...)
	}
	return err
}

// readBody returns the body as it came. It may be called again.
func (c *Call) readBody() ([]byte, error) {
	if c.read {
		return c.text, nil
	}
	text, err := io.ReadAll(http.MaxBytesReader(c.w, c.Request.Body, maxBody))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		most := strconv.Itoa(maxBody)
		return nil, badBody("The body must be at most "+most+" bytes.", "ends at byte "+most+" at the latest")
	} else if err != nil {
		return nil, badBody("The body could not be read to its end.", "ends early")
	}
	c.text, c.read = text, true
	return text, nil
}

func badBody(detail, message string) *Error {
	return NewProblem(http.StatusBadRequest, CodeBody, detail, strict.Fault{Pointer: "", Code: "syntax", Message: message})
}

// Media returns the media types that an operation takes a body in.
func (o *Operation) Media() []string {
	if o.Patch {
		return []string{mediaPatch, mediaJSON}
	}
	return []string{mediaJSON}
}

func isOneOf(contentType string, accept []string) bool {
	media, params, err := mime.ParseMediaType(contentType)
	charset, given := params["charset"]
	return err == nil && slices.Contains(accept, media) && (!given || strings.EqualFold(charset, "utf-8"))
}
