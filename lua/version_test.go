package lua

import "testing"

func TestOutdated(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{
		"redis 6.2.19": "6.2.20", "redis 6.2.20": "", "redis 6.2.100": "", "redis 6.0.16": "6.2.20", "redis 5.0.14": "6.2.20",
		"redis 7.0.15": "7.2.11", "redis 7.2.10": "7.2.11", "redis 7.2.11": "", "redis 7.4.5": "7.4.6", "redis 7.4.6": "",
		"redis 8.0.3": "8.0.4", "redis 8.0.4": "", "redis 8.2.1": "8.2.2", "redis 8.2.2": "", "redis 8.4.0": "", "redis 10.0.0": "",
		"valkey 7.2.10": "7.2.11", "valkey 7.2.11": "", "valkey 8.0.5": "8.0.6", "valkey 8.0.6": "", "valkey 8.1.3": "8.1.4",
		"valkey 8.1.4": "", "valkey 9.0.0": "", "redis 8.1.4": "8.2.2",
		"": "", "redis": "", "redis seven": "", "redis 7.0": "", "another 1.0.0": "",
	} {
		if got := (Memory{Version: version}).Outdated(); got != want {
			t.Errorf("Outdated of %q = %q, want %q", version, got, want)
		}
	}
}
