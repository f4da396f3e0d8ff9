// Package audit says who changed what. Each org has a trail of entries in Redis, and so have the plans; the script
// that makes a change appends its entry, so that there is no change without one.
//
//	ctx = audit.NewContext(ctx, audit.Actor{Name: "ops:mia", RequestID: id, Address: "203.0.113.7"})
//	issuer.SetState(ctx, "acme", key, 0, authkey.StateRevoked, "leaked") // the entry names the actor
//
// Entries are chained: each carries a link, which is a hash of the link before it, of its own number and of what it
// says. Whoever changes, removes or moves an entry breaks the chain from there on, unless he links all that follows
// anew. Then a seal, which speaks for its entry alone, still gives away one that was changed or made up; one that was
// removed, moved or repeated shows against the head of the trail only, if somebody kept it elsewhere. To read and verify a
// trail, use package middleware/admin/auditlog.
//
// It is a leaf package, so that package authkey does not link a Redis client.
package audit

import (
	"context"
	"crypto/sha1" //nolint:gosec // see Link
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/tollgate-go/tollgate/lua/seal"
)

// Actor is who changes something. It travels in the context of the call that does.
type Actor struct {
	Name      string // no secret; "" if nobody said
	RequestID string // of the request by which it was done
	Address   string // where that came from
}

type actorKey struct{}

// NewContext returns a context whose changes are the actor's.
func NewContext(ctx context.Context, actor Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, actor)
}

// ActorOf returns whose the changes of a context are, the zero Actor where nobody said.
func ActorOf(ctx context.Context) Actor {
	actor, _ := ctx.Value(actorKey{}).(Actor)
	return actor
}

// Entry is one change.
type Entry struct {
	At        time.Time `json:"at"` // by the clock of the process that made the change
	Actor     string    `json:"actor,omitempty"`
	Address   string    `json:"address,omitempty"`
	RequestID string    `json:"request_id,omitempty"`
	// Action is what was done, such as "key.rotate".
	Action string `json:"action"`
	// Org, Project and ID are what it was done to.
	Org     string `json:"org,omitempty"`
	Project string `json:"project,omitempty"`
	ID      string `json:"id,omitempty"`
	// After is what it is now, without secrets and digests; nothing where it is no more.
	After json.RawMessage `json:"after,omitempty"`
}

// Line is an entry as a script appends it. The zero Line is none.
type Line struct {
	Text string // the Entry as JSON
	Sum  string // SHA-256 of Text in hexadecimal
	Seal string // of the org and Text; "" without a sealer
}

// maxAfter bounds what an entry holds of the thing that was changed; of what is larger it holds the SHA-256.
const maxAfter = 4 << 10

// NewLine completes an entry with the time and with the actor of the context, and seals it.
func NewLine(ctx context.Context, sealer *seal.Sealer, e Entry) (Line, error) {
	actor := ActorOf(ctx)
	e.At = time.Now().UTC().Truncate(time.Microsecond)
	e.Actor, e.Address, e.RequestID = actor.Name, actor.Address, actor.RequestID
	if len(e.After) > maxAfter {
		e.After = json.RawMessage(`{"sha256":"` + sum(string(e.After)) + `"}`)
	}
	text, err := json.Marshal(e)
	if err != nil {
		return Line{}, fmt.Errorf("audit: entry %s: %w", e.Action, err)
	}
	return Line{Text: string(text), Sum: sum(string(text)), Seal: sealer.Seal(domain, e.Org, string(text))}, nil
}

// domain is what seals of entries are told from others by.
const domain = "audit"

// Verify reports whether Sum and, with a sealer, Seal are those of Text, in the trail of an org.
func (l Line) Verify(sealer *seal.Sealer, org string) error {
	if l.Sum != sum(l.Text) {
		return fmt.Errorf("audit: the sum is not that of the entry")
	}
	return sealer.Verify(l.Seal, domain, org, l.Text)
}

// Link is the link of the entry with a number, counted from 1, whose Line has a Sum; the first follows "". The
// script computes the same. It is SHA-1, which is what scripts have; what is known against SHA-1 needs blocks of an
// attacker's choice, and here he has a number and the hexadecimal digits of a SHA-256.
func Link(previous string, seq int64, sum string) string {
	hash := sha1.Sum([]byte(previous + ":" + strconv.FormatInt(seq, 10) + ":" + sum)) //nolint:gosec // as above
	return hex.EncodeToString(hash[:])
}

func sum(text string) string {
	hash := sha256.Sum256([]byte(text))
	return hex.EncodeToString(hash[:])
}
