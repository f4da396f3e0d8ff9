package redisstore

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/seal"
)

// record is an authkey.Record as Redis has it. What is absent is the zero value. A reader that does not know a member
// refuses the whole: it could be a bound that a newer version has set.
type record struct {
	Org         string            `json:"org"`
	Project     string            `json:"project"`
	Name        string            `json:"name,omitempty"`
	Owner       string            `json:"owner,omitempty"`
	Plan        string            `json:"plan,omitempty"`
	Kind        string            `json:"kind"`
	Scopes      []string          `json:"scopes,omitempty"`
	Products    []string          `json:"products,omitempty"`
	Networks    []netip.Prefix    `json:"networks,omitempty"`
	Origins     []string          `json:"origins,omitempty"`
	Meta        map[string]string `json:"meta,omitempty"`
	State       string            `json:"state"`
	Reason      string            `json:"reason,omitempty"`
	NotBefore   int64             `json:"not_before,omitempty"`
	Expires     int64             `json:"expires,omitempty"`
	Created     int64             `json:"created"`
	Revoked     int64             `json:"revoked,omitempty"`
	Revision    int64             `json:"revision"`
	Credentials []credential      `json:"credentials"`
}

type credential struct {
	ID         string `json:"id"`
	Digest     string `json:"digest,omitempty"`
	Pepper     string `json:"pepper,omitempty"`
	Foreign    bool   `json:"foreign,omitempty"`
	Created    int64  `json:"created"`
	Superseded int64  `json:"superseded,omitempty"`
	Expires    int64  `json:"expires,omitempty"`
	Revoked    int64  `json:"revoked,omitempty"`
	Reason     string `json:"reason,omitempty"`
}

func recordOf(r *authkey.Record) record {
	stored := record{
		Org: r.Org, Project: r.Project, Name: r.Name, Owner: r.Owner, Plan: r.Plan,
		Kind: string(r.Kind), Scopes: r.Scopes, Products: r.Products, Networks: r.Networks, Origins: r.Origins, Meta: r.Meta,
		State: string(r.State), Reason: r.Reason, NotBefore: micros(r.NotBefore), Expires: micros(r.ExpiresAt),
		Created: micros(r.CreatedAt), Revoked: micros(r.RevokedAt), Revision: r.Revision,
	}
	for i := range r.Credentials {
		c := &r.Credentials[i]
		stored.Credentials = append(stored.Credentials, credential{
			ID: c.ID, Digest: hexOf(c.Digest), Pepper: c.PepperVersion, Foreign: c.Foreign, Created: micros(c.CreatedAt),
			Superseded: micros(c.SupersededAt), Expires: micros(c.ExpiresAt), Revoked: micros(c.RevokedAt), Reason: c.Reason,
		})
	}
	return stored
}

// encode returns a record as Redis has it, and as the audit trail does: without digests.
func encode(r *authkey.Record) (stored, audited []byte) {
	whole := recordOf(r)
	stored = marshal(whole)
	for i := range whole.Credentials {
		whole.Credentials[i].Digest, whole.Credentials[i].Pepper = "", ""
	}
	return stored, marshal(whole)
}

// decode reads what encode wrote. Anything else is ErrUnavailable, never a record with fewer bounds than it was given.
func (s *Store) decode(k *lua.KeyReading) (authkey.Record, error) {
	var stored record
	err := s.open(k.Seal, k.Record, &stored, sealedKey, k.Org, k.ID)
	if err == nil && (stored.Org != k.Org || stored.Project != k.Project || stored.State != k.State || stored.Revision != k.Revision) {
		err = fmt.Errorf("%w: what scripts are told of it is not what it says", lua.ErrReply)
	}
	r := stored.record(k)
	if err == nil {
		err = r.Validate()
	}
	if err == nil {
		r.Within, err = s.project(k.Org, &k.Within)
	}
	if err != nil {
		return authkey.Record{}, fmt.Errorf("%w: redisstore: key %s: %w", authkey.ErrUnavailable, k.ID, plain(err))
	}
	r.Epoch = k.Epoch
	return r, nil
}

