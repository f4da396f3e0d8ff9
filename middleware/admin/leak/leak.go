// Package leak takes reports of leaked keys, as GitHub's secret scanning sends them to its partners, and ends those keys.
//
//	keys, err := leak.FetchKeys(http.DefaultClient, leak.GitHubKeys)
//	handler, err := leak.New(issuer, keys,
//		leak.WithPolicy("live", authkey.KindSecret, leak.Shorten(24*time.Hour)), // the owner is told, and has a day
//		leak.WithNotify(func(ctx context.Context, r leak.Report) {
//			mail(ctx, r.Record.Owner, r.URL, r.Done)
//		}),
//	)
//	mux.Handle("POST /v1/leak-reports", handler) // strangers must reach it: what lets in is the signature
//
// To take part, tell secret-scanning@github.com a name for the kind of secret, the URL of the handler, and the
// expression that [authkey.Format.Pattern] returns, such as
//
//	\bacme_live_(?:[0-5][0-9]|6[0-3])[0-9A-Za-z]{12}_[0-9A-Za-z]{38}\b
//
// The same is a rule for gitleaks:
//
//	[[rules]]
//	id = "acme-live-key"
//	regex = '''\bacme_live_(?:[0-5][0-9]|6[0-3])[0-9A-Za-z]{12}_[0-9A-Za-z]{38}\b'''
//	keywords = ["acme_live_"]
//
// [Scan] finds keys in text without any of them, and confirms their checksums.
//
// A report is a POST of a JSON array of at most 500 [Match] and 1 MiB, signed with ECDSA P-256 over the SHA-256 of the
// body as it came. Each token that is a key of ours is dealt with by a [Policy]; what cannot be one by its form and its
// checksum is not even looked for. The answer is an array of [Feedback] in the same order. A report that comes
// again finds the keys ended and changes nothing.
//
// Refusals are problems (RFC 9457): 401 "invalid_signature" without a good signature, 400 "invalid_body", 413
// "body_too_large" and "too_many_tokens", 405 for other methods; and 503 "unavailable", with Retry-After, when the
// store or the list of public keys is out of reach. What was done by then stays done: send it again.
//
// It is not for reports of people: who has found a key can have it looked up on the admin route.
package leak

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/lua/audit"
	"github.com/tollgate-go/tollgate/middleware"
)

// ErrInvalid says that something given to New, Keys or FetchKeys is nil or out of its bounds.
var ErrInvalid = errors.New("leak: invalid")

// The codes of a problem, besides those that package middleware has.
const (
	codeSignature = "invalid_signature"  // 401
	codeBody      = "invalid_body"       // 400
	codeMethod    = "method_not_allowed" // 405
	codeTooLarge  = "body_too_large"     // 413
	codeTooMany   = "too_many_tokens"    // 413
	codeInternal  = "internal"           // 500
)

// Bounds of a report.
const (
	maxBody   = 1 << 20 // bytes
	maxTokens = 500

	timeout    = 20 * time.Second // GitHub waits for 30 where there is feedback
	retryAfter = 5 * time.Second
)

// Handler takes reports. Make it with New. Safe for concurrent use; it has nothing to close.
type Handler struct {
	issuer   *authkey.Issuer
	keys     PublicKeys
	policies []rule
	notify   []func(context.Context, Report)
	raw      bool
	foreign  bool
	log      *slog.Logger
	now      func() time.Time
}

// New returns a handler that ends keys of an issuer's store, on the word of whoever signs with one of the public keys.
// It does no I/O. The error joins all that is wrong with the arguments; each fault is ErrInvalid.
//
// Cost of a report: for each token of the right form one Issuer.Lookup, and for each that lives one change.
func New(issuer *authkey.Issuer, keys PublicKeys, opts ...Option) (*Handler, error) {
	h := &Handler{issuer: issuer, keys: keys, log: slog.New(slog.DiscardHandler), now: time.Now}
	var faults []error
	if issuer == nil {
		faults = append(faults, fmt.Errorf("%w: an issuer is needed", ErrInvalid))
	}
	if keys == nil {
		faults = append(faults, fmt.Errorf("%w: public keys are needed: see Keys and FetchKeys", ErrInvalid))
	}
	for i, o := range opts {
		if o == nil {
			faults = append(faults, fmt.Errorf("%w option: number %d is nil", ErrInvalid, i+1))
			continue
		}
		faults = append(faults, o.apply(h))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return h, nil
}

// ServeHTTP answers a report, at whatever path it is mounted.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	requestID := (&middleware.Error{}).SetHeaders(w.Header(), r)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	address, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		address = ""
	}
	feedback, err := h.serve(w, r, audit.Actor{RequestID: requestID, Address: address})
	if err != nil {
		h.refuse(w, r, requestID, err)
		return
	}
	write(w, feedback)
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request, actor audit.Actor) ([]Feedback, error) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return nil, &middleware.Error{Status: http.StatusMethodNotAllowed, Code: codeMethod, Message: "Reports are sent with POST."}
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	body, err := h.authentic(ctx, w, r)
	if err != nil {
		return nil, err
	}
	matches, err := decode(body)
	if err != nil {
		return nil, err
	}
	feedback := make([]Feedback, len(matches))
	for i := range matches {
		if feedback[i], err = h.judge(ctx, actor, &matches[i]); err != nil {
			return nil, err
		}
	}
	return feedback, nil
}

// refuse answers with a problem. What is wrong here goes to the log alone.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, requestID string, err error) {
	refusal, ok := errors.AsType[*middleware.Error](err)
	switch {
	case ok:
	case errors.Is(err, authkey.ErrInvalid):
		refusal = &middleware.Error{Status: http.StatusInternalServerError, Code: codeInternal, Message: "Something is wrong here; the log says more."}
	default:
		refusal = &middleware.Error{
			Status: http.StatusServiceUnavailable, Code: middleware.CodeUnavailable, RetryAfter: retryAfter,
			Message: "The report cannot be dealt with at the moment. Send it again.",
		}
	}
	level := slog.LevelWarn
	if refusal.Status == http.StatusUnauthorized || refusal.Status == http.StatusMethodNotAllowed {
		level = slog.LevelDebug // any stranger can bring it about
	}
	if refusal.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Signature realm="leak-reports"`)
	}
	h.log.Log(r.Context(), level, "leak: report refused", slog.Int("status", refusal.Status), slog.String("code", refusal.Code),
		slog.String("request_id", requestID), slog.Any("cause", err))
	middleware.WriteProblem(w, r, refusal)
}
