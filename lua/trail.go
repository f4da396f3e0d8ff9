package lua

import (
	_ "embed"

	"github.com/tollgate-go/tollgate/lua/audit"
)

//go:embed audit.lua
var auditSource string // the first part of each script that makes audited changes

// lineArgs are what a script gives to trail of audit.lua. It always takes three arguments.
func lineArgs(line audit.Line) []any { return []any{line.Text, line.Sum, line.Seal} }