func (stored *record) record(k *lua.KeyReading) authkey.Record {
	r := authkey.Record{
		ID: k.ID, Org: stored.Org, Project: stored.Project, Name: stored.Name, Owner: stored.Owner, Plan: stored.Plan,
		Kind: authkey.Kind(stored.Kind), Scopes: stored.Scopes, Products: stored.Products,
		Networks: stored.Networks, Origins: stored.Origins, Meta: stored.Meta,
		State: authkey.State(stored.State), Reason: stored.Reason, NotBefore: timeOf(stored.NotBefore), ExpiresAt: timeOf(stored.Expires),
		CreatedAt: timeOf(stored.Created), RevokedAt: timeOf(stored.Revoked), Revision: stored.Revision,
	}
	for i := range stored.Credentials {
		c := &stored.Credentials[i]
		r.Credentials = append(r.Credentials, authkey.Credential{
			ID: c.ID, Digest: digestOf(c.Digest), PepperVersion: c.Pepper, Foreign: c.Foreign, CreatedAt: timeOf(c.Created),
			SupersededAt: timeOf(c.Superseded), ExpiresAt: timeOf(c.Expires), RevokedAt: timeOf(c.Revoked), Reason: c.Reason,
			LastUsedAt: timeOf(k.Used[c.ID]),
		})
	}
	return r
}

// project is an authkey.Project as Redis has it.
type project struct {
	State    string `json:"state"`
	Plan     string `json:"plan,omitempty"`
	Reason   string `json:"reason,omitempty"`
	Updated  int64  `json:"updated"`
	Revision int64  `json:"revision"`
}

func encodeProject(p *authkey.Project) []byte {
	return marshal(project{State: string(p.State), Plan: p.Plan, Reason: p.Reason, Updated: micros(p.UpdatedAt), Revision: p.Revision})
}

// project reads what encodeProject wrote; the zero Project where nothing is set.
func (s *Store) project(org string, reading *lua.ProjectReading) (authkey.Project, error) {
	if reading.Revision == 0 {
		return authkey.Project{}, nil
	}
	var stored project
	if err := s.open(reading.Seal, reading.Record, &stored, sealedProject, org, reading.Name); err != nil {
		return authkey.Project{}, fmt.Errorf("project: %w", err)
	}
	p := authkey.Project{
		Org: org, Name: reading.Name, State: authkey.State(stored.State), Plan: stored.Plan, Reason: stored.Reason,
		UpdatedAt: timeOf(stored.Updated), Revision: stored.Revision,
	}
	if p.Revision != reading.Revision {
		return authkey.Project{}, fmt.Errorf("%w: project: what scripts are told of it is not what it says", lua.ErrReply)
	}
	return p, p.Validate()
}

// What is sealed, and as what: a seal of one does not pass for one of the other.
const (
	sealedKey     = "key"
	sealedProject = "project"
)

// seal returns the seal of a text that is stored for an org under an id.
func (s *Store) seal(domain, org, id string, text []byte) string {
	return s.sealer.Seal(domain, org, id, string(text))
}

// open checks the seal of a text and decodes it.
func (s *Store) open(mac, text string, into any, domain, org, id string) error {
	if err := s.sealer.Verify(mac, domain, org, id, text); err != nil && !(mac == "" && s.unsealed) {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("%w: its text", lua.ErrReply)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return fmt.Errorf("%w: more than its text", lua.ErrReply)
	}
	return nil
}

// plain keeps what is wrong with a stored record from looking like a fault of the caller.
func plain(err error) error {
	if errors.Is(err, seal.ErrBroken) { // most often it is this process that lacks the secret
		return fmt.Errorf("%w: does WithSealer have the key that it was sealed with? See WithUnsealed and Reseal for what is older than seals", err)
	}
	return fmt.Errorf("damaged: %v", err) //nolint:errorlint // on purpose: authkey.ErrInvalid would be about the call
}

func marshal(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil { // it holds nothing that JSON cannot
		panic("redisstore: " + err.Error())
	}
	return text
}

func digestOf(text string) authkey.Digest {
	var sum [32]byte
	if len(text) != 2*len(sum) {
		return authkey.Digest{}
	}
	if _, err := hex.Decode(sum[:], []byte(text)); err != nil {
		return authkey.Digest{}
	}
	return authkey.NewDigest(sum)
}

func hexOf(digest authkey.Digest) string {
	sum := digest.Sum()
	return hex.EncodeToString(sum[:])
}

func timeOf(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}
