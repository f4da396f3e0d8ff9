package lua_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/bucket"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

// part draws any bytes, and those that mean something in a key.
var part = rapid.OneOf(
	rapid.Custom(func(t *rapid.T) string { return string(rapid.SliceOfN(rapid.Byte(), 0, 6).Draw(t, "bytes")) }),
	rapid.Custom(func(t *rapid.T) string {
		tokens := []string{
			"key", "credential", "audit", "projects", "index", "limit", "epoch", "usage", "mark", "due", "export", "overrides", "keys", "digest", "tg1",
			":", "::", "{", "}", "{}", "{00}", "%", "%3A", "%25", "25", "3A", "00", "a", "\x00", " ", "\n", "ü", "\xff",
		}
		return strings.Join(rapid.SliceOfN(rapid.SampledFrom(tokens), 0, 3).Draw(t, "tokens"), "")
	}),
)

// org is never empty: that is where those without an org are counted.
var org = part.Filter(func(s string) bool { return s != "" })

// builders makes every kind of key from the parts that identify it.
var builders = []struct {
	name  string
	parts []*rapid.Generator[string]
	build func(p []string) string
	ofOrg bool
}{
	{"epoch", []*rapid.Generator[string]{org}, func(p []string) string { return lua.EpochKey(p[0]) }, true},
	{"overrides", []*rapid.Generator[string]{org}, func(p []string) string { return lua.OverridesKey(p[0]) }, true},
	{"keys", []*rapid.Generator[string]{org}, func(p []string) string { return lua.KeyIndexKey(p[0]) }, true},
	{"usage", []*rapid.Generator[string]{org, part}, func(p []string) string { return lua.UsageKey(p[0], p[1]) }, true},
	{"usage mark", []*rapid.Generator[string]{org, part}, func(p []string) string { return lua.UsageMarkKey(p[0], p[1]) }, true},
	{"usage keep", []*rapid.Generator[string]{bucketName}, func(p []string) string { return lua.UsageKeepKey(p[0]) }, false},
	{"usage due", []*rapid.Generator[string]{bucketName}, func(p []string) string { return lua.UsageDueKey(p[0]) }, false},
	{"usage export", []*rapid.Generator[string]{org, part}, func(p []string) string { return lua.UsageExportKey(p[0], p[1]) }, true},
	{
		"limit", []*rapid.Generator[string]{org, part, part, part, part},
		func(p []string) string { return lua.LimitKey(p[0], p[1], p[2], p[3], p[4], lua.Fixed) }, true,
	},
	{
		"anonymous limit", []*rapid.Generator[string]{part, part, part, part},
		func(p []string) string { return lua.AnonymousLimitKey(p[0], p[1], p[2], p[3], lua.Fixed) }, false,
	},
	{"credential", []*rapid.Generator[string]{credentialID}, func(p []string) string {
		key, ok := lua.CredentialKey(p[0])
		if !ok {
			panic("no key for " + p[0])
		}
		return key
	}, false},
	{"record", []*rapid.Generator[string]{credentialID}, func(p []string) string {
		key, ok := lua.RecordKey(p[0])
		if !ok {
			panic("no key for " + p[0])
		}
		return key
	}, false},
	{"projects", []*rapid.Generator[string]{org}, func(p []string) string { return lua.ProjectsKey(p[0]) }, true},
	{"project index", []*rapid.Generator[string]{org}, func(p []string) string { return lua.ProjectIndexKey(p[0]) }, true},
	{"audit", []*rapid.Generator[string]{org}, func(p []string) string { return lua.AuditKey(p[0]) }, true},
	{"idempotency", []*rapid.Generator[string]{org, part}, func(p []string) string { return lua.IdempotencyKey(p[0], p[1]) }, true},
	{"revoked", []*rapid.Generator[string]{org}, func(p []string) string { return lua.RevokedKey(p[0]) }, true},
	{"revoked until", []*rapid.Generator[string]{org}, func(p []string) string { return lua.RevokedUntilKey(p[0]) }, true},
	{"plans", []*rapid.Generator[string]{bucketName}, func(p []string) string { return lua.PlansKey(p[0]) }, false},
	{"plans epoch", []*rapid.Generator[string]{bucketName}, func(p []string) string { return lua.PlansEpochKey(p[0]) }, false},
	{"replicas", []*rapid.Generator[string]{part}, func(p []string) string { return lua.ReplicasKey(p[0]) }, false},
	{"digest", []*rapid.Generator[string]{part}, func(p []string) string { return lua.DigestKey(p[0]) }, false},
	{"proof", []*rapid.Generator[string]{part, part}, func(p []string) string { return lua.ProofKey(p[0], p[1]) }, false},
}

var bucketName = rapid.SampledFrom(slices.Collect(bucket.All()))

var credentialID = rapid.Custom(func(t *rapid.T) string {
	return bucket.Of(part.Draw(t, "bucket")) + part.Filter(func(s string) bool { return s != "" }).Draw(t, "rest")
})

// TestKeysNeverMeet draws two keys of any kinds: equal only where everything that identifies them is.
func TestKeysNeverMeet(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		for range 20 {
			twoKeys(t)
		}
	})
}

