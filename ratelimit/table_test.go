package ratelimit

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
)

// other sets a field to another value of its kind.
func other(t *testing.T, field reflect.Value) {
	t.Helper()
	switch field.Kind() {
	case reflect.String:
		field.SetString(field.String() + "x")
	case reflect.Int64, reflect.Int:
		field.SetInt(field.Int() + 1)
	case reflect.Uint8:
		field.SetUint(field.Uint() + 1)
	case reflect.Bool:
		field.SetBool(!field.Bool())
	case reflect.Struct: // of the first field, or the one that can be set
		if field.Type() == reflect.TypeFor[Period]() {
			field.Set(reflect.ValueOf(Monthly(2, nil)))
			return
		}
		other(t, field.Field(0))
	default:
		t.Fatalf("a field of kind %v: say here what another value of it is", field.Kind())
	}
}

// TestSameTellsAllFields changes each field by itself. A new one fails until somebody says whether it comes with each call.
func TestSameTellsAllFields(t *testing.T) {
	t.Parallel()
	fresh := func() *Request {
		return &Request{Org: "o", Project: "p", Key: "k", Plan: "plan", Endpoint: "GET /", Charges: []Charge{{Policy: PerHour(5), Cost: 1, Value: "v"}}}
	}
	base := fresh()
	told := func(name string, changed *Request, costs, want bool) {
		t.Helper()
		if got := !base.same(changed, costs); got != want || !changed.same(base, costs) != want {
			t.Errorf("%s, costs compared %t: told apart %t, want %t", name, costs, got, want)
		}
	}
	told("nothing", fresh(), true, false)
	// What comes with each call, or is no Prepared's that is kept.
	apart := map[string]bool{"Epoch": true, "Token": true, "Hold": true, "Peek": true, "preview": true}
	for f := range reflect.TypeFor[Request]().Fields() {
		if apart[f.Name] || f.Name == "Charges" {
			continue
		}
		changed := fresh()
		other(t, reflect.ValueOf(changed).Elem().FieldByIndex(f.Index))
		told(f.Name, changed, false, true)
	}
	for f := range reflect.TypeFor[Charge]().Fields() {
		changed := fresh()
		other(t, reflect.ValueOf(&changed.Charges[0]).Elem().FieldByIndex(f.Index))
		switch f.Name {
		case "Held": // of Settle and Renew, whose requests are not kept
			told(f.Name, changed, true, false)
		case "Cost":
			told(f.Name, changed, false, false)
			told(f.Name, changed, true, true)
		default:
			told(f.Name, changed, false, true)
		}
	}
	for f := range reflect.TypeFor[Policy]().Fields() {
		changed := fresh()
		other(t, reflect.ValueOf(&changed.Charges[0].Policy).Elem().FieldByIndex(f.Index))
		told("Policy."+f.Name, changed, false, true)
	}
	more := fresh()
	more.Charges = append(more.Charges, Charge{Policy: PerHour(1).Named("second")})
	told("one more charge", more, false, true)
}

// TestEqualTellsAllFields does so for what is merged. What a Prepared has is the same for all its calls.
func TestEqualTellsAllFields(t *testing.T) {
	t.Parallel()
	p := new(Prepared)
	fresh := func() *call {
		c := &call{prepared: p, epochs: [2]lua.Held{{Key: "e", Keys: 1, Limits: 2}, {Key: "f", Limits: 3}}}
		c.check = lua.Check{From: 1, Until: 9, Charges: []lua.Charge{{
			Key: "k", Count: "c", Algorithm: lua.Sliding, Limit: 5, Window: 6, Units: 1, Role: lua.Enforced, Change: lua.KeepUsed,
		}}}
		c.check.Epochs = c.epochs[:]
		return c
	}
	base := fresh()
	told := func(name string, changed *call, want bool) {
		t.Helper()
		if got := !base.equal(changed); got != want {
			t.Errorf("%s: told apart %t, want %t", name, got, want)
		}
	}
	told("nothing", fresh(), false)
	elsewhere := fresh()
	elsewhere.prepared = new(Prepared)
	told("the Prepared", elsewhere, true)
	same := map[string]bool{"Count": true, "Algorithm": true, "Held": true, "Lease": true, "Frame": true}
	for f := range reflect.TypeFor[lua.Charge]().Fields() {
		changed := fresh()
		field := reflect.ValueOf(&changed.check.Charges[0]).Elem().FieldByIndex(f.Index)
		if f.Name == "Frame" {
			field.Set(reflect.ValueOf(&lua.Frame{Generation: 1}))
		} else {
			other(t, field)
		}
		told("Charge."+f.Name, changed, !same[f.Name])
	}
	for f := range reflect.TypeFor[lua.Held]().Fields() {
		changed := fresh()
		other(t, reflect.ValueOf(&changed.epochs[1]).Elem().FieldByIndex(f.Index))
		told("Held."+f.Name, changed, true)
	}
	for name, change := range map[string]func(*lua.Check){
		"From":  func(c *lua.Check) { c.From++ },
		"Until": func(c *lua.Check) { c.Until++ },
		"Mode":  func(c *lua.Check) { c.Mode = lua.Peek },
		"Token": func(c *lua.Check) { c.Token = &lua.Token{Org: "o", Issuer: "i", Subject: "s"} },
	} {
		changed := fresh()
		change(&changed.check)
		told(name, changed, true)
	}
	if got := reflect.TypeFor[lua.Check]().NumField(); got != 10 {
		t.Errorf("a Check has %d fields: does a new one tell calls apart?", got)
	}
}

// TestTableHoldsNoMore fills a table, and has entries give way one by one.
func TestTableHoldsNoMore(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { rdb.Close() })
	for _, size := range []int{1, 64, 1000} {
		l, err := New(rdb, WithPrepared(size), WithTimeout(time.Second))
		if err != nil {
			t.Fatalf("New: %v", err)
		}
		request := func(i int) Request {
			return Request{Org: "acme", Project: "shop", Endpoint: fmt.Sprint("GET /", i), Charges: []Charge{{Policy: PerHour(1), Cost: 1}}}
		}
		for i := range 3000 {
			p, err := l.Prepare(request(i))
			if err != nil {
				t.Fatalf("Prepare: %v", err)
			}
			if again, err := l.Prepare(request(i)); err != nil || again != p {
				t.Fatalf("request %d again: another Prepared, %v", i, err)
			}
		}
		kept, room := 0, max(size, len(l.prepared.shards))
		for i := range l.prepared.shards {
			kept += len(l.prepared.shards[i].entries)
		}
		if kept > room || kept < room*9/10 {
			t.Errorf("WithPrepared(%d): %d kept, want %d", size, kept, room)
		}
	}
}
