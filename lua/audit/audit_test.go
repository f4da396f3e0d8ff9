package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/lua/audit"
	"github.com/tollgate-go/tollgate/lua/seal"
)

func TestLineNamesTheActorOfItsContext(t *testing.T) {
	ctx := audit.NewContext(t.Context(), audit.Actor{Name: "mia", RequestID: "r1", Address: "203.0.113.7"})
	line, err := audit.NewLine(ctx, nil, audit.Entry{Action: "key.revoke", Org: "acme", Project: "shop", ID: "k", After: json.RawMessage(`{"n":1}`)})
	if err != nil {
		t.Fatal(err)
	}
	var e audit.Entry
	if err := json.Unmarshal([]byte(line.Text), &e); err != nil {
		t.Fatal(err)
	}
	if e.Actor != "mia" || e.RequestID != "r1" || e.Address != "203.0.113.7" || e.Action != "key.revoke" ||
		e.Org != "acme" || e.Project != "shop" || e.ID != "k" || string(e.After) != `{"n":1}` || e.At.IsZero() {
		t.Errorf("the entry reads %s", line.Text)
	}
	if line.Seal != "" {
		t.Errorf("sealed %q without a sealer", line.Seal)
	}
	if got := audit.ActorOf(context.Background()); got != (audit.Actor{}) {
		t.Errorf("a context without an actor has %v", got)
	}
}

func TestLineHoldsTheSumOfWhatIsLarge(t *testing.T) {
	large := json.RawMessage(`"` + strings.Repeat("x", 8<<10) + `"`)
	line, err := audit.NewLine(t.Context(), nil, audit.Entry{Action: "plan.set", After: large})
	if err != nil {
		t.Fatal(err)
	}
	if len(line.Text) > 300 || !strings.Contains(line.Text, `"after":{"sha256":"`) {
		t.Errorf("the entry has %d bytes: %.200s", len(line.Text), line.Text)
	}
	if _, err := audit.NewLine(t.Context(), nil, audit.Entry{After: json.RawMessage(`{`)}); err == nil {
		t.Error("took an After that is no JSON")
	}
}

func TestLineVerifiesAsItIsAlone(t *testing.T) {
	sealer, err := seal.New(seal.NewKey("1", bytes.Repeat([]byte("k"), 32)))
	if err != nil {
		t.Fatal(err)
	}
	line, err := audit.NewLine(t.Context(), sealer, audit.Entry{Action: "key.revoke", Org: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	if err := line.Verify(sealer, "acme"); err != nil {
		t.Errorf("as written: %v", err)
	}
	if err := line.Verify(sealer, "other"); !errors.Is(err, seal.ErrBroken) {
		t.Errorf("in another org's trail: %v", err)
	}
	changed := line
	changed.Text = strings.Replace(line.Text, "revoke", "change", 1)
	if changed.Verify(nil, "acme") == nil {
		t.Error("a changed text passes by its old sum")
	}
	forged, err := audit.NewLine(t.Context(), nil, audit.Entry{Action: "key.revoke", Org: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	if err := forged.Verify(sealer, "acme"); !errors.Is(err, seal.ErrBroken) {
		t.Errorf("without a seal: %v", err)
	}
}

func TestLinkBindsAllItsParts(t *testing.T) {
	// What sha1sum prints for ":1:abc".
	if got, want := audit.Link("", 1, "abc"), "bfc8dadcffdf58ce5018b5d37ead99b0d5c1346a"; got != want {
		t.Errorf("the first link is %s, want %s", got, want)
	}
	links := map[string]bool{}
	for _, link := range []string{audit.Link("", 1, "abc"), audit.Link("", 2, "abc"), audit.Link("", 1, "abd"), audit.Link("x", 1, "abc")} {
		links[link] = true
	}
	if len(links) != 4 {
		t.Errorf("%d different links, want 4", len(links))
	}
}
