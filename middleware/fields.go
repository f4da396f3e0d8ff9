package middleware

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/tollgate-go/tollgate/ratelimit"
)

// Fields names generations of the response fields that tell an authenticated caller its limits. Several
// are joined with |; zero is none.
type Fields uint8

// The generations. FieldsDraft10 tells of all policies. The others have room for one: that which refused, or
// else the one with the fewest units remaining; of equals the one that takes longest to have more. Their
// Reset tells when it has more, which for a fixed window is its end; it is left out where that is never.
// They know nothing of a Concurrency policy, which has no window.
const (
	// FieldsDraft10 is RateLimit and RateLimit-Policy of draft-ietf-httpapi-ratelimit-headers-10, lists of
	// RFC 9651 with a member for each policy.
	FieldsDraft10 Fields = 1 << iota
	// FieldsDraft6 is RateLimit-Limit, -Remaining, -Reset (in seconds) and -Policy of draft-06.
	FieldsDraft6
	// FieldsX is X-RateLimit-Limit, -Remaining and -Reset, in seconds from now.
	FieldsX
	// FieldsXUnix is the same, but Reset is a Unix time, by the clock of Redis.
	FieldsXUnix
)

// WithFields chooses the generations of response fields. The default is FieldsDraft10; zero sends none.
// FieldsDraft6 does not go with FieldsDraft10, nor FieldsXUnix with FieldsX: they use one name for two
// things.
func WithFields(fields Fields) Option {
	return optionFunc(func(c *config) error {
		var faults []error
		if fields >= FieldsXUnix<<1 {
			faults = append(faults, fmt.Errorf("middleware: WithFields(%#x) has generations that are not known", uint8(fields)))
		}
		if fields&FieldsDraft10 != 0 && fields&FieldsDraft6 != 0 {
			faults = append(faults, errors.New("middleware: WithFields: FieldsDraft10 and FieldsDraft6 share RateLimit-Policy; choose one"))
		}
		if fields&FieldsX != 0 && fields&FieldsXUnix != 0 {
			faults = append(faults, errors.New("middleware: WithFields: FieldsX and FieldsXUnix share X-RateLimit-Reset; choose one"))
		}
		c.fields = fields
		return errors.Join(faults...)
	})
}

// minSecret is the least length of a secret, in bytes: half of what HMAC-SHA-256 can use (RFC 2104).
const minSecret = 16

// WithPartitionKeys adds the parameter pk to FieldsDraft10, so that a client can tell counts of one policy
// apart: 16 bytes that are the same wherever the same count is charged, and tell nothing of whose it is
// without the secret. The secret has at least 16 random bytes, the same at every replica; it is copied.
// A key is the HMAC-SHA-256 of the org, the kind and the value of the partition and, unless the policy is
// Shared, the endpoint. There are none by default; they cost about a microsecond for each policy.
func WithPartitionKeys(secret []byte) Option {
	return optionFunc(func(c *config) error {
		if len(secret) < minSecret {
			return fmt.Errorf("middleware: WithPartitionKeys: the secret has %d bytes, must have at least %d", len(secret), minSecret)
		}
		c.secret = append([]byte(nil), secret...)
		return nil
	})
}

// partitionKey returns the parameter for the count that a charge goes to.
func (c *config) partitionKey(request *ratelimit.Request, charge *ratelimit.Charge) string {
	value, endpoint := charge.Value, request.Endpoint
	switch charge.Policy.Partition {
	case ratelimit.ByProject:
		value = request.Project
	case ratelimit.ByKey:
		value = request.Key
	case ratelimit.ByOrg:
		value = request.Org
	}
	if charge.Policy.Shared {
		endpoint = ""
	}
	text := make([]byte, 0, 128)
	for _, part := range [...]string{"RateLimit pk", request.Org, string(charge.Policy.Partition), value, endpoint} {
		text = append(binary.AppendUvarint(text, uint64(len(part))), part...)
	}
	mac := hmac.New(sha256.New, c.secret)
	mac.Write(text)
	return ";pk=:" + base64.StdEncoding.EncodeToString(mac.Sum(nil)[:16]) + ":"
}

// mark is what is to be known of a result besides.
type mark struct {
	anonymous bool   // of LimitBy
	key       string // the parameter pk, if there is one
}

func (a *Admission) markOf(i int) mark {
	if i < len(a.marks) {
		return a.marks[i]
	}
	return mark{}
}

// enforced tells whether a policy can refuse. What cannot is nothing that a client has to heed, and one
// that heeded it would be limited after all: so no field and no refusal tells of it.
func enforced(r *ratelimit.Result) bool { return !r.Monitor && !r.Unlimited && r.Candidate == "" }

// announced tells whether the fields tell of a result. What LimitBy found is not the caller's alone.
func (a *Admission) announced(i int) bool { return !a.markOf(i).anonymous && enforced(&a.results[i]) }

// setFields writes the fields of all that was found so far. They are for authenticated callers only, and
// are left out where nothing was counted.
func (a *Admission) setFields(header http.Header, l *limit, config *config) {
	if header == nil || l.anonymous || a.identity == nil {
		return
	}
	if config.fields&FieldsDraft10 != 0 {
		a.setDraft10(header)
	}
	if config.fields&^FieldsDraft10 != 0 {
		a.setOne(header, config.fields)
	}
}

