package ratelimit_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2/server"

	"github.com/tollgate-go/tollgate/ratelimit"
)

func TestCheckVersion(t *testing.T) {
	t.Parallel()
	old, safe, valkey, silent := saying(t, "redis_version:7.0.15"), saying(t, "redis_version:8.2.2"),
		saying(t, "redis_version:7.2.4\r\nvalkey_version:8.1.3"), saying(t, "uptime_in_seconds:1")
	for _, tt := range []struct {
		name    string
		servers []string
		is, not error
		texts   []string
	}{
		{"old", []string{old}, ratelimit.ErrOutdated, ratelimit.ErrUnavailable, []string{old, "redis 7.0.15", "7.2.11", "CVE-2025-49844", "who built it"}},
		{"old valkey", []string{valkey}, ratelimit.ErrOutdated, ratelimit.ErrUnavailable, []string{valkey, "valkey 8.1.3", "8.1.4"}},
		{"safe", []string{safe}, nil, nil, nil},
		{"does not tell", []string{silent}, nil, nil, nil},
		{"does not answer", []string{freed(t)}, ratelimit.ErrUnavailable, ratelimit.ErrOutdated, []string{"refused"}},
		{"some", []string{safe, old, silent, valkey}, ratelimit.ErrOutdated, ratelimit.ErrUnavailable, []string{old, valkey}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := ratelimit.CheckVersion(t.Context(), clientOf(t, tt.servers))
			if !errors.Is(err, tt.is) || tt.not != nil && errors.Is(err, tt.not) {
				t.Fatalf("CheckVersion: %v, want %v", err, tt.is)
			}
			for _, text := range tt.texts {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("CheckVersion: %v, want it to hold %q", err, text)
				}
			}
		})
	}
	if err := ratelimit.CheckVersion(t.Context(), nil); err == nil || errors.Is(err, ratelimit.ErrOutdated) {
		t.Errorf("CheckVersion of no client: %v, want an error that says so", err)
	}
}

// saying returns the address of a server that answers INFO with a text, and all else with OK.
func saying(t *testing.T, info string) string {
	t.Helper()
	srv, err := server.NewServer("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	srv.SetPreHook(func(peer *server.Peer, command string, _ ...string) bool {
		switch command {
		case "INFO":
			peer.WriteBulk(info + "\r\n")
		case "HELLO":
			peer.WriteError("ERR unknown command")
		default:
			peer.WriteOK()
		}
		return true
	})
	return srv.Addr().String()
}
