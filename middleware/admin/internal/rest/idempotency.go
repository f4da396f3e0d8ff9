package rest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tollgate-go/tollgate/lua"
)

// What is remembered of requests with an Idempotency-Key.
const (
	MaxIdempotencyKey = 128              // bytes
	claimTime         = 30 * time.Second // more than any action takes: a crash locks the key for no longer
	keepTime          = 24 * time.Hour   // a repeat is known
	claimTimeout      = 2 * time.Second  // of one call
)

// once runs the operation; under its Idempotency-Key, if it has one that is heeded.
func (c *Call) once() (Reply, error) {
	values := c.Request.Header.Values("Idempotency-Key")
	if !c.operation.Repeatable || len(values) == 0 {
		return c.operation.Do(c)
	}
	if len(values) != 1 || len(values[0]) < 1 || len(values[0]) > MaxIdempotencyKey ||
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
func (c *Call) claimed(request, body string) (Reply, error) {
	owner := rand.Text()
	if known, err := c.claim(request, body, owner); known != nil || err != nil {
		return Reply{Body: known}, err
	}
	reply, err := c.operation.Do(c)
	if err != nil && Explain(err).Status >= http.StatusInternalServerError {
		return Reply{}, err
	}
	// What came of it is noted even if the client went away meanwhile.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), claimTimeout)
	defer cancel()
	if err != nil {
		c.note(c.server.Claims.ReleaseClaim(ctx, c.Org, request, owner))
		return Reply{}, err
	}
	key := reply.Key
	if c.operation.Replayed {
		key = string(marshal(reply.Body))
	}
	c.note(c.server.Claims.FinishClaim(ctx, c.Org, request, body, owner, key, reply.Credential, keepTime))
	return reply, nil
}

// claim returns neither if the request is this call's to answer, and the answer of the first where that is replayed.
func (c *Call) claim(request, body, owner string) (known json.RawMessage, err error) {
	ctx, cancel := context.WithTimeout(c.Context(), claimTimeout)
	defer cancel()
	claimed, err := c.server.Claims.Claim(ctx, c.Org, request, body, owner, claimTime)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	switch claimed.State {
	case lua.ClaimMismatch:
		return nil, NewProblem(http.StatusUnprocessableEntity, CodeMismatch, "This Idempotency-Key was there before, with another request.")
	case lua.ClaimUnderWay:
		c.Header().Set("Retry-After", strconv.FormatInt(int64(claimed.Wait/time.Second)+1, 10))
		return nil, NewProblem(http.StatusConflict, CodeUnderWay, "A request with this Idempotency-Key is under way, or ended without an answer just now.")
	case lua.ClaimFinished:
		if c.operation.Replayed {
			return replay(claimed.Key)
		}
		p := NewProblem(http.StatusConflict, CodeIssued, "This request was answered before, with a secret, which is shown once. If it is lost, rotate the key.")
		p.Key, p.Credential = claimed.Key, claimed.Credential
		return nil, p
	}
	return nil, nil
}

func replay(answer string) (json.RawMessage, error) {
	if !json.Valid([]byte(answer)) {
		return nil, fmt.Errorf("%w: what is remembered of an answer is no JSON", ErrUnavailable)
	}
	return json.RawMessage(answer), nil
}

// note logs that the end of a claim could not be written. The answer stands: the client has it.
func (c *Call) note(err error) {
	if err != nil {
		c.server.Log.ErrorContext(c.Context(), "admin: the end of an Idempotency-Key was not written",
			slog.String("request_id", c.RequestID), slog.String("org", c.Org), slog.Any("cause", err))
	}
}
