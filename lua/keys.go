package lua

import (
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"

	"github.com/tollgate-go/tollgate/lua/bucket"
)

// Every key that Tollgate keeps in Redis is built in this file: a version, the bucket as the one hash
// tag, then escaped parts. Escaping leaves ':' to the separators alone, so different inputs never meet
// on one key, whatever bytes they hold.
//
// tg1:{b}:key:<id> and tg1:{b}:credential:<id> cannot meet an org named "key" or "credential": an id begins with two
// digits, and what follows an org begins with a letter.

// EpochKey names the hash with the two stamps of an org, `keys` and `limits`.
func EpochKey(org string) string { return orgKey(org, "epoch") }

// OverridesKey names the hash of an org's overrides, by their id.
func OverridesKey(org string) string { return orgKey(org, "overrides") }

// KeyIndexKey names the sorted set that lists the keys of an org, by project and id.
func KeyIndexKey(org string) string { return orgKey(org, "keys") }

// ProjectsKey names the hash of what the projects of an org are set to, by their name.
func ProjectsKey(org string) string { return orgKey(org, "projects") }

// ProjectIndexKey names the sorted set that lists the projects of an org.
func ProjectIndexKey(org string) string { return orgKey(org, "projects", "index") }

// RevokedKey names the hash of what is revoked of an org's tokens, by Name.Field.
func RevokedKey(org string) string { return orgKey(org, "revoked") }

// RevokedUntilKey names the sorted set that lists the fields of RevokedKey by when they end.
func RevokedUntilKey(org string) string { return orgKey(org, "revoked", "until") }

// AuditKey names the stream of changes of an org; with "", that of the plans.
func AuditKey(org string) string {
	if org == "" {
		return join("00", "", "audit")
	}
	return orgKey(org, "audit")
}

// UsageKey names the hash of an org's usage in the hour that begins at the Unix time hour.
func UsageKey(org, hour string) string { return orgKey(org, "usage", hour) }

// UsageMarkKey names the mark of the last usage batch that a process applied to an org.
func UsageMarkKey(org, process string) string { return orgKey(org, "usage", "mark", process) }

// UsageDueKey names the sorted set that lists the hours of a bucket's orgs that are to be exported, by when.
func UsageDueKey(bucket string) string { return join(bucket, "", "usage", "due") }

// UsageKeepKey names the string that tells for how long hours of a bucket's orgs are kept at most, in ms.
func UsageKeepKey(bucket string) string { return join(bucket, "", "usage", "keep") }

// UsageExportKey names the hash of what is exported of an org's usage in the hour that begins at the Unix time hour.
func UsageExportKey(org, hour string) string { return orgKey(org, "usage", "export", hour) }

// IdempotencyKey names what is remembered of a request of an org, by a word that stands for its actor, its route and
// its idempotency key.
func IdempotencyKey(org, request string) string { return orgKey(org, "idempotency", request) }

// PlansKey names the hash of all plans, by their name, as a bucket has it: each has a copy, since what a
// script reads lies in one slot.
func PlansKey(bucket string) string { return join(bucket, "", "plans") }

// PlansEpochKey names the hash with the stamps of a bucket's plans; `limits` is when one of them last changed.
func PlansEpochKey(bucket string) string { return join(bucket, "", "plans", "epoch") }

// ReplicasKey names the sorted set of the processes that share limits under the name of a group, by when each was last
// seen.
func ReplicasKey(group string) string { return join(bucket.Of(group), "", "replicas", group) }

// LimitKey names the state of one policy: of the org's partition, at an endpoint. The partition is a
// kind ("project", "key", "org", or a caller's own) and the value that it takes. Algorithms have states
// of their own, so that replicas of which one has another by now do not undo each other's counts.
func LimitKey(org, kind, value, endpoint, policy string, algorithm Algorithm) string {
	return orgKey(org, "limit", kind, value, endpoint, policy, string(algorithm))
}

// AnonymousLimitKey names the state of one policy of a partition that belongs to no org. Its bucket
// comes from the partition's own value.
func AnonymousLimitKey(kind, value, endpoint, policy string, algorithm Algorithm) string {
	return join(bucket.Of(value), "", "limit", kind, value, endpoint, policy, string(algorithm))
}

// HoldsKey names what is held of a policy, whose state has a key of LimitKey or AnonymousLimitKey.
func HoldsKey(limitKey string) string { return limitKey + ":holds" }

