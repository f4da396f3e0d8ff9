package legacy_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/legacy"
)

// system is how another system hands out and keeps a key. The hashes were made with other programs.
type system struct {
	name      string
	of        func(legacy.Lookup) *legacy.Scheme
	key       string
	reference string
	hash      string
	shapeless []string // what never reaches the table
}

const (
	random  = "Xy3Zk9QpLmN4vBt7RwSd2FgHjK8eUcAaQ1oPiT5M"
	crc     = "2a987538"
	ofPlain = "2c1b48c002f4cd36004b8473fd235127e12c866dd30be8129371818624ddef79"
	ofCoded = "LBtIwAL0zTYAS4Rz/SNRJ+Eshm3TC+gSk3GBhiTd73k="
)

func systems() []system {
	inHex := func(l legacy.Lookup) *legacy.Scheme { return legacy.SHA256("shop_", hex.EncodeToString, l) }
	inBase64 := func(l legacy.Lookup) *legacy.Scheme {
		return legacy.SHA256("", base64.StdEncoding.EncodeToString, l)
	}
	return []system{
		{"sha256 hex", inHex, "shop_5f2c9f0e7ab14d0c9a", ofPlain, ofPlain, []string{"shop_", "Shop_5f2c9f0e7ab14d0c9a", "5f2c9f0e7ab14d0c9a0000000"}},
		{"sha256 base64", inBase64, "shop_5f2c9f0e7ab14d0c9a", ofCoded, ofCoded, nil},
		{
			"sanctum, first", legacy.Sanctum, "17|" + random, "17", "c9cc89f85b4fe61558a3d9cc835b11548b70d97bfca3f699c5a09a1a0de45e0d",
			[]string{random, "|" + random, "1;7|" + random, "17|" + random[1:], "17|" + random + "2a987539", "17|" + random + strings.ToUpper(crc), "17|" + random[1:] + "-", "017|" + random, "0|" + random, strings.Repeat("1", 37) + "|" + random},
		},
		{"sanctum, with a checksum", legacy.Sanctum, "17|" + random + crc, "17", "60dd817c5b95f32587dd0b56259b04d7a402cb607cc54b6bc5b40085babfaadb", nil},
		{
			"sanctum, with a prefix", legacy.Sanctum, "9c858901-8a57-4791-81fe-4c455b099bc9|acme_" + random + crc,
			"9c858901-8a57-4791-81fe-4c455b099bc9", "6c1be03b25a0b2924c423b1fb18e3c1e1869902915010d2445756bdbbcb1a9ca", nil,
		},
		{
			"drf", legacy.DRFAPIKey, "Ab3dEf6H.0123456789abcdefghijABCDEFGHIJxy", "Ab3dEf6H",
			"sha512$$1791f3a8225ae5e080e3094643b8f18195dcb019cc101aae83c78f94ec17520a01516f8c7e7c617cc5f82609f6f135512b4ef6d2885bcab933f39738b36460a4",
			[]string{"Ab3dEf6H-0123456789abcdefghijABCDEFGHIJxy", "Ab3dEf6.0123456789abcdefghijABCDEFGHIJxyz", "Ab3dEf6H.0123456789abcdefghijABCDEFGHIJx_", "Ab3dEf6H.0123456789abcdefghijABCDEFGHIJxyz"},
		},
		{
			"unkey, with a prefix", legacy.Unkey, "api_v2_3ZbM9Qw8RtYpLkJhGfDsAa", "GsiG67IFHH6fA6kWyJDTV2a+UUNASv8ueubIwixzCNg=", "GsiG67IFHH6fA6kWyJDTV2a+UUNASv8ueubIwixzCNg=",
			[]string{"api_3ZbM9Qw8RtYpLkJhGfDsA0", "3ZbM9Qw8RtYpLkJhGfDsAa_api", "api_3ZbM9Qw8"},
		},
		{"unkey", legacy.Unkey, "3ZbM9Qw8RtYpLkJhGfDsAa", "ocKhmBUbdTB8D3enc7mbbdos3LuEJnNihSeFcTh6ksI=", "ocKhmBUbdTB8D3enc7mbbdos3LuEJnNihSeFcTh6ksI=", nil},
	}
}

