package export

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/tollgate-go/tollgate/lua"
)

// Type is the type of the events, as CloudEvents has it.
const Type = "io.github.tollgate-go.usage.v1"

// Event tells of a piece of usage. One with the same ID and Source is the same, byte for byte, however often and by
// whomever it is sent.
type Event struct {
	// ID names the org, the hour, what was used and the range, escaped: "acme:1772366400:shop:stores:search::0-57". Where
	// the Data has a Began, the hour has it too, in microseconds since 1970: "1772366400@1772370000123456".
	ID string
	// Source is what WithSource says.
	Source string
	Data   Data
}

// Data is what was used: the units after the first From, up to To, of all that the hour has of these names. So ranges
// of one name, in an hour that began at one time, neither overlap nor leave a gap.
type Data struct {
	Org     string    `json:"org"`
	Project string    `json:"project"`
	Product string    `json:"product"`
	Kind    string    `json:"kind"`
	Source  string    `json:"source"`
	Hour    time.Time `json:"hour"`  // when it begins, UTC
	Units   int64     `json:"units"` // To - From, less than 2^53
	From    int64     `json:"from"`
	To      int64     `json:"to"`
	// Began is when Redis began to keep the hour, UTC, if that was after its end; else zero, and left out. An hour that
	// was deleted, or has expired, begins anew with usage that comes after that: its ranges begin at 0 again.
	Began time.Time `json:"began,omitzero"`
}

// newEvent makes the event of a range of a claim.
func newEvent(source string, hour *lua.UsageClaim, r *lua.UsageRange) Event {
	begin := strconv.FormatInt(hour.Hour, 10)
	if !hour.Began.IsZero() {
		begin += "@" + strconv.FormatInt(hour.Began.UnixMicro(), 10)
	}
	parts := []string{
		lua.Escape(hour.Org), begin, lua.Escape(r.Project), lua.Escape(r.Product), lua.Escape(r.Kind), lua.Escape(r.Source),
		strconv.FormatInt(r.From, 10) + "-" + strconv.FormatInt(r.To, 10),
	}
	return Event{ID: strings.Join(parts, ":"), Source: source, Data: Data{
		Org: hour.Org, Project: r.Project, Product: r.Product, Kind: r.Kind, Source: r.Source,
		Hour: time.Unix(hour.Hour, 0).UTC(), Units: r.To - r.From, From: r.From, To: r.To, Began: hour.Began,
	}}
}

// Subject names the org and its project, escaped: "acme:shop".
func (e *Event) Subject() string { return lua.Escape(e.Data.Org) + ":" + lua.Escape(e.Data.Project) }

// MarshalJSON writes the event in the JSON format of CloudEvents 1.0. Its time is when the hour begins. Bytes of a name
// that are not UTF-8 become U+FFFD in the data; the id and the subject have them all.
func (e Event) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		SpecVersion string    `json:"specversion"`
		ID          string    `json:"id"`
		Source      string    `json:"source"`
		Type        string    `json:"type"`
		Subject     string    `json:"subject"`
		Time        time.Time `json:"time"`
		ContentType string    `json:"datacontenttype"`
		Data        *Data     `json:"data"`
	}{"1.0", e.ID, e.Source, Type, e.Subject(), e.Data.Hour, "application/json", &e.Data})
}
