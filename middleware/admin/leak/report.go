package leak

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/lua/audit"
	"github.com/tollgate-go/tollgate/middleware"
)

// Match is a token that was found somewhere, as a report has it. Members that are not known are ignored, so that GitHub
// may add some; a known one twice, or of another type, spoils the report.
type Match struct {
	Token  string `json:"token"` // required
	Type   string `json:"type"`  // required: the name that was agreed on with GitHub
	URL    string `json:"url"`   // where; may be empty
	Source string `json:"source"`
}

// Feedback is what the answer tells of a token: either its hash or, with WithRawTokens, itself.
type Feedback struct {
	TokenHash string `json:"token_hash,omitempty"` // SHA-256 in base64
	TokenRaw  string `json:"token_raw,omitempty"`
	TokenType string `json:"token_type"`
	Label     string `json:"label"` // "true_positive" for a key of ours, dead or alive, else "false_positive"
}

// The labels of a Feedback.
const (
	truePositive  = "true_positive"
	falsePositive = "false_positive"
)

// Report is what was found and done, for WithNotify. It holds no token; in the texts of others, what looks like a key
// is replaced by "****".
type Report struct {
	Record     authkey.Record // of the key, as it is now
	Credential string         // the id of the one that leaked
	Env        string         // of the key; "" for a foreign one
	Type       string         // of the token, as GitHub knows it
	URL        string         // where it was found, up to 2048 bytes; may be empty. For a foreign key without its query and fragment
	Source     string         // what kind of place that is, such as "commit"; "unknown" if nobody said
	Done       Action
}

func badBody(detail string) error {
	return &middleware.Error{Status: http.StatusBadRequest, Code: codeBody, Message: detail}
}

// decode reads a report, one match after the other, so that nothing is made of more than there may be.
func decode(body []byte) ([]Match, error) {
	d := jsontext.NewDecoder(bytes.NewReader(body))
	wrong := func() error {
		at := strconv.FormatInt(d.InputOffset(), 10)
		return badBody("The body must be one JSON array of objects with the strings token and type: look at byte " + at + ".")
	}
	if token, err := d.ReadToken(); err != nil || token.Kind() != '[' {
		return nil, wrong()
	}
	matches := []Match{}
	for d.PeekKind() != ']' {
		if len(matches) == maxTokens {
			return nil, &middleware.Error{
				Status: http.StatusRequestEntityTooLarge, Code: codeTooMany,
				Message: "A report has at most " + strconv.Itoa(maxTokens) + " tokens.",
			}
		}
		var m Match
		if d.PeekKind() != '{' || jsonv2.UnmarshalDecode(d, &m) != nil || m.Token == "" || m.Type == "" {
			return nil, wrong()
		}
		matches = append(matches, m)
	}
	if _, err := d.ReadToken(); err != nil { // ]
		return nil, wrong()
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, wrong()
	}
	return matches, nil
}

// judge finds out whether a match is a key of ours, and deals with it.
func (h *Handler) judge(ctx context.Context, actor audit.Actor, m *Match) (Feedback, error) {
	report := Report{Type: m.cleaned(m.Type), URL: m.place(), Source: m.source(), Done: None}
	actor.Name = "leak-report:" + report.Source
	ours, err := h.deal(audit.NewContext(ctx, actor), m.Token, &report)
	if err != nil {
		return Feedback{}, err
	}
	f := Feedback{TokenType: m.Type, Label: falsePositive}
	if h.raw {
		f.TokenRaw = m.Token
	} else {
		sum := sha256.Sum256([]byte(m.Token))
		f.TokenHash = base64.StdEncoding.EncodeToString(sum[:])
	}
	if !ours {
		return f, nil
	}
	f.Label = truePositive
	for _, notify := range h.notify {
		notify(ctx, report)
	}
	return f, nil
}

// attempts bounds how often a key is looked up that somebody else changes meanwhile.
const attempts = 4

// deal applies the policy to a token, if it is a key of ours, and completes the report.
func (h *Handler) deal(ctx context.Context, token string, report *Report) (ours bool, err error) {
	parsed, err := authkey.Parse(token)
	if err != nil && !h.foreign {
		return false, nil
	}
	report.Env = parsed.Env
	for range attempts {
		report.Record, report.Credential, err = h.issuer.Lookup(ctx, authkey.NewPresented(token))
		if errors.Is(err, authkey.ErrUnknown) || errors.Is(err, authkey.ErrMalformed) {
			return false, nil
		}
		if err == nil {
			err = h.apply(ctx, report)
		}
		if !errors.Is(err, authkey.ErrConflict) {
			break
		}
	}
	return err == nil, err
}

