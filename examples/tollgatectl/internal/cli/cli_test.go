package cli_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/cli"
	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/client"
)

var now = time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)

// run calls a command line of one command, which writes down what it was called with.
func run(args ...string) (code int, got string, stderr string) {
	var errs, out strings.Builder
	env := cli.Env{
		Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Now: func() time.Time { return now },
		Getenv: func(name string) string {
			return map[string]string{"TOLLGATE_ADMIN_URL": "https://example.com", "TOLLGATE_ADMIN_TOKEN": "t"}[name]
		},
	}
	code = cli.Main(context.Background(), env, args, []cli.Command{{
		Name: "do it", Args: "[WHAT...]", Brief: "do it", Needs: cli.NeedsOrg,
		Prepare: func(f *cli.Flags) cli.Action {
			body := cli.Fields{}
			f.TextField(body, "text", "text", "a `text`")
			on := f.Bool("on", false, "on")
			return func(_ context.Context, c *cli.Call) error {
				got = fmt.Sprintf("%s/%s %v %v %q", c.Org, c.Project, body, *on, c.Args)
				return nil
			}
		},
	}})
	return code, got, errs.String()
}

// Flags stand anywhere.
func TestOrderOfWords(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"--org o do it":                          `o/ map[] false []`,
		"do it --org o":                          `o/ map[] false []`,
		"--org x do it --org o":                  `o/ map[] false []`,
		"--org o do it a --on b --text t c":      `o/ map[text:t] true ["a" "b" "c"]`,
		"--org=o do it --text=t -on a":           `o/ map[text:t] true ["a"]`,
		"--org o --project p do it -- --on -a":   `o/p map[] false ["--on" "-a"]`,
		"--org o do it a -- b --on":              `o/ map[] false ["a" "b" "--on"]`,
		"--org o do it a --text -- b":            `o/ map[text:--] false ["a" "b"]`,
		"--org o do it --text --on --on":         `o/ map[text:--on] true []`,
		"--org o --yes --json do it do it":       `o/ map[] false ["do" "it"]`,
		"--timeout 1m --org o do it -on=false -": `o/ map[] false ["-"]`,
	} {
		if code, got, stderr := run(strings.Fields(line)...); code != cli.Done || got != want {
			t.Errorf("%s: %d, %s, want %s; %s", line, code, got, want, stderr)
		}
	}
	for _, line := range []string{"--on do it --org o", "do --org o it", "do it", "do it --org o --text", "do it --org o -on=maybe"} {
		if code, got, stderr := run(strings.Fields(line)...); code != cli.Misused || got != "" || stderr == "" {
			t.Errorf("%s: %d, %s, %s", line, code, got, stderr)
		}
	}
}

func TestParseDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "24h": 24 * time.Hour, "1h30m": 90 * time.Minute, "7d": 168 * time.Hour, "2w": 336 * time.Hour, "0s": 0, "0d": 0,
		"106751d": 106751 * 24 * time.Hour,
	} {
		if got, err := cli.ParseDuration(text); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "d", "7", "-1h", "-7d", "+-7d", "1.5d", "106752d", "15251w", "99999999999999999999d", "1d2h", "never"} {
		if got, err := cli.ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %v", text, got)
		}
	}
}

func TestParseTime(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"now":                       "2026-11-21T08:00:00Z",
		"+24h":                      "2026-11-22T08:00:00Z",
		"-7d":                       "2026-11-14T08:00:00Z",
		"2026-12-31":                "2026-12-31T00:00:00Z",
		"2026-12-31T01:00:00+02:00": "2026-12-30T23:00:00Z",
	} {
		if got, err := cli.ParseTime(text, now); err != nil || got != want {
			t.Errorf("ParseTime(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "24h", "+", "--7d", "2026-02-30", "2026-1-1", "tomorrow", "2026-12-31T01:00:00"} {
		if got, err := cli.ParseTime(text, now); err == nil {
			t.Errorf("ParseTime(%q) = %v", text, got)
		}
	}
}

func TestCode(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err  error
		want int
	}{
		{nil, cli.Done},
		{errors.New("x"), cli.Failed},
		{context.Canceled, cli.Failed},
		{cli.ErrNotDone, cli.Failed},
		{client.ErrAnswer, cli.Failed},
		{cli.Usage("x"), cli.Misused},
		{fmt.Errorf("x: %w", client.ErrInvalid), cli.Misused},
		{fmt.Errorf("x: %w", client.ErrUnavailable), cli.Unavailable},
		{fmt.Errorf("x: %w", cli.ErrBroken), cli.Broken},
		{fmt.Errorf("x: %w", &client.Error{Status: 404, Code: "not_found"}), cli.NotFound},
		{&client.Error{Status: 404}, cli.Failed},
		{&client.Error{Status: 409}, cli.Conflict},
	} {
		if got := cli.Code(tt.err); got != tt.want {
			t.Errorf("Code(%v) = %d, want %d", tt.err, got, tt.want)
		}
	}
}

func TestHelpNamesWhatIsNeeded(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	env := cli.Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out, Now: time.Now, Getenv: func(string) string { return "" }}
	code := cli.Main(t.Context(), env, []string{"help", "do"}, []cli.Command{{
		Name: "do", Brief: "do it", Needs: cli.NeedsOrg, Prepare: func(f *cli.Flags) cli.Action {
			f.Duration("every", time.Minute, "how `long`")
			return nil
		},
	}})
	if code != cli.Done {
		t.Fatalf("ended with %d: %s", code, &out)
	}
	lines := strings.Split(out.String(), "\n")
	for _, want := range []string{"--every LONG how long (1m0s by default)", "--org NAME the name of the org; needed", "--project NAME the name of the project"} {
		if !slices.ContainsFunc(lines, func(line string) bool { return strings.Join(strings.Fields(line), " ") == want }) {
			t.Errorf("no line %q in\n%s", want, &out)
		}
	}
	if flag.CommandLine.Lookup("org") != nil {
		t.Error("the flags of the process were touched")
	}
}
