package meter

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/meter/journal"
)

// What a child of a test does is told by its environment.
const (
	envChild = "TOLLGATE_TEST_METER_CHILD" // which of children
	envAddr  = "TOLLGATE_TEST_METER_ADDR"
	envDir   = "TOLLGATE_TEST_METER_DIR"
	envOrg   = "TOLLGATE_TEST_METER_ORG"
)

var children = map[string]func(m *Meter, w *wire, org string) error{
	"record": recordForever, "die unheard": dieUnheard, "heir": inherit, "full disk": fillUp,
}

// beChild is the main function of a child.
func beChild(what string) error {
	var w wire
	rdb := redis.NewClient(&redis.Options{Addr: os.Getenv(envAddr), Dialer: w.dial})
	m, err := New(rdb, WithInterval(25*time.Millisecond), WithTimeout(10*time.Second),
		WithJournal(os.Getenv(envDir), journal.WithInterval(10*time.Millisecond)))
	if err != nil {
		return err
	}
	return children[what](m, &w, os.Getenv(envOrg))
}

// child starts another process of the test.
func child(t *testing.T, what, dir, org string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), envChild+"="+what, envAddr+"="+redistest.StandaloneAddr(t), envDir+"="+dir, envOrg+"="+org)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start a child: %v", err)
	}
	return cmd, bufio.NewScanner(out)
}

// orgsOf returns the orgs that a child counts for.
func orgsOf(org string) []string { return []string{org, org + "-2", neighbour(org)} }

// recordForever records until it is killed. It says "will <units>" before it has recorded so many, and
// "did <units> <ns> <bound>" after: when that was, and how far back a crash would have reached.
func recordForever(m *Meter, _ *wire, org string) error {
	began, orgs, units := time.Now(), orgsOf(org), int64(0)
	tallies := make([]middleware.Tally, len(orgs))
	for i := range orgs {
		tallies[i] = m.Tally(usage(orgs[i], 1))
	}
	for i := 0; ; i++ {
		some := rand.Int64N(5) + 1
		fmt.Println("will", units+2*some)
		u := usage(orgs[i%len(orgs)], some)
		u.Source = strconv.Itoa(i % 40)
		m.Record(u)
		tallies[i%len(orgs)].Add(some, noon)
		units += 2 * some
		at := time.Since(began)
		fmt.Println("did", units, at.Nanoseconds(), m.Stats().LossBound.Nanoseconds())
	}
}

// life is what a child said of itself.
type life struct {
	will, safe int64 // units that it recorded at most, and that must be counted
	did        []struct{ units, at int64 }
}

func (l *life) hear(line string) {
	var units, at, bound int64
	if n, _ := fmt.Sscanf(line, "will %d", &units); n == 1 {
		l.will = units
	}
	if n, _ := fmt.Sscanf(line, "did %d %d %d", &units, &at, &bound); n < 3 {
		return
	}
	l.did = append(l.did, struct{ units, at int64 }{units, at})
	for len(l.did) > 0 && l.did[0].at <= at-bound {
		l.safe = max(l.safe, l.did[0].units)
		l.did = l.did[1:]
	}
}

