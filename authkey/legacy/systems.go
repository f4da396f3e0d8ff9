package legacy

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"hash/crc32"
	"strings"
)

// SHA256 returns the scheme "sha256": any key that begins with prefix ("" for all, which lets all junk through to the
// table), kept as its plain SHA-256. encode is how the table writes that: hex.EncodeToString, or
// base64.StdEncoding.EncodeToString. The reference of the Lookup is the hash so written.
func SHA256(prefix string, encode func([]byte) string, lookup Lookup) *Scheme {
	s := &Scheme{
		name:   "sha256",
		shape:  func(key string) bool { return len(key) > len(prefix) && strings.HasPrefix(key, prefix) },
		lookup: lookup,
	}
	hash := func(key string) string { sum := sha256.Sum256([]byte(key)); return encode(sum[:]) }
	s.reference = hash
	if encode != nil {
		s.compare = by(hash)
	}
	return s
}

// Sanctum returns the scheme "sanctum": tokens of Laravel Sanctum as <id>|<secret>, whose table keeps the SHA-256 of the
// secret in hex. A secret is 40 random letters and digits (80 in the first versions), since version 3.3 behind an
// optional prefix of the service and before their CRC-32 in hex; a wrong CRC is no token. The reference of the Lookup is
// the id, which it has to compare as text, byte for byte: a database that takes 17abc for 17 gives one token many forms,
// of which the first that is shown is moved, and the others are shut out. So a number that begins with 0 is no id. Tokens
// without an id are a case for SHA256.
func Sanctum(lookup Lookup) *Scheme {
	return &Scheme{
		name: "sanctum",
		shape: func(key string) bool {
			id, secret, ok := strings.Cut(key, "|")
			if !ok || id == "" || len(id) > 36 || id[0] == '0' && all(id, isDigit) {
				return false
			}
			return all(id, isIDChar) && sanctumSecret(secret)
		},
		reference: func(key string) string { id, _, _ := strings.Cut(key, "|"); return id },
		compare: by(func(key string) string {
			_, secret, _ := strings.Cut(key, "|")
			sum := sha256.Sum256([]byte(secret))
			return hex.EncodeToString(sum[:])
		}),
		lookup: lookup,
	}
}

func sanctumSecret(s string) bool {
	const random, older, crcLen = 40, 80, 8
	if (len(s) == random || len(s) == older) && all(s, isAlphanumeric) {
		return true
	}
	if len(s) < random+crcLen {
		return false
	}
	body, crc := s[:len(s)-crcLen], s[len(s)-crcLen:]
	entropy := body[len(body)-random:]
	sum := crc32.ChecksumIEEE([]byte(entropy))
	return all(entropy, isAlphanumeric) && crc == hex.EncodeToString([]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
}

// DRFAPIKey returns the scheme "drf": keys of djangorestframework-api-key as <prefix>.<secret>, 8 and 32 letters and
// digits, whose table keeps sha512$$ and the SHA-512 of the whole key in hex, as version 3 writes it. The reference of
// the Lookup is the prefix. A row that was not used since version 2 still has a slow hash, which is an outage here: have
// a Custom scheme behind this one, or let Django upgrade it.
func DRFAPIKey(lookup Lookup) *Scheme {
	const prefixLen, secretLen = 8, 32
	return &Scheme{
		name: "drf",
		shape: func(key string) bool {
			return len(key) == prefixLen+1+secretLen && key[prefixLen] == '.' &&
				all(key[:prefixLen], isAlphanumeric) && all(key[prefixLen+1:], isAlphanumeric)
		},
		reference: func(key string) string { return key[:prefixLen] },
		compare: by(func(key string) string {
			sum := sha512.Sum512([]byte(key))
			return "sha512$$" + hex.EncodeToString(sum[:])
		}),
		lookup: lookup,
	}
}

// Unkey returns the scheme "unkey": keys of Unkey as <prefix>_<base58> or only the base58 of 16 bytes or more, kept as
// the SHA-256 of the whole key in base64. The reference of the Lookup is the hash so written.
func Unkey(lookup Lookup) *Scheme {
	const shortest = 16 // characters that 16 bytes have at least
	hash := func(key string) string {
		sum := sha256.Sum256([]byte(key))
		return base64.StdEncoding.EncodeToString(sum[:])
	}
	return &Scheme{
		name: "unkey",
		shape: func(key string) bool {
			random := key[strings.LastIndexByte(key, '_')+1:]
			return len(random) >= shortest && all(random, isBase58)
		},
		reference: hash,
		compare:   by(hash),
		lookup:    lookup,
	}
}

func all(s string, is func(byte) bool) bool {
	for i := range len(s) {
		if !is(s[i]) {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isAlphanumeric(c byte) bool {
	return isDigit(c) || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

func isIDChar(c byte) bool { return isAlphanumeric(c) || c == '-' }

func isBase58(c byte) bool {
	return isAlphanumeric(c) && c != '0' && c != 'O' && c != 'I' && c != 'l'
}
