package keys

import (
	"errors"
	"slices"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/rest"
)

// maxScan is how many pages of the store one call reads at most, where it looks for certain keys.
const maxScan = 10

var keyFilters = []rest.Param{
	rest.EnumParam("state", "Only keys in this state.", authkey.StateActive, authkey.StateDisabled, authkey.StateRevoked),
	rest.TextParam("owner", "Only keys of this owner; where it is empty, of none."),
	rest.EnumParam("kind", "Only keys of this kind.", authkey.KindSecret, authkey.KindPublishable, authkey.KindAdmin),
	rest.TextParam("scope", "Only keys with this scope."),
	rest.TimeParam("expires_before", "Only keys that expire, and do so before this time."),
	rest.TimeParam("unused_since", "Only keys that are older than this time, and none of whose credentials was used from it on, as far as anybody noted."),
}

// asked reports whether a key is one that is looked for.
type asked func(*authkey.Record) bool

// keysIn returns which keys the parameters of a list ask for; nil: all.
func keysIn(q rest.Query) (asked, error) {
	var all []asked
	state, given := q.Given("state")
	if given {
		all = append(all, func(r *authkey.Record) bool { return string(r.State) == state })
		if _, err := rest.OneOf(authkey.StateActive, authkey.StateDisabled, authkey.StateRevoked)(state); err != nil {
			return nil, rest.BadQuery("The query parameter state must be active, disabled or revoked.")
		}
	}
	kind, given := q.Given("kind")
	if given {
		all = append(all, func(r *authkey.Record) bool { return string(r.Kind) == kind })
		if _, err := rest.OneOf(authkey.KindSecret, authkey.KindPublishable, authkey.KindAdmin)(kind); err != nil {
			return nil, rest.BadQuery("The query parameter kind must be secret, publishable or admin.")
		}
	}
	if owner, given := q.Given("owner"); given {
		all = append(all, func(r *authkey.Record) bool { return r.Owner == owner })
	}
	if scope, given := q.Given("scope"); given {
		all = append(all, func(r *authkey.Record) bool { return slices.Contains(r.Scopes, scope) })
	}
	if _, given := q.Given("expires_before"); given {
		before, err := q.Time("expires_before", time.Time{})
		if err != nil {
			return nil, err
		}
		all = append(all, func(r *authkey.Record) bool { return !r.ExpiresAt.IsZero() && r.ExpiresAt.Before(before) })
	}
	if _, given := q.Given("unused_since"); given {
		since, err := q.Time("unused_since", time.Time{})
		if err != nil {
			return nil, err
		}
		all = append(all, func(r *authkey.Record) bool { return unusedSince(r, since) })
	}
	return allOf(all), nil
}

func allOf(all []asked) asked {
	if len(all) == 0 {
		return nil
	}
	return func(r *authkey.Record) bool {
		return !slices.ContainsFunc(all, func(is asked) bool { return !is(r) })
	}
}

// unusedSince does not count a key that did not exist by then: it had no time to be used.
func unusedSince(r *authkey.Record, since time.Time) bool {
	used := slices.ContainsFunc(r.Credentials, func(c authkey.Credential) bool { return !c.LastUsedAt.Before(since) })
	return r.CreatedAt.Before(since) && !used
}

func (s *Resources) listKeys(c *rest.Call) (rest.Reply, error) {
	q, err := c.Query()
	if err != nil {
		return rest.Reply{}, err
	}
	asked, err := keysIn(q)
	if err != nil {
		return rest.Reply{}, err
	}
	at, err := pageIn(q)
	if err != nil {
		return rest.Reply{}, err
	}
	found, err := s.scan(c, c.Project, at, asked)
	if err != nil {
		return rest.Reply{}, err
	}
	return rest.Reply{Body: rest.Map(found, keyOf)}, nil
}

// page is what the parameters of a list say of its pages.
type page struct {
	cursor string
	limit  int
}

func pageIn(q rest.Query) (page, error) {
	limit, err := q.Limit(rest.DefaultPage, authkey.MaxPage)
	cursor, given := q.Given(rest.Cursor.Name)
	if err == nil && given && cursor == "" {
		err = rest.BadCursor()
	}
	return page{cursor, limit}, err
}

// scan returns the keys of a project, or of the whole org, that are asked for. It reads what it still has room for, so
// that its cursor is the store's; and where few keys are asked for, it stops before it has read them all.
func (s *Resources) scan(c *rest.Call, project string, at page, asked asked) (rest.Page[authkey.Record], error) {
	found := rest.Page[authkey.Record]{Next: at.cursor}
	for range maxScan {
		records, next, err := s.Store.List(c.Context(), c.Org, project, found.Next, at.limit-len(found.Items))
		if errors.Is(err, authkey.ErrInvalid) && found.Next != "" {
			return found, rest.BadCursor()
		}
		if err != nil {
			return found, err
		}
		if asked != nil {
			records = slices.DeleteFunc(records, func(r authkey.Record) bool { return !asked(&r) })
		}
		found.Items, found.Next = append(found.Items, records...), next
		if asked == nil || next == "" || len(found.Items) >= at.limit {
			break
		}
	}
	return found, nil
}
