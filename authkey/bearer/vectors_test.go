package bearer_test

import (
	"errors"
	"testing"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
)

// The keys of RFC 7517, appendix A, of which the private halves are cut: that there is one is what counts.
const (
	ecRFC7517  = `"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","use":"enc","kid":"1"`
	rsaRFC7517 = `"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3` +
		`oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajr` +
		`n1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB",` +
		`"alg":"RS256","kid":"2011-04-29"`
	octRFC7517 = `{"kty":"oct","alg":"A128KW","k":"GawgguFyGrWKav7AX4VKUg"},{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75` +
		`aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow","kid":"HMAC key used in JWS spec Appendix A.1 example"}`
)

func TestKeySetsOfRFC7517(t *testing.T) {
	t.Parallel()
	// A.1: a key for encryption, and one for signatures by RS256.
	set, err := bearer.ParseKeySet([]byte(`{"keys":[{` + ecRFC7517 + `},{` + rsaRFC7517 + `}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if set.Len() != 1 || set.Skipped() != 1 {
		t.Errorf("%d keys and %d skipped, want 1 and 1", set.Len(), set.Skipped())
	}
	for header, has := range map[bearer.Header]bool{
		{KeyID: "2011-04-29", Algorithm: "RS256"}: true,
		{Algorithm: "RS256"}:                      true,
		{KeyID: "2011-04-29", Algorithm: "RS512"}: false,
		{KeyID: "2011-04-29", Algorithm: "PS256"}: false,
		{KeyID: "2011-04-29", Algorithm: "HS256"}: false,
		{KeyID: "2011-04-29", Algorithm: "none"}:  false,
		{KeyID: "1", Algorithm: "ES256"}:          false,
		{KeyID: "1", Algorithm: "RS256"}:          false,
		{Algorithm: "ES256"}:                      false,
	} {
		if set.Has(header) != has {
			t.Errorf("%+v: %v", header, !has)
		}
	}
	for name, keys := range map[string]string{
		"A.2, private keys": `{` + ecRFC7517 + `,"d":"870MB6"},{` + rsaRFC7517 + `,"d":"X4cTteJY","p":"83i-7IvM"}`,
		"A.3, secrets":      octRFC7517,
	} {
		if set, err := bearer.ParseKeySet([]byte(`{"keys":[` + keys + `]}`)); !errors.Is(err, authkey.ErrInvalid) {
			t.Errorf("%s: %v, %v", name, set, err)
		}
	}
	// A good key beside them is not lost.
	set, err = bearer.ParseKeySet([]byte(`{"keys":[` + octRFC7517 + `,{` + ecRFC7517 + `,"d":"870MB6"},{` + rsaRFC7517 + `}]}`))
	if err != nil || set.Len() != 1 || set.Skipped() != 3 || set.Has(bearer.Header{Algorithm: "HS256"}) {
		t.Errorf("all together: %v", err)
	}
}
