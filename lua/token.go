package lua

import "time"

// NameKind is a kind of name that tokens are revoked under.
type NameKind string

// The kinds of names.
const (
	NameToken   NameKind = "token"   // jti, of one token
	NameSubject NameKind = "subject" // sub
	NameSession NameKind = "session" // sid
	NameClient  NameKind = "client"  // client_id or azp
)

var nameKinds = [...]NameKind{NameToken, NameSubject, NameSession, NameClient}

// Bounds of a name, in bytes.
const (
	MaxIssuer = 512
	MaxName   = 256
)

// Name is one that tokens are revoked under: what their issuer calls them, byte for byte.
type Name struct {
	Kind   NameKind
	Issuer string // iss
	Value  string
}

// Token is a bearer token as far as it can be revoked. What is empty is no name of it; one without any cannot be
// revoked.
type Token struct {
	Org, Issuer                  string
	ID, Subject, Session, Client string // one for each NameKind, in their order
	// IssuedAt is when it was made, to the second. A token that does not tell, or tells of a time before 1970 or after
	// 2255, is refused by every revocation of one of its names.
	IssuedAt time.Time
}

// revocable reports whether a token has a name to be revoked by. A nil one has none.
func (t *Token) revocable() bool {
	return t != nil && (t.ID != "" || t.Subject != "" || t.Session != "" || t.Client != "")
}

// appendToken appends what admit.lua reads of a token.
func appendToken(keys []string, args []any, t *Token) ([]string, []any) {
	if t == nil {
		return keys, append(args, 0)
	}
	at, names := len(args), 0
	args = append(args, 0, t.IssuedAt.Unix())
	for i, value := range [...]string{t.ID, t.Subject, t.Session, t.Client} {
		if value != "" {
			args = append(args, Name{nameKinds[i], t.Issuer, value}.Field())
			names++
		}
	}
	if names == 0 {
		return keys, args[:at+1]
	}
	args[at] = names
	return append(keys, RevokedKey(t.Org)), args
}
