package telemetry_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/telemetry"
)

const supersededName = "tollgate_superseded_credential_requests_total"

// shows compares the metric with lines of "credential count", in the order of the credentials.
func shows(t *testing.T, c *telemetry.Collector, want ...string) {
	t.Helper()
	text := "# HELP " + supersededName + " Requests by credentials that a newer one of their key took the place of, by credential.\n# TYPE " + supersededName + " counter\n"
	for _, line := range want {
		credential, n, _ := strings.Cut(line, " ")
		text += fmt.Sprintf("%s{credential=%q} %s\n", supersededName, credential, n)
	}
	if len(want) == 0 {
		text = ""
	}
	if err := testutil.CollectAndCompare(c, strings.NewReader(text), supersededName); err != nil {
		t.Error(err)
	}
}

func TestSupersededCredentials(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	since := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	outgoing := &authkey.Identity{Credential: "0Aold", SupersededAt: since}
	for name, e := range map[string]middleware.Event{
		"nobody":          {Step: middleware.StepAuthenticate, Outcome: middleware.OutcomeRefused},
		"the newest":      {Step: middleware.StepAuthenticate, Outcome: middleware.OutcomeAllowed, Identity: &authkey.Identity{Credential: "0Anew"}},
		"another step":    {Step: middleware.StepRateLimit, Outcome: middleware.OutcomeAllowed, Identity: outgoing},
		"refused already": {Step: middleware.StepAuthenticate, Outcome: middleware.OutcomeRefused, Identity: outgoing},
		"the handler":     {Step: middleware.StepHandler, Outcome: middleware.OutcomeAllowed, Identity: outgoing},
	} {
		c.Observe(e)
		t.Run(name, func(t *testing.T) { shows(t, c) })
	}
	let := middleware.Event{Step: middleware.StepAuthenticate, Outcome: middleware.OutcomeAllowed}
	for _, credential := range []string{"0Aold", "0Aold", "bad\xff", "bad\xfe", "", "other"} {
		let.Identity = &authkey.Identity{Credential: credential, SupersededAt: since}
		c.Observe(let)
	}
	shows(t, c, "0Aold 2", "bad\uFFFD 2", "other 2")
}

// A hundred have a label until they end; those beyond share one, and those that end make room.
func TestSupersededCredentialsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCollector(t)
		start := time.Now()
		show := func(credential string, end time.Time) {
			c.Observe(middleware.Event{
				Step: middleware.StepAuthenticate, Outcome: middleware.OutcomeAllowed,
				Identity: &authkey.Identity{Credential: credential, SupersededAt: start, ExpiresAt: end},
			})
		}
		show("other", start.Add(time.Second)) // which is not forgotten
		var want []string
		for i := range 100 {
			end := start.Add(time.Hour)
			if i < 2 {
				end = start.Add(time.Duration(i+1) * time.Minute)
			}
			if i == 99 {
				end = time.Time{}
			}
			show(fmt.Sprintf("c%02d", i), end)
			want = append(want, fmt.Sprintf("c%02d 1", i))
		}
		show("d0", start.Add(2*time.Hour))
		shows(t, c, append(want[:100:100], "other 2")...)

		time.Sleep(time.Minute) // the first ends
		show("d1", start.Add(2*time.Hour))
		show("d2", start.Add(2*time.Hour))
		shows(t, c, append(want[1:100:100], "d1 1", "other 3")...)

		time.Sleep(time.Hour) // all but the last and d1
		show("d2", start.Add(2*time.Hour))
		show("c99", time.Time{})
		shows(t, c, "c99 2", "d1 1", "d2 1", "other 3")
	})
}
