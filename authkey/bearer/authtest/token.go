package authtest

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"maps"
	"time"
)

// Claims are what a token says, by name. A time.Time becomes seconds since 1970, nil becomes null, and Absent takes a
// claim away that would be there by default; anything else is written as encoding/json writes it.
type Claims map[string]any

type absent byte

// Absent stands for a member that is not there: Claims{"exp": authtest.Absent}.
const Absent absent = 0

// MarshalJSON refuses: within a value, leave the member out.
func (absent) MarshalJSON() ([]byte, error) {
	return nil, errors.New("authtest: Absent stands for a whole member only, not for a part of its value")
}

// merge lays members over others, which stay as they are.
func merge(under, over map[string]any) map[string]any {
	merged := make(map[string]any, len(under)+len(over))
	maps.Copy(merged, under)
	for name, value := range over {
		switch value := value.(type) {
		case absent:
			delete(merged, name)
		case time.Time:
			merged[name] = value.Unix()
		default:
			merged[name] = value
		}
	}
	return merged
}

// Mint returns an access token as RFC 9068 has it, signed with the current key, which introspection knows. By default
// it is valid: iss is the issuer's URL, sub "subject", aud Audience, client_id ClientID, iat now, exp five minutes
// later, jti new each time. claims go over these; nil: none.
func (i *Issuer) Mint(claims Claims) string {
	i.t.Helper()
	token, err := i.mint(claims)
	if err != nil {
		i.t.Fatalf("authtest: Mint: %v", err)
	}
	return token
}

func (i *Issuer) mint(claims Claims) (string, error) {
	token, payload, err := i.compose(nil, claims, i.Key())
	if err == nil {
		i.remember(token, payload)
	}
	return token, err
}

// MintWith is Mint with a header and a key of one's own. header goes over typ, alg and kid; nil: none. A nil key is the
// current one. Introspection does not know the token.
func (i *Issuer) MintWith(header map[string]any, claims Claims, key *Key) string {
	i.t.Helper()
	if key == nil {
		key = i.Key()
	}
	token, _, err := i.compose(header, claims, key)
	if err != nil {
		i.t.Fatalf("authtest: MintWith: %v", err)
	}
	return token
}

// Sign returns a compact JWS (RFC 7515) over any bytes, which it does not look at: a good signature over what need not
// be JSON. A nil key is the current one.
func (i *Issuer) Sign(header, payload []byte, key *Key) string {
	i.t.Helper()
	if key == nil {
		key = i.Key()
	}
	token, err := key.sign(header, payload)
	if err != nil {
		i.t.Fatalf("authtest: Sign: %v", err)
	}
	return token
}

// Opaque returns a token that says nothing by itself: introspection tells its claims, which have the defaults of Mint.
func (i *Issuer) Opaque(claims Claims) string {
	i.t.Helper()
	payload, err := json.Marshal(i.claims(claims))
	if err != nil {
		i.t.Fatalf("authtest: Opaque: %v", err)
	}
	token := rand.Text()
	i.remember(token, payload)
	return token
}

// Revoke has introspection say from now on that a token of Mint or Opaque is not active. Another one ends the test. Who
// verifies a JWT by itself does not ask: package revocation refuses those.
func (i *Issuer) Revoke(token string) {
	i.t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	if _, ok := i.tokens[token]; !ok {
		i.t.Fatalf("authtest: Revoke: the token is not of Mint or Opaque, or was revoked already")
	}
	delete(i.tokens, token)
}

func (i *Issuer) remember(token string, payload []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.tokens[token] = payload
}

func (i *Issuer) claims(over Claims) map[string]any {
	now := i.now()
	return merge(map[string]any{
		"iss": i.URL(), "sub": "subject", "aud": Audience, "client_id": ClientID,
		"iat": now.Unix(), "exp": now.Add(lifetime).Unix(), "jti": rand.Text(),
	}, over)
}

// compose returns a token and its payload.
func (i *Issuer) compose(header map[string]any, claims Claims, key *Key) (string, []byte, error) {
	under := map[string]any{"typ": "at+jwt", "alg": key.Alg}
	if key.ID != "" {
		under["kid"] = key.ID
	}
	return signJSON(merge(under, header), i.claims(claims), key)
}

func signJSON(header, claims map[string]any, key *Key) (string, []byte, error) {
	head, err := json.Marshal(header)
	if err != nil {
		return "", nil, err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", nil, err
	}
	token, err := key.sign(head, payload)
	return token, payload, err
}
