package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/cli"
	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

// verify returns what a new replica of the service says to whoever presents a secret.
func (s *service) verify(t *testing.T, secret string) error {
	t.Helper()
	verifier, err := s.verifier()
	if err != nil {
		t.Fatalf("authkey.New: %v", err)
	}
	_, err = verifier.Authenticate(t.Context(), authkey.NewPresented(secret))
	return err
}

// create issues a key of the project shop, and returns it with its secret.
func (s *service) create(t *testing.T, flags string) (id, secret string) {
	t.Helper()
	key := s.object(t, "", "keys create --project shop "+flags)
	id, secret = key["id"].(string), key["secret"].(string)
	if err := s.verify(t, secret); err != nil {
		t.Fatalf("the secret of a new key: %v", err)
	}
	return id, secret
}

func TestLifeOfAKey(t *testing.T) {
	onEach(t, func(t *testing.T, s *service) {
		id, first := s.create(t, "--name ci --owner me --scopes search,read --networks 192.0.2.0/24 --meta team=x --for 30d")
		o := s.call(t, cli.Done, "", "keys list --project shop --owner me --state active --expires-before +60d")
		contains(t, "stdout", o.stdout, id, "ci", "search,read", "(in 29d)")
		if got := s.items(t, "keys list --project shop --owner other"); len(got) != 0 {
			t.Errorf("the filters find %v", got)
		}
		changed := s.object(t, "", "keys change --project shop "+id+" --name cd --meta team --networks=")
		if changed["name"] != "cd" || len(changed["meta"].(map[string]any)) != 0 || len(changed["networks"].([]any)) != 0 {
			t.Errorf("it was changed to %v", changed)
		}
		s.call(t, cli.Conflict, "", "keys change --project shop "+id+" --name ce --if-match 1")
		s.call(t, cli.Done, "", "keys change --project shop "+id+" --name ce --if-match "+revision(changed))

		s.call(t, cli.Done, "", "keys disable --project shop "+id+" --reason odd")
		if err := s.verify(t, first); !errors.Is(err, authkey.ErrDisabled) {
			t.Errorf("after keys disable: %v", err)
		}
		s.call(t, cli.Done, "", "keys enable --project shop "+id)
		if err := s.verify(t, first); err != nil {
			t.Errorf("after keys enable: %v", err)
		}

		second := strings.TrimSpace(s.call(t, cli.Done, "", "keys rotate --project shop --secret-only --overlap 1h "+id).stdout)
		if a, b := s.verify(t, first), s.verify(t, second); a != nil || b != nil {
			t.Errorf("within the overlap: %v, %v", a, b)
		}
		third := strings.TrimSpace(s.call(t, cli.Done, "", "keys rotate --project shop --secret-only --now "+id).stdout)
		if a, b, c := s.verify(t, first), s.verify(t, second), s.verify(t, third); a == nil || b == nil || c != nil {
			t.Errorf("after keys rotate --now: %v, %v, %v", a, b, c)
		}
		found := s.object(t, third+"\n", "keys lookup")
		if found["id"] != id || found["credential"] == id {
			t.Errorf("keys lookup finds %v", found)
		}
		s.call(t, cli.NotFound, third[:len(third)-1]+"\n", "keys lookup")
		o = s.call(t, cli.Done, "", "keys show --project shop "+id)
		contains(t, "stdout", o.stdout, "credentials", found["credential"].(string), "SUPERSEDED_AT")
		if strings.Contains(o.stdout, third) {
			t.Errorf("keys show tells the secret: %s", o.stdout)
		}
		s.call(t, cli.Done, "", "keys revoke-credential --project shop "+id+" "+found["credential"].(string)+" --reason leaked")
		if err := s.verify(t, third); err == nil {
			t.Error("a revoked credential passes")
		}
		contains(t, "stderr", s.call(t, cli.Done, "", "keys revoke --project shop "+id+" --reason leaked").stderr, "revoked\n")
		contains(t, "stderr", s.call(t, cli.Done, "", "keys revoke --project shop "+id).stderr, "was revoked already")
		s.call(t, cli.Conflict, "", "keys enable --project shop "+id)
		s.call(t, cli.NotFound, "", "keys show --project other "+id)
		s.call(t, cli.NotFound, "", "keys revoke --project other "+id)
	})
}

func TestRepeatedCreate(t *testing.T) {
	onEach(t, func(t *testing.T, s *service) {
		line := "keys create --project shop --name ci --until never --idempotency-key once"
		key := s.object(t, "", line)
		o := s.call(t, cli.Conflict, "", line)
		contains(t, "stderr", o.stderr, "secret_already_issued", "key: "+key["id"].(string))
		if strings.Contains(o.stdout+o.stderr, key["secret"].(string)) {
			t.Errorf("a repeat tells the secret: %s", o.stderr)
		}
		o = s.call(t, cli.Failed, "", line+" --owner me")
		contains(t, "stderr", o.stderr, "idempotency_mismatch")
		if got := s.items(t, "keys list --project shop"); len(got) != 1 {
			t.Errorf("there are %d keys", len(got))
		}
	})
}