func (s *system) service() (*service, *legacy.Scheme) {
	service := newService()
	key := ofShop
	key.Source = "keys 17"
	service.old.rows = map[string]legacy.Row{s.reference: {Hash: legacy.Hash(s.hash), Key: key}}
	return service, s.of(service.old.lookup)
}

func TestSchemes(t *testing.T) {
	t.Parallel()
	for _, system := range systems() {
		t.Run(system.name, func(t *testing.T) {
			t.Parallel()
			service, scheme := system.service()
			first := service.replica(t, nil, scheme)
			key := authkey.NewPresented(system.key)
			if identity := first.opens(t, "first", key); identity.Org != "demo" || identity.Project != "shop" || identity.Method != "key" {
				t.Errorf("identity %+v", identity)
			}
			first.opens(t, "again", key)
			service.replica(t, nil, scheme).opens(t, "another replica", key)
			service.asked(t, "once moved", 1)
			stored := service.records(t)[0].Credentials[0]
			if !stored.Foreign || stored.PepperVersion != "v1" {
				t.Errorf("the credential is stored under pepper %q, foreign %t", stored.PepperVersion, stored.Foreign)
			}

			for _, wrong := range []string{system.key[:len(system.key)-1] + "7", system.key + "7", system.key + system.key} {
				first.refuses(t, "another secret", authkey.NewPresented(wrong), authkey.ErrUnknown)
			}
			if n := len(service.records(t)); n != 1 {
				t.Errorf("%d records, want 1", n)
			}
			before := service.old.asked.Load()
			for _, junk := range system.shapeless {
				first.refuses(t, "another form", authkey.NewPresented(junk), authkey.ErrUnknown)
			}
			service.asked(t, "after keys of other forms", before)
		})
	}
}

// What the table holds opens nothing, in whatever way a caller dresses it.
func TestStoredHashIsNoKey(t *testing.T) {
	t.Parallel()
	for _, system := range systems() {
		t.Run(system.name, func(t *testing.T) {
			t.Parallel()
			for _, moved := range []bool{false, true} {
				service, scheme := system.service()
				r := service.replica(t, nil, scheme, legacy.SHA256("", hex.EncodeToString, service.old.lookup).Named("any"))
				if moved {
					r.opens(t, "the key", authkey.NewPresented(system.key))
				}
				hash := strings.TrimPrefix(system.hash, "sha512$$")
				for n, text := range []string{system.hash, hash, "shop_" + hash, "17|" + hash, system.reference + "|" + hash, "Ab3dEf6H." + hash, "Ab3dEf6H." + hash[:32], system.reference} {
					r.refuses(t, fmt.Sprintf("dress %d", n), authkey.NewPresented(text), authkey.ErrUnknown)
				}
				want := 0
				if moved {
					want = 1
				}
				if n := len(service.records(t)); n != want {
					t.Errorf("moved %t: %d records, want %d", moved, n, want)
				}
			}
		})
	}
}

// A hash that the scheme's system does not write says nothing of the key.
func TestHashOfAnotherForm(t *testing.T) {
	t.Parallel()
	for _, system := range systems() {
		t.Run(system.name, func(t *testing.T) {
			t.Parallel()
			for _, hash := range []string{"", system.hash[1:], strings.ToUpper(system.hash), "pbkdf2_sha256$260000$salt$aGFzaA==", system.key, strings.Repeat("h", 2000)} {
				service, scheme := system.service()
				row := service.old.rows[system.reference]
				row.Hash = legacy.Hash(hash)
				service.old.rows[system.reference] = row
				r := service.replica(t, nil, scheme)
				key := authkey.NewPresented(system.key)
				r.refuses(t, "a hash of another form", key, authkey.ErrUnavailable)
				if _, err := r.Authenticate(t.Context(), key); hash != "" && strings.Contains(err.Error(), hash) {
					t.Errorf("error %q tells the hash", err)
				}
			}
		})
	}
}