func twoKeys(t *rapid.T) {
	type drawn struct {
		kind  int
		parts []string
		key   string
	}
	var all [2]drawn
	for i := range all {
		d := &all[i]
		d.kind = rapid.IntRange(0, len(builders)-1).Draw(t, "kind")
		if i == 1 && rapid.IntRange(0, 2).Draw(t, "a like key") > 0 {
			d.kind, d.parts = all[0].kind, alike(t, all[0].parts)
		}
		for j := len(d.parts); j < len(builders[d.kind].parts); j++ {
			d.parts = append(d.parts, builders[d.kind].parts[j].Draw(t, "part"))
		}
		d.key = builders[d.kind].build(d.parts)
		oneTag(t, builders[d.kind].name, d.key)
	}
	a, b := all[0], all[1]
	same := a.kind == b.kind && slices.Equal(a.parts, b.parts)
	if (a.key == b.key) != same {
		t.Errorf("%s %q gives %q, %s %q gives %q", builders[a.kind].name, a.parts, a.key, builders[b.kind].name, b.parts, b.key)
	}
}

// alike returns parts that a careless key would mix up with those given: some of the same, the same
// bytes cut elsewhere, or a part in the form that escaping gives it.
func alike(t *rapid.T, parts []string) []string {
	switch rapid.IntRange(0, 2).Draw(t, "alike") {
	case 0:
		return slices.Clone(parts[:rapid.IntRange(0, len(parts)).Draw(t, "same")])
	case 1:
		cut := strings.SplitN(strings.Join(parts, ":"), ":", len(parts))
		if cut[0] == parts[0] {
			return cut
		}
	default:
		i := rapid.IntRange(0, len(parts)-1).Draw(t, "escaped")
		escaped := slices.Clone(parts)
		if escaped[i] = lua.Escape(parts[i]); escaped[i] != "" {
			return escaped
		}
	}
	return nil
}

// oneTag checks that a key opens one hash tag, which is a bucket, and holds nothing that hurts a reader.
func oneTag(t *rapid.T, kind, key string) {
	for i := range len(key) {
		if key[i] <= ' ' || key[i] >= 0x7f {
			t.Errorf("%s key %q holds byte %d", kind, key, key[i])
		}
	}
	if kind == "digest" || kind == "proof" {
		if strings.ContainsAny(key, "{}") {
			t.Errorf("%s key %q has a hash tag", kind, key)
		}
		return
	}
	rest, ok := strings.CutPrefix(key, "tg1:{")
	if !ok || len(rest) < 4 || !bucket.Valid(rest[:2]) || rest[2:4] != "}:" || strings.ContainsAny(rest[3:], "{}") {
		t.Errorf("%s key %q, want one hash tag, a bucket", kind, key)
	}
}

func TestEscape(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, out string }{
		{"", ""}, {"acme-1.2_3~/é", "acme-1.2_3~/%C3%A9"}, {"a:b{c}%", "a%3Ab%7Bc%7D%25"}, {" \x00\n\x7f\xff", "%20%00%0A%7F%FF"},
	} {
		if got := lua.Escape(tt.in); got != tt.out {
			t.Errorf("Escape(%q) = %q, want %q", tt.in, got, tt.out)
		}
	}
	for _, bad := range []string{"%", "%2", "a%", "%2g", "%zz", "%ff", "%3a"} {
		if got, ok := lua.Unescape(bad); ok {
			t.Errorf("Unescape(%q) = %q, want it refused", bad, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := part.Draw(t, "a"), part.Draw(t, "b")
		if got, ok := lua.Unescape(lua.Escape(a)); !ok || got != a {
			t.Errorf("Unescape(Escape(%q)) = %q, %t", a, got, ok)
		}
		if (lua.Escape(a) == lua.Escape(b)) != (a == b) {
			t.Errorf("%q and %q meet in %q", a, b, lua.Escape(a))
		}
	})
}

// FuzzUnescape holds that Unescape takes what Escape makes, and from anything else does not panic.
func FuzzUnescape(f *testing.F) {
	for _, seed := range []string{"", "%", "%2", "%25", "a%3Ab", "%zz", "\x00%"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, ok := lua.Unescape(lua.Escape(s)); !ok || got != s {
			t.Errorf("Unescape(Escape(%q)) = %q, %t", s, got, ok)
		}
		if text, ok := lua.Unescape(s); !ok && text != "" {
			t.Errorf("Unescape(%q) = %q, refused", s, text)
		}
	})
}

func TestCredentialKeyWithoutBucket(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"", "0", "00", "64a", "99abc", "x0abc", "0xabc", "abc", "{}abc"} {
		if key, ok := lua.CredentialKey(id); ok || key != "" {
			t.Errorf("CredentialKey(%q) = %q, %t; want none", id, key, ok)
		}
	}
}

// TestOneSlot asks the cluster itself where the keys of an org lie.
func TestOneSlot(t *testing.T) {
	t.Parallel()
	rdb := redistest.Cluster(t)
	rapid.Check(t, func(rt *rapid.T) {
		name := org.Draw(rt, "org")
		var keys []string
		for _, b := range builders {
			if !b.ofOrg {
				continue
			}
			parts := []string{name}
			for _, g := range b.parts[1:] {
				parts = append(parts, g.Draw(rt, "part"))
			}
			keys = append(keys, b.build(parts))
		}
		if key, ok := lua.CredentialKey(bucket.Of(name) + "abc"); ok {
			keys = append(keys, key)
		}
		slots := make([]*redis.IntCmd, len(keys))
		_, err := rdb.Pipelined(t.Context(), func(p redis.Pipeliner) error {
			for i, key := range keys {
				slots[i] = p.ClusterKeySlot(t.Context(), key)
			}
			return nil
		})
		if err != nil {
			rt.Fatalf("CLUSTER KEYSLOT: %v", err)
		}
		for i, slot := range slots {
			if slot.Val() != slots[0].Val() {
				rt.Errorf("%q lies in slot %d, %q in %d", keys[i], slot.Val(), keys[0], slots[0].Val())
			}
		}
	})
}