// CountKey names the count of a policy's frame, whose state has a key of LimitKey or AnonymousLimitKey.
func CountKey(limitKey string) string { return limitKey + ":n" }

// CredentialKey names the string that tells whose a credential is. The bucket is read from the first two
// characters of the id; an id that does not begin with a bucket's name has no key, and ok is false.
func CredentialKey(id string) (key string, ok bool) { return idKey("credential", id) }

// RecordKey names the hash of a key of the API, which has an id as its credentials have; ok as of CredentialKey.
func RecordKey(id string) (key string, ok bool) { return idKey("key", id) }

func idKey(what, id string) (key string, ok bool) {
	if len(id) <= bucket.Len || !bucket.Valid(id[:bucket.Len]) {
		return "", false
	}
	return join(id[:bucket.Len], what, id), true
}

// DigestKey names the string that holds the id that the digest of a foreign key stands for. It has no
// hash tag: the org is not known yet when it is read.
func DigestKey(digest string) string { return version + ":digest:" + Escape(digest) }

// ProofKey names the mark that a proof of possession was used: by the thumbprint of the key that made it, and the id
// that this key gave it. It has no hash tag, as DigestKey has none, and one length whatever the two hold.
func ProofKey(thumbprint, id string) string {
	sum := sha256.Sum256([]byte(Escape(thumbprint) + ":" + Escape(id)))
	return version + ":proof:" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// BucketOf returns the number of the bucket that a key of LimitKey or AnonymousLimitKey lies in.
func BucketOf(limitKey string) int {
	tag := limitKey[len(version)+2:][:bucket.Len] // behind ":{"
	return int(tag[0]-'0')*10 + int(tag[1]-'0')
}

// Escape returns s with every byte that could end a part, open a hash tag or disturb a reader written
// as % and two hexadecimal digits. Different strings give different results. It does not allocate when
// there is nothing to escape.
func Escape(s string) string {
	clean := 0
	for clean < len(s) && plain(s[clean]) {
		clean++
	}
	if clean == len(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 8)
	appendEscaped(&b, s)
	return b.String()
}

// Unescape is the inverse of Escape; ok is false where s was not made by it.
func Unescape(s string) (_ string, ok bool) {
	if !strings.Contains(s, "%") {
		return s, true
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			out = append(out, s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		high, low := strings.IndexByte(hex, s[i+1]), strings.IndexByte(hex, s[i+2])
		if high < 0 || low < 0 {
			return "", false
		}
		out = append(out, byte(high<<4|low))
		i += 2
	}
	return string(out), true
}

const (
	version = "tg1"
	hex     = "0123456789ABCDEF"
)

// Field names what of an org is revoked under a name: the field of RevokedKey.
func (n Name) Field() string {
	var b strings.Builder
	b.Grow(len(n.Kind) + len(n.Issuer) + len(n.Value) + 10)
	appendEscaped(&b, string(n.Kind))
	b.WriteByte(':')
	appendEscaped(&b, n.Issuer)
	b.WriteByte(':')
	appendEscaped(&b, n.Value)
	return b.String()
}

// nameOf is the inverse of Name.Field; ok is false for what that does not make.
func nameOf(field string) (n Name, ok bool) {
	parts := strings.Split(field, ":")
	if len(parts) != 3 {
		return Name{}, false
	}
	n.Kind = NameKind(parts[0])
	n.Issuer, _ = Unescape(parts[1])
	n.Value, _ = Unescape(parts[2])
	return n, slices.Contains(nameKinds[:], n.Kind) && n.Field() == field
}

func orgKey(org string, parts ...string) string {
	return join(bucket.Of(org), org, parts...)
}

func join(tag, first string, rest ...string) string {
	var b strings.Builder
	n := len(version) + len(tag) + len(first) + 5
	for _, part := range rest {
		n += len(part) + 1
	}
	b.Grow(n + n/8)
	b.WriteString(version)
	b.WriteString(":{")
	b.WriteString(tag)
	b.WriteString("}:")
	appendEscaped(&b, first)
	for _, part := range rest {
		b.WriteByte(':')
		appendEscaped(&b, part)
	}
	return b.String()
}

func appendEscaped(b *strings.Builder, s string) {
	for i := range len(s) {
		if c := s[i]; plain(c) {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
}

// plain reports whether a byte stands for itself in a key: visible ASCII that neither separates,
// escapes nor tags.
func plain(c byte) bool {
	return c > ' ' && c < 0x7f && c != ':' && c != '%' && c != '{' && c != '}'
}
