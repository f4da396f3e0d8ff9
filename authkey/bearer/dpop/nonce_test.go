package dpop_test

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer/dpop"
)

var secret = []byte(strings.Repeat("secret..", 4))

// asked returns the nonce that a proof is refused with.
func asked(t *testing.T, w *world, nonce string) string {
	t.Helper()
	got, err := w.check(w.key.Proof("GET", origin+path, token, nonce))
	refused(t, "nonce "+nonce, got, err, "use_dpop_nonce", "nonce")
	own, ok := errors.AsType[*authkey.ProofError](err)
	if !ok || !regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`).MatchString(own.Nonce) {
		t.Fatalf("the error %#v has no nonce", err)
	}
	return own.Nonce
}

func passes(t *testing.T, w *world, nonce string) {
	t.Helper()
	if _, err := w.check(w.key.Proof("GET", origin+path, token, nonce)); err != nil {
		t.Errorf("nonce %s at %v: %v", nonce, w.clock.Now(), err)
	}
}

func TestNonces(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nobody(t), dpop.WithNonces(secret, time.Minute))
	w.clock.Set(time.Date(2030, 1, 1, 0, 0, 59, 0, time.UTC)) // the last second of a step
	first := asked(t, w, "")
	passes(t, w, first)
	if again := asked(t, w, "guess"); again != first {
		t.Errorf("two nonces of one step: %s, %s", first, again)
	}
	w.clock.Advance(time.Minute)
	passes(t, w, first)
	second := asked(t, w, "")
	if second == first {
		t.Error("the next step has the same nonce")
	}
	passes(t, w, second)
	w.clock.Advance(time.Second)
	passes(t, w, second)
	asked(t, w, first)
	asked(t, w, first+"A")
	asked(t, w, first[:42])
	w.clock.Advance(-2 * time.Minute)
	asked(t, w, second) // of a step to come

	// Replicas that share the secret share the nonces, and nobody else has them.
	w.clock.Advance(time.Minute)
	replica := newWorld(t, nobody(t), dpop.WithNonces(append([]byte(nil), secret...), time.Minute))
	replica.clock.Set(w.clock.Now())
	passes(t, replica, asked(t, w, ""))
	for _, opt := range []dpop.Option{dpop.WithNonces([]byte(strings.Repeat("other...", 4)), time.Minute), dpop.WithNonces(secret, 2*time.Minute)} {
		other := newWorld(t, nobody(t), opt)
		other.clock.Set(w.clock.Now())
		asked(t, w, asked(t, other, ""))
	}
}

// A proof that is bad otherwise is not asked for a nonce: a client would try again with it for nothing.
func TestNonceIsLookedAtLast(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nobody(t), dpop.WithNonces(secret, time.Minute))
	for what, change := range map[string]func(header, claims map[string]any){
		"htm": set("claims", "htm", "POST"), "iat": set("claims", "iat", 1), "jti": set("claims", "jti", ""), "ath": set("claims", "ath", "x"),
	} {
		got, err := w.check(w.proof(change))
		refused(t, what, got, err, "invalid_dpop_proof", what)
	}
	proof := w.proof()
	got, err := w.check(proof[:len(proof)-4] + "AAAA")
	refused(t, "signature", got, err, "invalid_dpop_proof", "signature")
	got, err = w.check(w.proof(set("claims", "nonce", 7)))
	refused(t, "a number", got, err, "use_dpop_nonce", "nonce")
	got, err = w.Check(shown(), token, w.key.Thumbprint())
	refused(t, "no proof", got, err, "invalid_dpop_proof", "no proof")
}

// The secret belongs to the verifier, whatever the caller does with its own bytes afterwards.
func TestSecretIsCopied(t *testing.T) {
	t.Parallel()
	own := []byte(strings.Repeat("mine....", 4))
	w := newWorld(t, nobody(t), dpop.WithNonces(own, time.Minute))
	before := asked(t, w, "")
	clear(own)
	if after := asked(t, w, ""); after != before {
		t.Error("the nonce changed with the caller's bytes")
	}
}

func TestNothingPrintsTheSecret(t *testing.T) {
	t.Parallel()
	v := newWorld(t, nobody(t), dpop.WithNonces(secret, time.Minute)).Verifier
	bytes := strings.Trim(fmt.Sprintf("%d", secret), "[]")
	for _, verb := range []string{"%v", "%+v", "%s", "%x", "%#v"} {
		text := fmt.Sprintf(verb, v)
		if strings.Contains(text, string(secret)) || strings.Contains(text, bytes) || strings.Contains(text, fmt.Sprintf("%x", secret)) {
			t.Errorf("%s prints %s", verb, text)
		}
	}
}
