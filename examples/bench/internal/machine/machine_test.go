package machine_test

import (
	"encoding/json"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/examples/bench/internal/machine"
)

func TestDescribe(t *testing.T) {
	t.Parallel()
	m := machine.Describe("7.0.15")
	if m.CPU == "" || m.Cores != runtime.GOMAXPROCS(0) || !strings.HasPrefix(m.System, runtime.GOOS+"/"+runtime.GOARCH) {
		t.Errorf("Describe = %+v", m)
	}
	for _, part := range []string{m.CPU, "cores", m.System, "Go " + m.Go, "Redis 7.0.15"} {
		if !strings.Contains(m.String(), part) {
			t.Errorf("String = %q, want %q in it", m, part)
		}
	}
	text, err := json.Marshal(m)
	var back machine.Machine
	if err == nil {
		err = json.Unmarshal(text, &back)
	}
	if err != nil || !reflect.DeepEqual(back, m) {
		t.Errorf("JSON there and back = %+v, %v; want %+v", back, err, m)
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	m := machine.Machine{Modules: []string{"example.com/ab v1.0.0", "example.com/a v2.0.0"}}
	for path, want := range map[string]string{"example.com/a": "v2.0.0", "example.com/ab": "v1.0.0", "example.com": ""} {
		if got := m.Version(path); got != want {
			t.Errorf("Version(%q) = %q, want %q", path, got, want)
		}
	}
}