func TestCustom(t *testing.T) {
	t.Parallel()
	service := newService()
	key := ofShop
	key.Source = "slow 3"
	service.old.rows = map[string]legacy.Row{"3": {Hash: "slow:secretsecretsecret", Key: key}}
	compares := 0
	scheme := legacy.Custom("bcrypt", func(key string) (string, bool) { id, _, ok := strings.Cut(key, "~"); return id, ok },
		func(_ context.Context, key authkey.Presented, hash legacy.Hash) (bool, error) {
			compares++
			_, secret, _ := strings.Cut(key.Reveal(), "~")
			if secret == "broken-broken-broken" {
				return false, errors.New("bcrypt: odd version")
			}
			return "slow:"+secret == string(hash), nil
		}, service.old.lookup)
	r := service.replica(t, nil, scheme, legacy.WithRate(1000, 3))
	good := authkey.NewPresented("3~secretsecretsecret")
	r.opens(t, "first", good)
	r.opens(t, "again", good)
	if compares != 1 {
		t.Errorf("%d compares, want 1", compares)
	}
	r.refuses(t, "a compare that fails", authkey.NewPresented("3~broken-broken-broken"), authkey.ErrUnavailable)
	r.refuses(t, "no row", authkey.NewPresented("4~secretsecretsecret"), authkey.ErrUnknown)
	if compares != 2 {
		t.Errorf("%d compares, want 2", compares)
	}
	r.refuses(t, "a wrong secret", authkey.NewPresented("3~guess-0000000000"), authkey.ErrUnknown)
	for n := range 20 {
		r.refuses(t, "over the rate", authkey.NewPresented(fmt.Sprintf("3~guess-%010d", n+1)), authkey.ErrUnavailable)
	}
	if got := r.Stats().Schemes["bcrypt"]; compares != 3 || got.Throttled != 20 {
		t.Errorf("%d compares, counts %+v; want 3 and 20 throttled", compares, got)
	}
	r.opens(t, "a key that has moved, meanwhile", good)
}

func TestHashPrintsNothing(t *testing.T) {
	t.Parallel()
	row := legacy.Row{Hash: "5ec2e7"}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("row", "hash", row.Hash)
	text, err := json.Marshal(row.Hash)
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{
		fmt.Sprintf("%v %+v %#v %s", row, row, row, row), fmt.Sprintf("%x %q %d", row.Hash, row.Hash, row.Hash),
		row.Hash.String(), log.String(), string(text),
	} {
		if strings.Contains(got, "5ec2e7") || strings.Contains(got, "356563326537") || !strings.Contains(got, "[redacted]") {
			t.Errorf("it prints %q", got)
		}
	}
}

// Whatever a caller sends, the schemes of other systems neither panic nor fail.
func FuzzSchemes(f *testing.F) {
	for _, system := range systems() {
		f.Add(system.key)
	}
	s := newService()
	r := s.replica(f, nil, legacy.SHA256("s", hex.EncodeToString, s.old.lookup), legacy.Sanctum(s.old.lookup), legacy.DRFAPIKey(s.old.lookup),
		legacy.Unkey(s.old.lookup), legacy.WithRate(100_000, 1))
	f.Fuzz(func(t *testing.T, key string) {
		s.clock.advance(time.Millisecond)
		_, err := r.Authenticate(t.Context(), authkey.NewPresented(key))
		if !errors.Is(err, authkey.ErrUnknown) && !errors.Is(err, authkey.ErrMalformed) && !errors.Is(err, authkey.ErrUnavailable) {
			t.Errorf("an empty table: %v", err)
		}
		for name, counts := range r.Stats().Schemes {
			if counts.Failed != 0 || counts.Upgraded != 0 {
				t.Errorf("%s: %+v", name, counts)
			}
		}
	})
}