// apply does to the key what its policy says, if it is still as it was looked up.
func (h *Handler) apply(ctx context.Context, report *Report) error {
	record := &report.Record
	credential := record.Credential(report.Credential)
	if record.State == authkey.StateRevoked || credential == nil || !credential.Live(h.now()) {
		return nil // dead for good; a key that has expired may be given another end, a credential may not
	}
	policy, reason := h.policyOf(report.Env, record.Kind), reasonOf(report.URL)
	end, sooner := h.shortened(policy, record, credential)
	var changed authkey.Record
	var err error
	switch {
	case policy.action == KeyRevoked:
		changed, err = h.issuer.SetState(ctx, record.Org, record.ID, record.Revision, authkey.StateRevoked, reason)
	case policy.action == Shortened && sooner:
		changed, err = h.issuer.EndCredential(ctx, record.Org, record.ID, report.Credential, record.Revision, end, reason)
	case policy.action == Revoked:
		changed, err = h.issuer.RevokeCredential(ctx, record.Org, record.ID, report.Credential, record.Revision, reason)
	default:
		return nil
	}
	if errors.Is(err, authkey.ErrRevoked) {
		return authkey.ErrConflict // by somebody else meanwhile: see what it is now
	}
	if err == nil {
		report.Record, report.Done = changed, policy.action
	}
	return err
}

// shortened returns when a credential is to end by a policy, and whether that is sooner than it ends anyway.
func (h *Handler) shortened(policy Policy, record *authkey.Record, credential *authkey.Credential) (end time.Time, sooner bool) {
	end = h.now().Add(policy.within).UTC()
	after := func(t time.Time) bool { return t.IsZero() || t.After(end) }
	return end, after(record.ExpiresAt) && after(credential.ExpiresAt)
}

// Bounds of texts, in bytes.
const (
	maxText   = 2048
	maxReason = 256 // as authkey has it
	maxSource = 64
	maxToken  = 256 // as authkey has it: what is longer is nobody's key
)

// anyKey finds keys also within words.
var anyKey = regexp.MustCompile(strings.ReplaceAll(authkey.AnyPattern, `\b`, ""))

// cleaned returns a text of a match without control characters, keys and the token, also where that is percent-encoded.
func (m *Match) cleaned(text string) string {
	text = strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return -1
		}
		return c
	}, text)
	text = strings.ReplaceAll(text, m.Token, "****")
	if strings.Contains(text, "%") && len(m.Token) <= maxToken {
		text = encoded(m.Token).ReplaceAllLiteralString(text, "****")
	}
	return cut(anyKey.ReplaceAllString(text, "****"), maxText)
}

// encoded matches a token in ASCII, of which any bytes may be percent-encoded any number of times.
func encoded(token string) *regexp.Regexp {
	var b strings.Builder
	for _, c := range []byte(token) {
		fmt.Fprintf(&b, `(?:%s|%%(?:25)*(?i:%02x))`, regexp.QuoteMeta(string(rune(c))), c)
	}
	return regexp.MustCompile(b.String())
}

// place returns the URL of a match, cleaned. Nothing tells a foreign key from other texts, so of a URL with one there
// is neither the query nor the fragment, where there may be more of them.
func (m *Match) place() string {
	at := m.cleaned(m.URL)
	if _, err := authkey.Parse(m.Token); err != nil {
		if end := strings.IndexAny(at, "?#"); end >= 0 {
			at = at[:end]
		}
	}
	return at
}

// cut returns what there is room for of a text, in whole characters.
func cut(text string, most int) string {
	return strings.ToValidUTF8(text[:min(len(text), most)], "")
}

// reasonOf returns the reason of a change, with the cleaned URL of a report.
func reasonOf(at string) string {
	if at == "" {
		return "leaked"
	}
	return cut("leaked: "+at, maxReason)
}

// source returns where a match was found as GitHub lists it, in lower case.
func (m *Match) source() string {
	text := strings.ToLower(m.Source)
	if text == "" || len(text) > maxSource || strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" || m.cleaned(m.Source) != m.Source {
		return "unknown"
	}
	return text
}

// write answers with feedback.
func write(w http.ResponseWriter, feedback []Feedback) {
	text, err := json.Marshal(feedback)
	if err != nil { // feedback holds nothing that JSON cannot
		panic("leak: answer: " + err.Error())
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(text) // a client that went away is nobody's error
}
