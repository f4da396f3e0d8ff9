package export

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/tollgate-go/tollgate/lua"
)

const golden = `{"specversion":"1.0","id":"acme:1772366400:shop:stores:search::0-57","source":"tollgate","type":"io.github.tollgate-go.usage.v1","subject":"acme:shop","time":"2026-03-01T12:00:00Z","datacontenttype":"application/json","data":{"org":"acme","project":"shop","product":"stores","kind":"search","source":"","hour":"2026-03-01T12:00:00Z","units":57,"from":0,"to":57}}
{"specversion":"1.0","id":"acme:1772366400:shop:stores:search::57-60","source":"tollgate","type":"io.github.tollgate-go.usage.v1","subject":"acme:shop","time":"2026-03-01T12:00:00Z","datacontenttype":"application/json","data":{"org":"acme","project":"shop","product":"stores","kind":"search","source":"","hour":"2026-03-01T12:00:00Z","units":3,"from":57,"to":60}}
`

func TestEventsAreCloudEvents(t *testing.T) {
	t.Parallel()
	strange := lua.UsageRange{UsageName: lua.UsageName{Project: "a:b\xff", Product: "<p>", Kind: "\r\n", Source: `"ü"`}, From: 1<<53 - 2, To: 1<<53 - 1}
	e := newEvent("https://api.example.com/usage", claimOf("a/b:c\x00"), &strange)
	var got struct {
		SpecVersion, ID, Source, Type, Subject, Time, DataContentType string
		Data                                                          Data
	}
	if err := json.Unmarshal([]byte(compact(t, e)), &got); err != nil {
		t.Fatalf("Unmarshal: %v", err)
	}
	for what, is := range map[string][2]string{
		"specversion": {got.SpecVersion, "1.0"}, "type": {got.Type, Type}, "source": {got.Source, "https://api.example.com/usage"},
		"id":      {got.ID, "a/b%3Ac%00:1772366400:a%3Ab%FF:<p>:%0D%0A:\"%C3%BC\":9007199254740990-9007199254740991"},
		"subject": {got.Subject, "a/b%3Ac%00:a%3Ab%FF"}, "time": {got.Time, "2026-03-01T12:00:00Z"}, "datacontenttype": {got.DataContentType, "application/json"},
	} {
		if is[0] != is[1] {
			t.Errorf("%s is %q, want %q", what, is[0], is[1])
		}
	}
	if got.Data.Units != 1 || got.Data.To != 1<<53-1 || got.Data.Kind != "\r\n" || got.Data.Org != "a/b:c\x00" || !got.Data.Hour.Equal(noon) {
		t.Errorf("the data is %+v", got.Data)
	}
	if e.ID == event("acme", 0, 1).ID || event("acme", 0, 1).ID == event("acme", 0, 2).ID || event("acme", 1, 2).ID == event("acme", 0, 2).ID {
		t.Error("two events have one id")
	}
}

func TestNDJSON(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "usage.ndjson")
	file, err := os.Create(path)
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	defer file.Close()
	sink := NDJSON(file)
	for _, e := range []Event{event("acme", 0, 57), event("acme", 57, 60)} {
		if err := sink.Send(t.Context(), []Event{e}); err != nil {
			t.Fatalf("Send: %v", err)
		}
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != golden {
		t.Errorf("the file has\n%s\nwant\n%s (%v)", got, golden, err)
	}
}

// disk is a file that fails.
type disk struct {
	bytes.Buffer
	room  int // bytes that the next Write takes; -1: all
	sync  error
	syncs int
}

func (d *disk) Write(p []byte) (int, error) {
	if d.room >= 0 && d.room < len(p) {
		n, _ := d.Buffer.Write(p[:d.room])
		return n, io.ErrShortWrite
	}
	return d.Buffer.Write(p)
}

func (d *disk) Sync() error {
	d.syncs++
	return d.sync
}

func TestNDJSONOfAFailingDisk(t *testing.T) {
	t.Parallel()
	d := &disk{room: 20}
	sink, events := NDJSON(d), []Event{event("acme", 0, 57), event("acme", 57, 60)}
	if err := sink.Send(t.Context(), events); !errors.Is(err, io.ErrShortWrite) || d.syncs != 0 {
		t.Errorf("Send = %v, %d calls of Sync; want io.ErrShortWrite", err, d.syncs)
	}
	d.room, d.sync = -1, errCut
	if err := sink.Send(t.Context(), events); !errors.Is(err, errCut) {
		t.Errorf("Send = %v; want what Sync said", err)
	}
	d.sync = nil
	if err := sink.Send(t.Context(), events); err != nil || d.syncs != 2 {
		t.Errorf("Send = %v, %d calls of Sync; want nil and 2", err, d.syncs)
	}
	if got, want := d.String(), golden[:20]+"\n"+golden+golden; got != want {
		t.Errorf("written was\n%s\nwant\n%s", got, want)
	}
	if err := NDJSON(nil).Send(t.Context(), events); !errors.Is(err, ErrInvalid) {
		t.Errorf("Send to nil = %v; want ErrInvalid", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := sink.Send(ended, events); !errors.Is(err, context.Canceled) {
		t.Errorf("Send = %v; want context.Canceled", err)
	}
}
