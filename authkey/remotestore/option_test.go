package remotestore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/remotestore"
)

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	const url = "https://auth.internal/validate"
	for name, row := range map[string]struct {
		url  string
		opt  remotestore.Option
		says string
	}{
		"no URL":              {"", nil, "absolute"},
		"a relative one":      {"/validate", nil, "absolute"},
		"another scheme":      {"ftp://auth.internal", nil, "absolute"},
		"no host":             {"https:///validate", nil, "absolute"},
		"junk":                {"https://%zz" + secret, nil, "absolute"},
		"a password":          {"https://user:" + secret + "@auth.internal", nil, "password"},
		"in clear":            {"http://auth.internal/validate", nil, "WithPlaintext"},
		"a nil transport":     {url, remotestore.WithTransport(nil), "WithTransport(nil)"},
		"no timeout":          {url, remotestore.WithTimeout(0), "WithTimeout(0s)"},
		"a long timeout":      {url, remotestore.WithTimeout(11 * time.Second), "up to 10s"},
		"an empty cache":      {url, remotestore.WithCache(0, time.Second), "WithCache(0"},
		"a long life":         {url, remotestore.WithCache(1, 6*time.Minute), "up to 5m0s"},
		"an empty other one":  {url, remotestore.WithNegativeCache(0, time.Second), "WithNegativeCache(0"},
		"a breaker of none":   {url, remotestore.WithBreaker(0, time.Second), "WithBreaker(0"},
		"a breaker for ever":  {url, remotestore.WithBreaker(1, time.Hour), "up to 5m0s"},
		"a nil request":       {url, remotestore.WithRequest(nil), "WithRequest(nil)"},
		"a nil decoder":       {url, remotestore.WithDecoder(nil), "WithDecoder(nil)"},
		"a nil clock":         {url, remotestore.WithClock(nil), "WithClock(nil)"},
		"tokens of nobody":    {url, remotestore.WithTokens(remotestore.Tokens{}), "Issuer, Audience"},
		"several, all joined": {"http://auth.internal", remotestore.WithTimeout(0), "WithTimeout(0s)"},
	} {
		opts := []remotestore.Option{remotestore.WithTimeout(time.Second)}
		if row.opt != nil {
			opts = append(opts, row.opt)
		}
		a, err := remotestore.New(row.url, opts...)
		is(t, name, err, authkey.ErrInvalid)
		if a != nil || err == nil || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: error %v, want one that says %q", name, err, row.says)
		}
		if err != nil {
			keeps(t, err)
		}
	}
	if _, err := remotestore.New(url, nil); err == nil || !strings.Contains(err.Error(), "option 0: nil") {
		t.Errorf("a nil option: %v", err)
	}
	_, err := remotestore.New("http://auth.internal", remotestore.WithTimeout(0))
	if err == nil || !strings.Contains(err.Error(), "WithPlaintext") || !strings.Contains(err.Error(), "WithTimeout") {
		t.Errorf("error %v, want both faults", err)
	}
	for _, url := range []string{url, "http://localhost:34555", "http://127.0.0.1/validate", "http://[::1]:80/"} {
		if _, err := remotestore.New(url); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	if _, err := remotestore.New("http://auth.internal", remotestore.WithPlaintext()); err != nil {
		t.Error(err)
	}
}
