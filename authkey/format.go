package authkey

import (
	"crypto/rand"
	"fmt"
	"hash/crc32"
	"regexp"
	"strings"

	"github.com/tollgate-go/tollgate/lua/bucket"
)

// A key reads <brand>_<env>_<id>_<secret><checksum>. All but brand and env have fixed lengths, so a key
// is read from the right, and the underscore is the only sign that is not a letter or a digit: a double
// click selects the whole key.
const (
	maxKeyLen    = 256 // for keys of any format; longer ones are refused before any work
	idRandomLen  = 12  // 71 bits
	idLen        = bucket.Len + idRandomLen
	secretLen    = 32 // 190 bits
	checksumLen  = 6  // 62^6 > 2^32
	tailLen      = len("_") + idLen + len("_") + secretLen + checksumLen
	minBrandLen  = 2
	maxBrandLen  = 12
	minEnvLen    = 2
	maxEnvLen    = 8
	minNativeLen = minBrandLen + len("_") + minEnvLen + tailLen
	maxNativeLen = maxBrandLen + len("_") + maxEnvLen + tailLen
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

const tailPattern = `_(?:[0-5][0-9]|6[0-3])[0-9A-Za-z]{12}_[0-9A-Za-z]{38}\b`

// AnyPattern is a regular expression (RE2) that finds keys of any brand and env in text. A scanner that
// has found one should have Parse confirm its checksum. Format.Pattern is the narrower one.
const AnyPattern = `\b[a-z][a-z0-9]{1,11}_[a-z]{2,8}` + tailPattern

// Format is the form of the keys of one service in one environment. Make it with NewFormat; the zero
// Format accepts nothing, and constructors refuse it. Immutable, safe for concurrent use.
type Format struct{ brand, env string }

// NewFormat returns the format of a brand ([a-z][a-z0-9]{1,11}, the name of the service) and an env
// ([a-z]{2,8}, such as live or test). ErrInvalid otherwise; an underscore is never allowed.
func NewFormat(brand, env string) (Format, error) {
	if !validBrand(brand) {
		return Format{}, fmt.Errorf("%w: brand %.20q: want a lower-case letter, then 1 to 11 lower-case letters or digits", ErrInvalid, brand)
	}
	if !validEnv(env) {
		return Format{}, fmt.Errorf("%w: env %.20q: want 2 to 8 lower-case letters", ErrInvalid, env)
	}
	return Format{brand: brand, env: env}, nil
}

// Mint makes a new random key for an org, and its public id. The key holds 190 random bits from
// crypto/rand. It panics on a zero Format, which could only make keys that nobody accepts.
func (f Format) Mint(org string) (presented Presented, id string) {
	if f == (Format{}) {
		panic("authkey: Mint of a zero Format: make one with NewFormat")
	}
	id = newID(org)
	body := f.prefix() + "_" + id + "_" + randomBase62(secretLen)
	sum := checksum(body)
	return NewPresented(body + string(sum[:])), id
}

// Accepts reports whether a key that was parsed is of this brand and env.
func (f Format) Accepts(p Parsed) bool {
	return f != Format{} && p.Brand == f.brand && p.Env == f.env
}

// Pattern returns a regular expression (RE2) for secret scanners that finds this format's keys in text.
func (f Format) Pattern() string {
	return `\b` + regexp.QuoteMeta(f.prefix()) + tailPattern
}

// String returns <brand>_<env>.
func (f Format) String() string { return f.prefix() }

func (f Format) prefix() string { return f.brand + "_" + f.env }

// Parsed is what the public part of a key says. It holds no part of the secret.
type Parsed struct {
	Brand string
	Env   string
	ID    string // the credential's public id
}

// String returns the form to display: <brand>_<env>_<id>_****, with no character of the secret.
func (p Parsed) String() string { return p.Brand + "_" + p.Env + "_" + p.ID + "_****" }

// Parse reads a key of the form that Format.Mint gives, of any brand and env. It checks length, alphabet,
// shape, bucket and checksum, and returns ErrMalformed, with nothing of its input, for anything else. The
// checksum finds slips and junk without I/O; it proves nothing. No allocation.
func Parse(key string) (Parsed, error) {
	if !shaped(key) {
		return Parsed{}, ErrMalformed
	}
	head, tail := key[:len(key)-tailLen], key[len(key)-tailLen:]
	id, secret := tail[1:1+idLen], tail[2+idLen:]
	brand, env, _ := strings.Cut(head, "_")
	if !validBrand(brand) || !validEnv(env) || !validID(id) || !onlyBase62(secret) {
		return Parsed{}, ErrMalformed
	}
	if body := len(key) - checksumLen; checksum(key[:body]) != [checksumLen]byte([]byte(key[body:])) {
		return Parsed{}, ErrMalformed
	}
	return Parsed{Brand: brand, Env: env, ID: id}, nil
}

// shaped reports whether a text has the length of a key, and the underscores that are at the same place in all of them.
func shaped(key string) bool {
	if len(key) < minNativeLen || len(key) > maxNativeLen {
		return false
	}
	tail := key[len(key)-tailLen:]
	return tail[0] == '_' && tail[1+idLen] == '_'
}

// newID returns a public id in the org's bucket.
func newID(org string) string { return bucket.Of(org) + randomBase62(idRandomLen) }

// checksum is the CRC-32 (IEEE) of body in base62. A loop of its own, since hash/crc32 would make a
// string escape.
func checksum(body string) (digits [checksumLen]byte) {
	crc := ^uint32(0)
	for i := range len(body) {
		crc = crc32.IEEETable[byte(crc)^body[i]] ^ crc>>8
	}
	crc = ^crc
	for i := range digits {
		digits[checksumLen-1-i] = base62[crc%62]
		crc /= 62
	}
	return digits
}

// fairBytes is the largest multiple of 62 that fits a byte. A byte from there on is thrown away, so that every digit is
// equally likely.
const fairBytes = 256 / 62 * 62

// randomBase62 draws n digits.
func randomBase62(n int) string {
	digits := make([]byte, 0, n)
	var pool [64]byte
	for {
		_, _ = rand.Read(pool[:]) // never fails: the runtime stops the process instead
		for _, b := range pool {
			if b >= fairBytes {
				continue
			}
			digits = append(digits, base62[b%62])
			if len(digits) == n {
				return string(digits)
			}
		}
	}
}

func validBrand(s string) bool {
	if len(s) < minBrandLen || len(s) > maxBrandLen || !isLower(s[0]) {
		return false
	}
	for i := range len(s) {
		if !isLower(s[i]) && !isDigit(s[i]) {
			return false
		}
	}
	return true
}

func validEnv(s string) bool {
	if len(s) < minEnvLen || len(s) > maxEnvLen {
		return false
	}
	for i := range len(s) {
		if !isLower(s[i]) {
			return false
		}
	}
	return true
}

func validID(s string) bool {
	return len(s) == idLen && bucket.Valid(s[:bucket.Len]) && onlyBase62(s[bucket.Len:])
}

func onlyBase62(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isLower(c) && !isDigit(c) && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}

func isLower(c byte) bool { return c >= 'a' && c <= 'z' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }
