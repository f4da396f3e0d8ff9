package rest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"strings"
)

// Claims counts requests by their Idempotency-Key, for all replicas. Implementations are safe for concurrent use.
type Claims interface {
	// Claim takes a key of an org for a request with this body, until Finish or Release; for a short time only, so
	// that a crash locks nothing for long.
	Claim(ctx context.Context, org, key, body string) (Claim, error)
	// Finish keeps what came of a claimed request for as long as a repeat is to be known.
	Finish(ctx context.Context, org, key, body string, claim Claim) error
	// Release gives the key back: nothing was done.
	Release(ctx context.Context, org, key string, claim Claim) error
}

// Claim is what is known of an Idempotency-Key.
type Claim struct {
	State           ClaimState
	Owner           string // who claimed it, for Finish and Release
	Key, Credential string // what came of the request, if it was finished
}

// ClaimState says what a request may do with its Idempotency-Key.
type ClaimState int

// The states of a claim.
const (
	ClaimTaken    ClaimState = iota + 1 // by this request: go on
	ClaimUnderWay                       // by another, which is not finished
	ClaimFinished                       // by another, which succeeded
	ClaimMismatch                       // by another with another body
)

const maxIdempotencyKey = 128

// once runs the operation; under its Idempotency-Key, if it has one that is heeded.
func (c *Call) once() (Reply, error) {
	values := c.Request.Header.Values("Idempotency-Key")
	if !c.operation.Repeatable || len(values) == 0 {
		return c.operation.Do(c)
	}
	if len(values) != 1 || len(values[0]) < 1 || len(values[0]) > maxIdempotencyKey ||
		strings.ContainsFunc(values[0], func(r rune) bool { return r <= ' ' || r > '~' }) {
		return Reply{}, NewProblem(http.StatusBadRequest, CodeIdempotency, "Idempotency-Key must be there once, of 1 to 128 visible ASCII characters.")
	}
	if c.server.Claims == nil {
		return Reply{}, NewProblem(http.StatusBadRequest, CodeIdempotency, "Repeats are not counted here, so no Idempotency-Key can be honoured. Leave it out.")
	}
	body, err := c.readBody()
	if err != nil {
		return Reply{}, err
	}
	// What is told apart by lengths is told apart whatever bytes it holds.
	key := digestOf(c.Actor.Name, c.Request.Method, c.Request.URL.Path, values[0])
	return c.claimed(key, digestOf(c.Request.URL.RawQuery, string(body)))
}

func digestOf(parts ...string) string {
	all := sha256.New()
	for _, part := range parts {
		sum := sha256.Sum256([]byte(part))
		all.Write(sum[:])
	}
	return hex.EncodeToString(all.Sum(nil))
}

// claimed runs the operation if nobody else did. A failure that may have changed something leaves the claim to
// its end, so that a hasty repeat does not do it twice.
func (c *Call) claimed(key, body string) (Reply, error) {
	claims := c.server.Claims
	claim, err := claims.Claim(c.Context(), c.Org, key, body)
	if err != nil {
		return Reply{}, err
	}
	switch claim.State {
	case ClaimMismatch:
		return Reply{}, NewProblem(http.StatusUnprocessableEntity, CodeMismatch, "This Idempotency-Key was there before, with another body.")
	case ClaimUnderWay:
		c.Header().Set("Retry-After", retryAfter)
		return Reply{}, NewProblem(http.StatusConflict, CodeUnderWay, "A request with this Idempotency-Key is under way, or ended without an answer just now.")
	case ClaimFinished:
		p := NewProblem(http.StatusConflict, CodeIssued, "This request was answered before. A secret is shown once; rotate the key if it is lost.")
		p.Key, p.Credential = claim.Key, claim.Credential
		return Reply{}, p
	case ClaimTaken:
	default:
		return Reply{}, errClaim
	}
	reply, err := c.operation.Do(c)
	// What comes of it has to be noted even if the client went away meanwhile.
	ctx := context.WithoutCancel(c.Context())
	if err == nil {
		claim.Key, claim.Credential = reply.Key, reply.Credential
		c.note(claims.Finish(ctx, c.Org, key, body, claim))
		return reply, nil
	}
	if Explain(err).Status < http.StatusInternalServerError {
		c.note(claims.Release(ctx, c.Org, key, claim))
	}
	return Reply{}, err
}

var errClaim = errors.New("admin: the claim of an Idempotency-Key has no state")

// note logs that the end of a claim could not be written. The answer stands: the client has it.
func (c *Call) note(err error) {
	if err != nil {
		c.server.Log.ErrorContext(c.Context(), "admin: the end of an Idempotency-Key was not written",
			slog.String("request_id", c.RequestID), slog.String("org", c.Org), slog.Any("cause", err))
	}
}
