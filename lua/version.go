package lua

import (
	"cmp"
	"fmt"
	"strings"
)

// release is a version of a server.
type release struct{ major, minor, patch int }

func (r release) String() string { return fmt.Sprintf("%d.%d.%d", r.major, r.minor, r.patch) }

func (r release) compare(other release) int {
	return cmp.Or(cmp.Compare(r.major, other.major), cmp.Compare(r.minor, other.minor), cmp.Compare(r.patch, other.patch))
}

// mended are the first releases of each line in which who may run a script cannot break out of Lua by CVE-2025-49844,
// nor by CVE-2025-46817, 46818 and 46819, in order. Lines that are not here were never mended by who makes the server;
// later ones were begun after that.
var mended = map[string][]release{
	"redis":  {{6, 2, 20}, {7, 2, 11}, {7, 4, 6}, {8, 0, 4}, {8, 2, 2}},
	"valkey": {{7, 2, 11}, {8, 0, 6}, {8, 1, 4}},
}

// Outdated returns the version that a server should have at least, where its own is one that lets a script break out of
// Lua (CVE-2025-49844 and others). It returns "" where all is well, and where the server does not tell. It goes by the
// number alone, which does not show what a distribution or a provider mended in a build of its own, as Debian does.
func (m Memory) Outdated() string {
	name, number, _ := strings.Cut(m.Version, " ")
	var is release
	if n, _ := fmt.Sscanf(number, "%d.%d.%d", &is.major, &is.minor, &is.patch); n != 3 {
		return ""
	}
	for _, fix := range mended[name] {
		if is.major == fix.major && is.minor == fix.minor || is.compare(fix) < 0 {
			if is.compare(fix) < 0 {
				return fix.String()
			}
			return ""
		}
	}
	return ""
}