func TestBulkRevokeOfAService(t *testing.T) {
	onEach(t, func(t *testing.T, s *service) {
		mine, a := s.create(t, "--owner me")
		_, b := s.create(t, "--owner me")
		_, other := s.create(t, "--owner other")
		o := s.call(t, cli.Failed, "", "keys bulk-revoke --owner me")
		contains(t, "stdout", o.stdout, mine, "would_revoke")
		if a, b := s.verify(t, a), s.verify(t, b); a != nil || b != nil {
			t.Errorf("without --yes: %v, %v", a, b)
		}
		o = s.call(t, cli.Done, "", "keys bulk-revoke --owner me --reason leaked --yes")
		if strings.Count(o.stdout, " revoked") != 2 {
			t.Errorf("it says %s", o.stdout)
		}
		if a, b, other := s.verify(t, a), s.verify(t, b), s.verify(t, other); a == nil || b == nil || other != nil {
			t.Errorf("with --yes: %v, %v, %v", a, b, other)
		}
		s.call(t, cli.Done, "", "keys bulk-revoke --reason leaked --yes "+mine)
		o = s.call(t, cli.Failed, "", "keys bulk-revoke --reason leaked --yes never-issued")
		contains(t, "stderr", o.stderr, "1 were not revoked")
	})
}

func TestProjectsOfAService(t *testing.T) {
	onEach(t, func(t *testing.T, s *service) {
		s.call(t, cli.NotFound, "", "projects show shop")
		_, secret := s.create(t, "")
		s.call(t, cli.Done, "", "projects show shop")
		s.call(t, cli.Done, "", "projects suspend shop --reason unpaid")
		if err := s.verify(t, secret); !errors.Is(err, authkey.ErrSuspended) {
			t.Errorf("after projects suspend: %v", err)
		}
		contains(t, "stdout", s.call(t, cli.Done, "", "projects list").stdout, "shop", "suspended", "unpaid")
		s.call(t, cli.Done, "", "projects suspend shop --reason unpaid")
		set := s.object(t, "", "projects activate shop")
		if err := s.verify(t, secret); err != nil {
			t.Errorf("after projects activate: %v", err)
		}
		s.call(t, cli.Conflict, "", "projects set shop --plan gold --if-match 1")
		set = s.object(t, "", "projects set shop --plan gold --if-match "+revision(set))
		if set["plan"] != "gold" || set["state"] != "active" {
			t.Errorf("it was set to %v", set)
		}
		s.call(t, cli.Done, "", "projects suspend empty") // before it has a key
		if got := s.object(t, "", "projects show empty"); got["state"] != "suspended" {
			t.Errorf("it was set to %v", got)
		}
	})
}

func TestAuditOfAService(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		s := newService(t, rdb)
		contains(t, "stderr", s.call(t, cli.Done, "", "audit verify").stderr, "there is no trail")
		id, secret := s.create(t, "--name ci")
		s.call(t, cli.Done, "", "overrides set --project shop --limit 1 --for 24h")
		head := s.object(t, "", "audit verify")["head"].(map[string]any)
		anchor := " --link " + head["link"].(string) + " --seq " + revision(map[string]any{"revision": head["seq"]})
		s.call(t, cli.Done, "", "keys revoke --project shop "+id+" --reason leaked")
		o := s.call(t, cli.Done, "", "audit list")
		contains(t, "stdout", o.stdout, "ops", "override.set", "key.revoke", id, "leaked")
		if strings.Contains(o.stdout, secret) {
			t.Errorf("the trail has the secret: %s", o.stdout)
		}
		all := s.items(t, "audit list --order oldest")
		if len(all) != 3 || all[2]["action"] != "key.revoke" || all[2]["actor"] != "ops" {
			t.Fatalf("the trail is %v", all)
		}
		if got := s.items(t, "audit list --id "+id+" --action key.revoke --actor ops --from -1h"); len(got) != 1 {
			t.Errorf("the filters find %v", got)
		}
		o = s.call(t, cli.Done, "", "audit verify"+anchor)
		contains(t, "stdout", o.stdout, "ok", "true", "entries")

		entries, err := rdb.XRange(t.Context(), lua.AuditKey(s.org), "-", "+").Result()
		if err != nil || len(entries) != 3 {
			t.Fatalf("XRANGE: %d entries, %v", len(entries), err)
		}
		if err := rdb.XDel(t.Context(), lua.AuditKey(s.org), entries[1].ID).Err(); err != nil {
			t.Fatalf("XDEL: %v", err)
		}
		o = s.call(t, cli.Broken, "", "audit verify")
		contains(t, "stderr", o.stderr, "the audit trail is broken: ")
		contains(t, "stdout", o.stdout, "broken_at", "2")
		s.call(t, cli.Broken, "", "--json audit verify"+anchor)
	})
}
