package keys

import (
	"errors"
	"strconv"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/rest"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/strict"
)

// maxBulk is how many keys one request revokes at most.
const maxBulk = 200

// bulk is the body of a request to revoke many keys: those that are named, or all that fit.
type bulk struct {
	keys           []string
	project, owner *string
	createdBefore  *time.Time
	reason, cursor *string
	dryRun         bool
}

func (b *bulk) fields() []strict.Field {
	return []strict.Field{
		strict.ParsedTexts("keys", "the id of a key", &b.keys, partOf),
		strict.Parsed("project", "the name of a project", &b.project, pointer(partOf)),
		strict.Parsed("owner", "a string", &b.owner, pointer(asIs)),
		strict.Parsed("created_before", timeWanted, &b.createdBefore, pointer(rest.ParseTime)),
		strict.Parsed("reason", reasonWanted, &b.reason, pointer(reasonOf)),
		strict.Bool("dry_run", &b.dryRun),
		strict.Parsed("cursor", "the next of the answer before, to the same body", &b.cursor, pointer(partOfCursor)),
	}
}

func (b *bulk) validate() error {
	var faults []strict.Fault
	fault := func(pointer, code, message string) {
		faults = append(faults, strict.Fault{Pointer: pointer, Code: code, Message: message})
	}
	chosen := b.project != nil || b.owner != nil || b.createdBefore != nil
	switch {
	case b.keys == nil && !chosen:
		fault("/keys", strict.CodeRequired, "want keys; or project, owner, created_before, or several of them")
	case b.keys != nil && (chosen || b.cursor != nil):
		fault("/keys", strict.CodeValue, "want keys alone, or what they are chosen by")
	case b.keys != nil && (len(b.keys) == 0 || len(b.keys) > maxBulk):
		fault("/keys", strict.CodeValue, "want 1 to "+strconv.Itoa(maxBulk)+" keys")
	}
	if b.reason == nil && !b.dryRun || b.reason != nil && *b.reason == "" {
		fault("/reason", strict.CodeRequired, "want why, in "+reasonWanted)
	}
	if len(faults) > 0 {
		return rest.InvalidFields(faults...)
	}
	return nil
}

// asked leaves out what is revoked already: of many that fit, those are nobody's concern any more.
func (b *bulk) asked(r *authkey.Record) bool {
	return r.State != authkey.StateRevoked && (b.owner == nil || r.Owner == *b.owner) &&
		(b.createdBefore == nil || r.CreatedAt.Before(*b.createdBefore))
}

// revocation is what became of one key.
type revocation struct {
	ID      string `json:"id"`
	Project string `json:"project,omitempty"`
	Name    string `json:"name,omitempty"`
	Owner   string `json:"owner,omitempty"`
	Result  string `json:"result" enum:"revoked,would_revoke,already_revoked,not_found,error" doc:"A dry run says would_revoke."`
	Code    string `json:"code,omitempty" doc:"With error: what is wrong, as in a problem."`
}

// revocations is the answer to a request to revoke many keys.
type revocations struct {
	rest.Page[revocation]

	DryRun bool `json:"dry_run"`
}

func (s *Resources) bulkRevoke(c *rest.Call) (rest.Reply, error) {
	if _, err := c.Query(); err != nil {
		return rest.Reply{}, err
	}
	var body bulk
	if err := c.Body(body.fields()...); err != nil {
		return rest.Reply{}, err
	}
	if err := body.validate(); err != nil {
		return rest.Reply{}, err
	}
	b := bulkRevocation{Resources: s, call: c, body: &body}
	if body.keys != nil {
		for _, id := range body.keys {
			b.named(id)
		}
	} else if err := b.chosen(); err != nil {
		return rest.Reply{}, err
	}
	b.done.DryRun = body.dryRun
	return rest.Reply{Body: b.done}, nil
}

// bulkRevocation is many revocations under way. After a failure to reach the store, it asks it no more.
type bulkRevocation struct {
	*Resources

	call *rest.Call
	body *bulk
	done revocations
	lost error
}

// named revokes a key by its id.
func (b *bulkRevocation) named(id string) {
	if b.lost != nil {
		b.add(revocation{ID: id}, b.lost)
		return
	}
	record, err := b.Issuer.Find(b.call.Context(), b.call.Org, id)
	if errors.Is(err, authkey.ErrUnknown) || errors.Is(err, authkey.ErrInvalid) {
		b.done.Items = append(b.done.Items, revocation{ID: id, Result: "not_found"})
		return
	}
	record.ID = id // also where there is none
	b.revoke(&record, err)
}

// chosen revokes the keys of a page that fit.
func (b *bulkRevocation) chosen() error {
	at, project := page{limit: maxBulk}, ""
	set(&at.cursor, b.body.cursor)
	set(&project, b.body.project)
	found, err := b.scan(b.call, project, at, b.body.asked)
	if err != nil {
		return err
	}
	for i := range found.Items {
		b.revoke(&found.Items[i], b.lost)
	}
	b.done.Items, b.done.Next = append([]revocation{}, b.done.Items...), found.Next
	return nil
}

// revoke revokes a key as it was found, unless that failed.
func (b *bulkRevocation) revoke(record *authkey.Record, err error) {
	shown := revocation{ID: record.ID, Project: record.Project, Name: record.Name, Owner: record.Owner, Result: "revoked"}
	if err == nil && record.State == authkey.StateRevoked {
		shown.Result = "already_revoked"
		b.add(shown, nil)
		return
	}
	if err == nil {
		err = mayAdminister(b.call, record)
	}
	switch {
	case err != nil:
	case b.body.dryRun:
		shown.Result = "would_revoke"
	default:
		if _, err = b.Issuer.SetState(b.call.Context(), b.call.Org, record.ID, 0, authkey.StateRevoked, *b.body.reason); err == nil {
			b.call.Report(rest.Change{Action: "key.revoke", Project: record.Project, ID: record.ID})
		}
	}
	b.add(shown, err)
}

func (b *bulkRevocation) add(shown revocation, err error) {
	if err != nil {
		problem := rest.Explain(err)
		if shown.Result, shown.Code = "error", problem.Code; problem.Status >= 500 {
			b.lost = err
		}
	}
	b.done.Items = append(b.done.Items, shown)
}
