package dpop_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer/dpop"
)

// silent dials a server that reads nothing and says nothing.
func silent(context.Context, string, string) (net.Conn, error) {
	client, _ := net.Pipe()
	return client, nil
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		origins []string
		opt     dpop.Option
		says    string
	}{
		"no origin":             {nil, nil, "no origin"},
		"an empty origin":       {[]string{""}, nil, `origin ""`},
		"a bare host":           {[]string{"api.example.com"}, nil, "want a scheme"},
		"a path":                {[]string{origin + "/v1"}, nil, "want a scheme"},
		"a query":               {[]string{origin + "?a"}, nil, "want a scheme"},
		"a user":                {[]string{"https://me@api.example.com"}, nil, "want a scheme"},
		"a wildcard":            {[]string{"https://*.example.com"}, nil, "want a scheme"},
		"another scheme":        {[]string{"ftp://api.example.com"}, nil, "want a scheme"},
		"a port that is none":   {[]string{origin + ":http"}, nil, "want a scheme"},
		"a port out of bounds":  {[]string{origin + ":443000"}, nil, "want a scheme"},
		"a zone":                {[]string{"https://[fe80::1%25eth0]"}, nil, "want a scheme"},
		"IPv4 in brackets":      {[]string{"https://[127.0.0.1]"}, nil, "want a scheme"},
		"in clear":              {[]string{"http://api.example.com"}, nil, "want https"},
		"in clear, like here":   {[]string{"http://localhost.example.com"}, nil, "want https"},
		"one of two":            {[]string{origin, "http://10.0.0.1"}, nil, "10.0.0.1"},
		"a nil option":          {[]string{origin}, nil, "option 1: nil"},
		"no algorithm":          {[]string{origin}, dpop.WithAlgorithms(), "WithAlgorithms()"},
		"a secret's algorithm":  {[]string{origin}, dpop.WithAlgorithms("ES256", "HS256"), `"HS256"`},
		"none":                  {[]string{origin}, dpop.WithAlgorithms("none"), `"none"`},
		"nothing back":          {[]string{origin}, dpop.WithWindow(0, 0), "WithWindow(0s"},
		"long back":             {[]string{origin}, dpop.WithWindow(11*time.Minute, 0), "1s to 10m0s back"},
		"behind ahead":          {[]string{origin}, dpop.WithWindow(time.Minute, -1), "0 to 5m0s ahead"},
		"long ahead":            {[]string{origin}, dpop.WithWindow(time.Minute, 6*time.Minute), "0 to 5m0s ahead"},
		"a nil secret":          {[]string{origin}, dpop.WithNonces(nil, time.Minute), "WithNonces(0 bytes"},
		"a short secret":        {[]string{origin}, dpop.WithNonces(secret[:31], time.Minute), "WithNonces(31 bytes"},
		"a short life":          {[]string{origin}, dpop.WithNonces(secret, time.Second), "a life of 10s to 1h0m0s"},
		"a long life":           {[]string{origin}, dpop.WithNonces(secret, 2*time.Hour), "a life of 10s to 1h0m0s"},
		"no logger":             {[]string{origin}, dpop.WithLogger(nil), "WithLogger(nil)"},
		"no timeout":            {[]string{origin}, dpop.WithTimeout(0), "WithTimeout(0s)"},
		"a long timeout":        {[]string{origin}, dpop.WithTimeout(time.Minute), "up to 10s"},
		"a nil clock":           {[]string{origin}, dpop.WithClock(nil), "WithClock(nil)"},
		"two things, of two":    {nil, dpop.WithTimeout(0), "no origin"},
		"two things, the other": {nil, dpop.WithTimeout(0), "WithTimeout(0s)"},
	} {
		opts := []dpop.Option{dpop.WithTimeout(time.Second)}
		if row.opt != nil || name == "a nil option" {
			opts = append(opts, row.opt)
		}
		v, err := dpop.New(nobody(t), row.origins, opts...)
		if v != nil || !errors.Is(err, authkey.ErrInvalid) || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v, want one that says %q", name, err, row.says)
		}
		if err != nil && strings.Contains(err.Error(), "secret..") {
			t.Errorf("%s: the error tells the secret: %v", name, err)
		}
	}
	for _, rdb := range []redis.UniversalClient{nil, (*redis.Client)(nil)} {
		if _, err := dpop.New(rdb, []string{origin}); !errors.Is(err, authkey.ErrInvalid) || !strings.Contains(err.Error(), "client is nil") {
			t.Errorf("a nil client: %v", err)
		}
	}
}
