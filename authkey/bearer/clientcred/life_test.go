package clientcred_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate-go/tollgate/authkey/bearer/clientcred"
)

func TestRenewalAheadOfTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		grant, release := grants(1000), make(chan struct{})
		e := &endpoint{do: grant}
		source := newSource(t, e)
		wants(t, source, "token-1")
		e.set(hangs(release, grant))
		time.Sleep(699 * time.Second)
		wants(t, source, "token-1")
		synctest.Wait()
		if e.count() != 1 {
			t.Fatal("renewed before 70% of its life")
		}
		time.Sleep(101 * time.Second)
		for range 100 {
			wants(t, source, "token-1") // at once, while the endpoint hangs
		}
		synctest.Wait()
		if e.count() != 2 {
			t.Fatalf("asked %d times, want once more at 80%% of its life", e.count())
		}
		close(release)
		synctest.Wait()
		wants(t, source, "token-2")
		wants(t, source, "token-2")
		synctest.Wait()
		if e.count() != 2 {
			t.Errorf("asked %d times, want 2", e.count())
		}
	})
}

func TestIdleSourceAsksNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{do: grants(100)}
		source := newSource(t, e)
		wants(t, source, "token-1")
		time.Sleep(time.Hour)
		if e.count() != 1 {
			t.Errorf("asked %d times, want once", e.count())
		}
		wants(t, source, "token-2")
	})
}

func TestRenewalsDriftApart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const sources = 200
		renewed := 0
		var all []*clientcred.Source
		var endpoints []*endpoint
		for range sources {
			e := &endpoint{do: grants(1000)}
			all, endpoints = append(all, newSource(t, e)), append(endpoints, e)
			wants(t, all[len(all)-1], "token-1")
		}
		time.Sleep(750 * time.Second)
		for i, source := range all {
			wants(t, source, "token-1")
			synctest.Wait()
			renewed += endpoints[i].count() - 1
		}
		if renewed < sources/5 || renewed > sources*4/5 {
			t.Errorf("%d of %d renewed halfway between 70%% and 80%%, want about half", renewed, sources)
		}
	})
}

func TestPausesDriftApart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const sources = 200
		asked := 0
		var all []*clientcred.Source
		var endpoints []*endpoint
		for range sources {
			e := &endpoint{do: says(http.StatusInternalServerError, "")}
			all, endpoints = append(all, newSource(t, e)), append(endpoints, e)
			fails(t, all[len(all)-1], clientcred.Refused)
		}
		time.Sleep(750 * time.Millisecond)
		for i, source := range all {
			fails(t, source, clientcred.Refused)
			asked += endpoints[i].count() - 1
		}
		if asked < sources/5 || asked > sources*4/5 {
			t.Errorf("%d of %d asked again halfway between 0.5 s and 1 s, want about half", asked, sources)
		}
	})
}

func TestOldTokenGoesOnWhileRenewalsFail(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		grant := grants(1000)
		e := &endpoint{do: grant}
		source := newSource(t, e)
		wants(t, source, "token-1")
		if err := source.Err(); err != nil {
			t.Errorf("Err %v after a success", err)
		}
		e.set(says(http.StatusServiceUnavailable, "{}"))
		time.Sleep(800 * time.Second)
		for range 1899 { // until 10 s before its end
			wants(t, source, "token-1")
			time.Sleep(100 * time.Millisecond)
		}
		isClass(t, source.Err(), clientcred.Refused)
		if n := e.count() - 1; n < 190/16 || n > 190/7+5 {
			t.Errorf("asked %d times in 190 s, want once in 7.5 to 15 s after the first few", n)
		}
		time.Sleep(200 * time.Millisecond)
		fails(t, source, clientcred.Refused)
		e.set(grant)
		time.Sleep(15 * time.Second)
		wants(t, source, "token-2")
		if err := source.Err(); err != nil {
			t.Errorf("Err %v after a success", err)
		}
	})
}

func TestFailureIsRememberedBriefly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{do: says(http.StatusInternalServerError, "")}
		source := newSource(t, e)
		fails(t, source, clientcred.Refused)
		for _, seconds := range []int{1, 2, 4, 8, 15, 15, 15} {
			asked, half := e.count(), time.Duration(seconds)*time.Second/2
			time.Sleep(half - time.Millisecond)
			for range 50 {
				fails(t, source, clientcred.Refused)
			}
			if e.count() != asked {
				t.Fatalf("asked again in less than half of %d s", seconds)
			}
			time.Sleep(half + time.Millisecond)
			fails(t, source, clientcred.Refused)
			if e.count() != asked+1 {
				t.Fatalf("asked %d times after %d s, want once", e.count()-asked, seconds)
			}
		}
		e.set(grants(100))
		time.Sleep(15 * time.Second)
		wants(t, source, "token-1")
		e.set(says(http.StatusInternalServerError, ""))
		time.Sleep(95 * time.Second) // a success begins anew
		fails(t, source, clientcred.Refused)
		time.Sleep(time.Second)
		asked := e.count()
		fails(t, source, clientcred.Refused)
		if e.count() != asked+1 {
			t.Error("the pause after a success is longer than 1 s")
		}
	})
}

func TestLifeOfAToken(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for name, row := range map[string]struct {
		member string
		opts   []clientcred.Option
		until  time.Duration // it is handed out
	}{
		"a long one":        {member: `,"expires_in":1000`, until: 990 * time.Second},
		"a short one":       {member: `,"expires_in":10`, until: 9 * time.Second},
		"a string":          {member: `,"expires_in":"1000"`, until: 990 * time.Second},
		"a fraction":        {member: `,"expires_in":10.9e0`, until: 9 * time.Second},
		"30 days":           {member: `,"expires_in":2592000`, until: 24*time.Hour - 10*time.Second},
		"for ever":          {member: `,"expires_in":1e99`, until: 24*time.Hour - 10*time.Second},
		"absent":            {until: 290 * time.Second},
		"null":              {member: `,"expires_in":null`, until: 290 * time.Second},
		"absent, and 1 min": {opts: []clientcred.Option{clientcred.WithDefaultLife(time.Minute)}, until: 54 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				grant := says(http.StatusOK, `{"access_token":"token-1","token_type":"Bearer"`+row.member+`}`)
				e := &endpoint{do: func(r *http.Request) (int, string, error) {
					time.Sleep(2 * time.Second) // of its life, which may have begun when the question came
					return grant(r)
				}}
				source := newSource(t, e, row.opts...)
				wants(t, source, "token-1")
				e.set(says(http.StatusInternalServerError, "{}"))
				time.Sleep(row.until - 2*time.Second - ms)
				wants(t, source, "token-1")
				synctest.Wait()
				time.Sleep(ms)
				fails(t, source, clientcred.Refused)
			})
		})
	}
}

func TestTokenWithoutLifeIsForThoseWhoWaited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{do: grants(0)}
		source := newSource(t, e)
		wants(t, source, "token-1")
		wants(t, source, "token-2")
	})
}