func (a *Admission) setDraft10(header http.Header) {
	limits := make([]byte, 0, 128)
	for i := range a.results {
		if a.announced(i) {
			limits = appendLimit(limits, &a.results[i], a.markOf(i).key)
		}
	}
	if len(limits) == 0 {
		return
	}
	values := &a.told
	if values[0] != "" { // which a header may have already, that somebody else is reading
		values = new([2]string)
	}
	values[0], values[1] = a.policies(), string(limits)
	header["Ratelimit-Policy"], header["Ratelimit"] = values[:1:1], values[1:]
}

func appendPolicy(b []byte, l *look) []byte {
	b = appendNumber(appendName(separate(b), l.policy), ";q=", l.limit)
	if l.unit != "" && l.unit != "requests" {
		b = appendName(append(b, ";qu="...), l.unit)
	}
	if l.window > 0 {
		b = appendNumber(b, ";w=", l.window)
	}
	return append(b, l.key...)
}

func appendLimit(b []byte, r *ratelimit.Result, key string) []byte {
	b = appendNumber(appendName(separate(b), r.Policy), ";r=", r.Remaining)
	if r.NextAfter > 0 && r.Algorithm != ratelimit.Concurrency { // nobody knows when a request will be done
		b = appendNumber(b, ";t=", seconds(r.NextAfter))
	}
	return append(b, key...)
}

// setOne writes the generations that have room for one policy.
func (a *Admission) setOne(header http.Header, fields Fields) {
	r := a.nearest()
	if r == nil {
		return
	}
	if fields&FieldsDraft6 != 0 {
		setThree(header, "Ratelimit-", r, reset(r))
		if policies := a.draft6Policies(); policies != "" {
			header["Ratelimit-Policy"] = []string{policies}
		}
	}
	if fields&FieldsX != 0 {
		setThree(header, "X-Ratelimit-", r, reset(r))
	}
	if fields&FieldsXUnix != 0 {
		setThree(header, "X-Ratelimit-", r, resetAt(r, a.at))
	}
}

func setThree(header http.Header, prefix string, r *ratelimit.Result, reset int64) {
	set := func(name string, number int64) { header[prefix+name] = []string{string(appendNumber(nil, "", number))} }
	set("Limit", r.Limit)
	set("Remaining", min(r.Remaining, r.Limit)) // a burst may be larger than the limit
	if reset >= 0 {
		set("Reset", reset)
	} else { // a stage around this one may have told of another policy
		delete(header, prefix+"Reset")
	}
}

// reset returns the seconds until a policy has more, negative for never.
func reset(r *ratelimit.Result) int64 {
	if r.NextAfter < 0 {
		return -1
	}
	return seconds(r.NextAfter)
}

// resetAt returns the same as a Unix time, from the time of the decision, if the limiter told that.
func resetAt(r *ratelimit.Result, decided time.Time) int64 {
	if r.NextAfter < 0 || decided.IsZero() {
		return -1
	}
	return decided.Add(min(r.NextAfter, longest) + time.Second - 1).Unix()
}

// draft6Policies returns the list of those policies that draft-06 can tell, which have a window of whole
// seconds.
func (a *Admission) draft6Policies() string {
	var b []byte
	for i := range a.results {
		r := &a.results[i]
		if w := wholeWindow(r); w > 0 && a.announced(i) {
			b = appendNumber(appendNumber(separate(b), "", r.Limit), ";w=", w)
		}
	}
	return string(b)
}

// nearest returns the policy that is nearest to exhaustion, as told at Fields; of equals the first.
func (a *Admission) nearest() *ratelimit.Result {
	var nearest *ratelimit.Result
	for i := range a.results {
		r := &a.results[i]
		if a.announced(i) && r.Algorithm != ratelimit.Concurrency && (nearest == nil || nearer(r, nearest)) {
			nearest = r
		}
	}
	return nearest
}

func nearer(r, than *ratelimit.Result) bool {
	switch {
	case r.Exceeded != than.Exceeded:
		return r.Exceeded
	case r.Remaining != than.Remaining:
		return r.Remaining < than.Remaining
	}
	return uint64(r.NextAfter) > uint64(than.NextAfter) // Never, which is negative, is the longest
}

// wholeWindow returns the window in seconds, or zero where the fields, which know whole seconds only,
// cannot tell it.
func wholeWindow(r *ratelimit.Result) int64 {
	if r.Algorithm == ratelimit.Concurrency || r.Window%time.Second != 0 {
		return 0
	}
	return int64(r.Window / time.Second)
}

// separate begins another member of a list.
func separate(b []byte) []byte {
	if len(b) > 0 {
		b = append(b, ", "...)
	}
	return b
}

// appendName appends a String of RFC 9651. ratelimit.Policy allows no name and no unit that needs escaping.
func appendName(b []byte, name string) []byte {
	return append(append(append(b, '"'), name...), '"')
}

// appendNumber appends what comes before a number and the number: an Integer of RFC 9651, of at most 15
// digits, and not negative.
func appendNumber(b []byte, before string, number int64) []byte {
	return strconv.AppendInt(append(b, before...), min(max(number, 0), ratelimit.MaxLimit), 10)
}
