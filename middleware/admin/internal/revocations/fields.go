package revocations

import (
	"errors"
	"strconv"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer/revocation"
	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/strict"
)

// What fields of bodies want.
const (
	kindWanted   = `"token", "subject", "session" or "client"`
	beforeWanted = "a time as RFC 3339 has it, of tokens made before which are refused; now where it is absent. Not of kind token"
	endWanted    = "a time as RFC 3339 has it, the exp of the token. Of kind token alone"
	reasonWanted = "why, in 1 to 256 bytes without control characters"
)

var (
	issuerWanted = "the issuer, as its tokens name it, of 1 to " + strconv.Itoa(lua.MaxIssuer) + " bytes"
	valueWanted  = "the jti, sub, sid or client_id, as tokens name it, of 1 to " + strconv.Itoa(lua.MaxName) + " bytes"
)

var errBounds = errors.New("out of bounds")

// issuerOf and valueOf take any text: it is what tokens say, byte for byte.
func issuerOf(text string) (string, error) { return bounded(text, lua.MaxIssuer) }

func valueOf(text string) (string, error) { return bounded(text, lua.MaxName) }

func bounded(text string, most int) (string, error) {
	if text == "" || len(text) > most {
		return "", errBounds
	}
	return text, nil
}

func reasonOf(text string) (string, error) {
	if text == "" {
		return "", errBounds
	}
	return text, authkey.ValidateReason(text)
}

// faults returns what is missing, or at odds with the kind.
func (o *order) faults() []strict.Fault {
	var faults []strict.Fault
	for _, field := range []struct{ name, text, want string }{
		{"/kind", string(o.kind), kindWanted}, {"/issuer", o.issuer, issuerWanted}, {"/value", o.value, valueWanted}, {"/reason", o.reason, reasonWanted},
	} {
		if field.text == "" {
			faults = append(faults, strict.Fault{Pointer: field.name, Code: strict.CodeRequired, Message: "want " + field.want})
		}
	}
	if o.kind == revocation.KindToken && !o.before.IsZero() {
		faults = append(faults, strict.Fault{Pointer: "/before", Code: strict.CodeValue, Message: "want none: a token is refused whenever it was made"})
	}
	if o.kind != revocation.KindToken && o.kind != "" && !o.expiresAt.IsZero() {
		faults = append(faults, strict.Fault{Pointer: "/expires_at", Code: strict.CodeValue, Message: "want none: this lasts as long as any of the tokens can"})
	}
	return faults
}