// liveAndDie has a child record for a while, kills it with SIGKILL, and returns what it said.
func liveAndDie(t *testing.T, dir, org string) (l life) {
	t.Helper()
	cmd, out := child(t, "record", dir, org)
	lines := 50 + rand.IntN(2000)
	for i := 0; out.Scan(); i++ {
		l.hear(out.Text())
		if i == lines {
			if err := cmd.Process.Kill(); err != nil {
				t.Errorf("kill: %v", err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("the child ended with %v, not by the kill", err)
	}
	return l
}

// heir returns a Meter that takes over what is in a directory, and is closed when all is.
func heir(t *testing.T, rdb redis.UniversalClient, dir string) Stats {
	t.Helper()
	m, err := New(rdb, WithInterval(10*time.Millisecond), WithTimeout(30*time.Second), WithJournal(dir))
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	left := func() int {
		all, err := filepath.Glob(filepath.Join(dir, "*.journal*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	for left() > 1 && t.Context().Err() == nil {
		time.Sleep(time.Millisecond) // until it has, which the test's own deadline bounds
	}
	s := m.Stats()
	for range 2 {
		if err := m.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if n := left(); n != 0 {
		t.Errorf("%d files are left in the directory, want none", n)
	}
	return s
}

// TestKilled kills processes at any moment, each of which takes over what those before it left.
func TestKilled(t *testing.T) {
	t.Parallel()
	rdb := redistest.Standalone(t)
	dir, org := t.TempDir(), redistest.Org(t)
	var all life
	for range 20 {
		l := liveAndDie(t, dir, org)
		all.will += l.will
		all.safe += l.safe
	}
	s := heir(t, rdb, dir)
	var counted int64
	for _, o := range orgsOf(org) {
		counted += total(t, rdb, o)
	}
	t.Logf("recorded at most %d, counted %d, safe %d; the last replayed %d", all.will, counted, all.safe, s.Replayed)
	if counted > all.will {
		t.Errorf("counted %d of %d units: some twice", counted, all.will)
	}
	if counted < all.safe || all.safe == 0 {
		t.Errorf("counted %d units, want the %d that were out of reach of a crash, which must be some", counted, all.safe)
	}
	if s.JournalErrors != 0 || s.Unsure != 0 {
		t.Errorf("Stats = %+v; want no fault of a journal", s)
	}
}

// dieUnheard dies when Redis has counted a batch and before it is told.
func dieUnheard(m *Meter, w *wire, org string) error {
	w.loss = func() { kill() }
	w.lose.Store(true)
	m.Record(usage(org, 41))
	time.Sleep(time.Minute)
	return fmt.Errorf("it lives: %+v", m.Stats())
}

func kill() {
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	panic(err) // not reached
}

func TestKilledBeforeTheVerdict(t *testing.T) {
	t.Parallel()
	rdb := redistest.Standalone(t)
	dir, org := t.TempDir(), redistest.Org(t)
	cmd, _ := child(t, "die unheard", dir, org)
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("the child ended with %v, not by the kill", err)
	}
	wantTotal(t, rdb, org, 41)
	if s := heir(t, rdb, dir); s.Replayed != 41 {
		t.Errorf("replayed %d units, want the 41 whose verdict is not known", s.Replayed)
	}
	wantTotal(t, rdb, org, 41)
}

// inherit lives until nobody but itself has a journal, and says how many units it replayed.
func inherit(m *Meter, _ *wire, _ string) error {
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	if err := m.Close(context.Background()); err != nil {
		return err
	}
	fmt.Println("replayed", m.Stats().Replayed)
	return nil
}

// TestProcessesRace starts processes at once where one has died: one of them alone replays what that left.
func TestProcessesRace(t *testing.T) {
	t.Parallel()
	rdb := redistest.Standalone(t)
	dir, org := t.TempDir(), redistest.Org(t)
	m := journaled(t, &book{}, dir)
	m.Record(usage(org, 7))
	die(t, m)
	type process struct {
		cmd *exec.Cmd
		out *bufio.Scanner
		in  interface{ Write([]byte) (int, error) }
	}
	var all []process
	for range 3 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), envChild+"=heir", envAddr+"="+redistest.StandaloneAddr(t), envDir+"="+dir, envOrg+"="+org)
		cmd.Stderr = os.Stderr
		out, err1 := cmd.StdoutPipe()
		in, err2 := cmd.StdinPipe()
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		all = append(all, process{cmd, bufio.NewScanner(out), in})
	}
	for _, p := range all {
		if !p.out.Scan() || p.out.Text() != "ready" {
			t.Fatalf("a child says %q", p.out.Text())
		}
	}
	for total(t, rdb, org) == 0 && t.Context().Err() == nil {
		time.Sleep(time.Millisecond) // until one has, which the test's own deadline bounds
	}
	var replayed int
	for _, p := range all {
		if _, err := p.in.Write([]byte("\n")); err != nil {
			t.Error(err)
		}
		p.out.Scan()
		var n int
		if _, err := fmt.Sscanf(p.out.Text(), "replayed %d", &n); err != nil {
			t.Errorf("a child says %q", p.out.Text())
		}
		replayed += n
		if err := p.cmd.Wait(); err != nil {
			t.Errorf("a child: %v", err)
		}
	}
	replayed += int(heir(t, rdb, dir).Replayed) // if the one that had them was closed before it heard
	wantTotal(t, rdb, org, 7)
	if replayed != 7 {
		t.Errorf("%d units were replayed, want 7", replayed)
	}
}

// fillUp records where no file can grow, and closes.
func fillUp(m *Meter, _ *wire, org string) error {
	for i := range 200 {
		u := usage(org, 1)
		u.Source = strings.Repeat("s", 100) + strconv.Itoa(i)
		m.Record(u)
	}
	for m.Stats().JournalErrors == 0 {
		time.Sleep(time.Millisecond) // until it has, which the parent's deadline bounds
		m.Record(usage(org, 1))
	}
	s := m.Stats()
	if s.JournalFault == nil || s.Journaled != 0 {
		return fmt.Errorf("Stats = %+v; want a fault, and nothing safe", s)
	}
	recorded := m.Stats().Recorded
	if err := m.Close(context.Background()); err != nil {
		return err
	}
	fmt.Println("recorded", recorded)
	return nil
}
