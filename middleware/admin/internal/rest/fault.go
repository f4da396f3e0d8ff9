package rest

import (
	"strconv"
	"strings"

	"github.com/tollgate-go/tollgate/middleware/admin/internal/strict"
)

// names are what fields of ratelimit.Override, ratelimit.Plan and authkey.Record, and arguments of revocation.Store, are
// called in a body.
var names = map[string]string{
	"Project": "project", "Endpoint": "endpoint", "Policy": "policy", "Limit": "limit", "Window": "window", "Reason": "reason",
	"Burst": "burst", "Access": "access", "Change": "change", "StartsAt": "starts_at",
	"Rules": "rules", "ExpiresAt": "expires_at", "NotBefore": "not_before", "Name": "name", "Kind": "kind", "Owner": "owner", "Plan": "plan", "State": "state", "Networks": "networks", "Origins": "origins", "Meta": "meta", "Overlap": "overlap", "Scopes": "scopes", "Products": "products",
	"before": "before", "expiresAt": "expires_at",
}

// faultsOf tells which fields an ErrInvalid is about: it has a line for each fault, such as "ratelimit:
// invalid override: Limit -1 must be 0 to 999". A line of another form is about the whole body.
func faultsOf(err error) []strict.Fault {
	var faults []strict.Fault
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if len(faults) == strict.MaxFaults {
			break
		}
		for _, before := range [...]string{"override: ", "plan: ", "record: ", "revocation: "} {
			if _, after, ok := strings.Cut(line, before); ok {
				line = after
			}
		}
		at, line := ruleOf(line)
		words := strings.Split(line, " ")
		fault := strict.Fault{Pointer: at, Code: strict.CodeValue}
		for i, word := range words {
			field, punctuation := strings.TrimRight(word, ",:"), strings.TrimLeft(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
			name, ok := names[field]
			if !ok {
				continue
			}
			if words[i] = name + punctuation; i == 0 && punctuation != "," && (len(words) < 2 || words[1] != "or") {
				fault.Pointer = at + "/" + name
			}
		}
		fault.Message = strings.Join(words, " ")
		faults = append(faults, fault)
	}
	return faults
}

// ruleOf cuts which rule of a plan a line is about, as in "rule 2: Limit -1 must be 0 to 999".
func ruleOf(line string) (pointer, rest string) {
	after, ok := strings.CutPrefix(line, "rule ")
	i, rest, found := strings.Cut(after, ": ")
	if _, err := strconv.Atoi(i); !ok || !found || err != nil {
		return "", line
	}
	return "/rules/" + i, rest
}
