package redisstore

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/lua"
)

// encode writes a record as the fields of a hash; the script adds org, project, revision and created.
// Words are separated by spaces, which no word holds; times are microseconds, and empty where zero.
func encode(r authkey.Record) lua.Fields {
	foreign := ""
	if r.Foreign {
		foreign = "1"
	}
	return lua.Fields{
		"key":        r.Key,
		"name":       r.Name,
		"plan":       r.Plan,
		"kind":       string(r.Kind),
		"scopes":     strings.Join(r.Scopes, " "),
		"products":   strings.Join(r.Products, " "),
		"state":      string(r.State),
		"reason":     r.Reason,
		"not_before": micros(r.NotBefore),
		"expires":    micros(r.ExpiresAt),
		"digest":     hexOf(r.Digest),
		"pepper":     r.PepperVersion,
		"foreign":    foreign,
	}
}

// decode reads what encode and the script wrote. Anything else is ErrUnavailable, never a record with
// fewer bounds than it was given.
func decode(id string, f lua.Fields) (authkey.Record, error) {
	d := decoder{fields: f}
	r := authkey.Record{
		ID: id, Key: d.text("key"),
		Org: d.text("org"), Project: d.text("project"), Name: f["name"], Plan: f["plan"],
		Kind:   authkey.Kind(d.text("kind")),
		Scopes: strings.Fields(f["scopes"]), Products: strings.Fields(f["products"]),
		State:     authkey.State(d.text("state")),
		NotBefore: d.bound("not_before"), ExpiresAt: d.bound("expires"),
		Digest: d.digest("digest"), PepperVersion: f["pepper"], Foreign: f["foreign"] == "1",
		CreatedAt: d.time("created"), RevokedAt: d.time("revoked"),
		Reason: f["reason"], Revision: d.int("revision"),
	}
	if r.Kind != authkey.KindSecret && r.Kind != authkey.KindPublishable {
		d.fault("kind")
	}
	if r.State.Validate("") != nil {
		d.fault("state")
	}
	if d.err != nil {
		return authkey.Record{}, fmt.Errorf("%w: redisstore: credential %s: %w", authkey.ErrUnavailable, id, d.err)
	}
	return r, nil
}

// decoder keeps the first fault of the fields that it reads.
type decoder struct {
	fields lua.Fields
	err    error
}

func (d *decoder) fault(name string) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: field %s", lua.ErrReply, name)
	}
}

// text reads a field that must be there and not empty.
func (d *decoder) text(name string) string {
	if d.fields[name] == "" {
		d.fault(name)
	}
	return d.fields[name]
}

func (d *decoder) int(name string) int64 {
	n, err := d.fields.Int(name)
	if err != nil {
		d.fault(name)
	}
	return n
}

// bound reads a time that encode always writes: without the field a key would have no such bound.
func (d *decoder) bound(name string) time.Time {
	if _, ok := d.fields[name]; !ok {
		d.fault(name)
	}
	return d.time(name)
}

func (d *decoder) time(name string) time.Time {
	n := d.int(name)
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

func (d *decoder) digest(name string) authkey.Digest {
	var sum [32]byte
	text := d.fields[name]
	if len(text) != 2*len(sum) {
		d.fault(name)
		return authkey.Digest{}
	}
	if _, err := hex.Decode(sum[:], []byte(text)); err != nil {
		d.fault(name)
	}
	return authkey.NewDigest(sum)
}

func micros(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return strconv.FormatInt(t.UnixMicro(), 10)
}
