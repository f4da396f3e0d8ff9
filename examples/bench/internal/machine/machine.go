// Package machine tells what a benchmark ran on: its figures mean nothing without that.
//
//	m := machine.Describe(redisVersion)
//	fmt.Println(m) // a few lines
package machine

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
)

// Machine is what a benchmark ran on. The zero Machine is one that nobody knows.
type Machine struct {
	CPU     string   `json:"cpu"`   // the model
	Cores   int      `json:"cores"` // that this process may use
	System  string   `json:"system"`
	Go      string   `json:"go"`
	Redis   string   `json:"redis"`
	Modules []string `json:"modules"` // "path version" of each that is linked in
}

// Describe looks at this machine and at this program. What it cannot find out is "unknown" or left out. The version of
// Redis is as INFO server tells it.
func Describe(redis string) Machine {
	m := Machine{
		CPU: "unknown", Cores: runtime.GOMAXPROCS(0), System: runtime.GOOS + "/" + runtime.GOARCH,
		Go: strings.TrimPrefix(runtime.Version(), "go"), Redis: redis,
	}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if model := field(string(text), "model name"); model != "" {
			m.CPU = model
		}
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		version, _, _ := strings.Cut(strings.TrimSpace(string(release)), "-") // what follows is of who built it
		m.System += ", kernel " + version
	}
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range build.Deps {
			m.Modules = append(m.Modules, dep.Path+" "+dep.Version)
		}
	}
	return m
}

// field returns the first value of a name in lines of "name : value".
func field(text, name string) string {
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// Version returns the version of a module that is linked in, or "" if none of that path is.
func (m Machine) Version(path string) string {
	for _, module := range m.Modules {
		if name, version, _ := strings.Cut(module, " "); name == path {
			return version
		}
	}
	return ""
}

// String returns a line of what it is, without the modules.
func (m Machine) String() string {
	return fmt.Sprintf("%s, %d cores, %s, Go %s, Redis %s", m.CPU, m.Cores, m.System, m.Go, m.Redis)
}
