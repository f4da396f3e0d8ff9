package authkey_test

import (
	"sync"
	"testing"

	"github.com/tollgate-go/tollgate/authkey"
)

func TestNotes(t *testing.T) {
	t.Parallel()
	var n authkey.Notes
	keys := make([]*int, 40)
	for i := range keys {
		keys[i] = new(i)
		if got := n.Load(keys[i]); got != nil {
			t.Fatalf("%v is kept of nobody", got)
		}
		if got := n.Store(keys[i], i); got != i {
			t.Errorf("Store returned %v, want the value", got)
		}
	}
	for i, key := range keys {
		want := any(i)
		if i >= 32 {
			want = nil // there was no room
		}
		if got := n.Load(key); got != want {
			t.Errorf("%v is kept under %d, want %v", got, i, want)
		}
	}
	if got := n.Store(keys[3], "late"); got != 3 {
		t.Errorf("Store over another returned %v, want what was kept", got)
	}
	var nobody *authkey.Notes
	if got := nobody.Store("key", 1); got != 1 || nobody.Load("key") != nil {
		t.Errorf("nil Notes kept something, or returned %v", got)
	}
}

// TestNotesAgree has many store under one key: all go on with one value.
func TestNotesAgree(t *testing.T) {
	t.Parallel()
	var n authkey.Notes
	var group sync.WaitGroup
	agreed := make([]any, 32)
	for i := range agreed {
		group.Go(func() { agreed[i] = n.Store("key", i) })
	}
	group.Wait()
	for i := range agreed {
		if agreed[i] != n.Load("key") {
			t.Errorf("caller %d goes on with %v, others with %v", i, agreed[i], n.Load("key"))
		}
	}
}

func TestNotesLoadAllocatesNothing(t *testing.T) {
	var n authkey.Notes
	key := new(int)
	n.Store(key, t)
	if got := testing.AllocsPerRun(100, func() {
		if n.Load(key) != any(t) {
			t.Error("nothing is kept")
		}
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}
