package lua

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Servers up to Redis 7 tell where a script was when its user was refused, and not what was refused.
var (
	scriptLine   = regexp.MustCompile(`@user_script:(\d+)`)
	calledByName = regexp.MustCompile(`call\('([A-Z]+)'`)
)

// denied adds to an error of the script what its Redis user is to be allowed, where that is what it lacks.
func (s script) denied(err error) error {
	switch said := err.Error(); {
	case strings.Contains(said, "can't run this command"):
		return fmt.Errorf("%w (allow it: ACL SETUSER <user> %s; all that is needed is in lua/tollgate.acl)", err, s.commandsAt(said))
	case strings.Contains(said, "can't access at least one of the keys"), strings.Contains(said, "no permissions to access one of the keys"):
		return fmt.Errorf("%w (allow it: ACL SETUSER <user> ~%s:*)", err, version)
	}
	return err
}

// commandsAt returns those that the line calls which an error names, or "+<command>".
func (s script) commandsAt(said string) string {
	if found := scriptLine.FindStringSubmatch(said); found != nil {
		lines := strings.Split(s.source, "\n")
		if n, err := strconv.Atoi(found[1]); err == nil && n >= 1 && n <= len(lines) {
			var names []string
			for _, call := range calledByName.FindAllStringSubmatch(lines[n-1], -1) {
				names = append(names, "+"+strings.ToLower(call[1]))
			}
			if len(names) > 0 {
				return strings.Join(names, " ")
			}
		}
	}
	return "+<command>"
}
