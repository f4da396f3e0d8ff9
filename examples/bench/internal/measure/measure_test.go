package measure_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/examples/bench/internal/measure"
	"github.com/tollgate-go/tollgate/examples/bench/internal/server"
)

func TestHistogram(t *testing.T) {
	t.Parallel()
	var even, odd measure.Histogram
	if got := even.Quantile(0.5); got != 0 {
		t.Errorf("Quantile of nothing = %v, want 0", got)
	}
	for us := range 1000 {
		h := &even
		if us%2 == 1 {
			h = &odd
		}
		h.Record(time.Duration(us+1) * time.Microsecond)
	}
	even.Add(&odd)
	if even.Count() != 1000 {
		t.Errorf("Count = %d, want 1000", even.Count())
	}
	for q, us := range map[float64]int64{0: 1, 0.01: 10, 0.5: 500, 0.99: 990, 1: 1000} {
		want := time.UnixMicro(us).Sub(time.UnixMicro(0))
		if got := even.Quantile(q); got < want || got > want+want/32 {
			t.Errorf("Quantile(%v) = %v, want %v or up to 1/32 more", q, got, want)
		}
	}
}

func TestHistogramTakesAnyDuration(t *testing.T) {
	t.Parallel()
	for _, d := range []time.Duration{-1, 0, 1, 31, 32, 63, 64, 65, 1 << 40, 1<<63 - 1} {
		var h measure.Histogram
		h.Record(d)
		want := max(d, 0)
		if got := h.Quantile(1); got < want || got-want > want/32 {
			t.Errorf("Record(%d); Quantile = %d, want it or up to 1/32 more", d, got)
		}
	}
}

func TestDrive(t *testing.T) {
	t.Parallel()
	var calls, at, most atomic.Int64
	load, err := measure.Drive(t.Context(), 8, 20*time.Millisecond, func(context.Context, *rand.Rand) error {
		defer at.Add(-1)
		calls.Add(1)
		if now := at.Add(1); now > most.Load() {
			most.Store(now)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if load.Calls() != calls.Load() || load.Calls() < 8 || load.PerSecond() <= 0 || load.Elapsed < 20*time.Millisecond {
		t.Errorf("Drive = %d calls in %v (%v a second), want the %d that were made, in 20ms or more",
			load.Calls(), load.Elapsed, load.PerSecond(), calls.Load())
	}
	if most.Load() > 8 {
		t.Errorf("%d callers at once, want at most 8", most.Load())
	}
}

func TestDriveEndsAtTheFirstError(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	load, err := measure.Drive(t.Context(), 4, time.Hour, func(context.Context, *rand.Rand) error { return broken })
	if load != nil || !errors.Is(err, broken) {
		t.Errorf("Drive = %v, %v; want the error of the call", load, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	load, err = measure.Drive(ctx, 4, time.Hour, func(context.Context, *rand.Rand) error { cancel(); return nil })
	if load != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("Drive = %v, %v; want context.Canceled", load, err)
	}
}

func TestSpent(t *testing.T) {
	t.Parallel()
	before := measure.Now()
	kept := make([]*[64]byte, 10_000)
	for i := range kept {
		kept[i] = new([64]byte)
	}
	spent := measure.Now().Since(before)
	if spent.Allocs < uint64(len(kept)) || spent.CPU < 0 {
		t.Errorf("%d objects allocated: Since = %+v", len(kept), spent)
	}
}

func TestServerCPUAndInfo(t *testing.T) {
	t.Parallel()
	all, err := server.Cluster(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	defer all.Stop()
	one := redis.NewClient(&redis.Options{Addr: all[0].Addr()})
	defer one.Close()
	both := redis.NewClusterClient(&redis.ClusterOptions{Addrs: all.Addrs()})
	defer both.Close()
	if cpu, err := measure.ServerCPU(t.Context(), one); err != nil || cpu <= 0 {
		t.Errorf("ServerCPU = %v, %v; want some", cpu, err)
	}
	if n, err := measure.Info(t.Context(), both, "cluster", "cluster_enabled"); err != nil || n != 2 {
		t.Errorf("the sum of cluster_enabled over two masters = %v, %v; want 2", n, err)
	}
	if _, err := measure.Info(t.Context(), one, "cpu", "no_such_field"); err == nil {
		t.Error("Info tells a field that there is not")
	}
	if _, err := measure.Info(t.Context(), nil, "cpu"); err == nil {
		t.Error("Info takes no client for one")
	}
}

func TestStored(t *testing.T) {
	t.Parallel()
	s, err := server.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	rdb := redis.NewClient(&redis.Options{Addr: s.Addr()})
	defer rdb.Close()
	stored := func() float64 {
		t.Helper()
		bytes, err := measure.Stored(t.Context(), rdb)
		if err != nil || bytes <= 0 {
			t.Fatalf("Stored = %v, %v", bytes, err)
		}
		return bytes
	}
	empty := stored()
	for i := range 1000 {
		if err := rdb.Set(t.Context(), fmt.Sprint(i), make([]byte, 100), 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	full := stored()
	if grew := full - empty; grew < 100_000 || grew > 300_000 {
		t.Errorf("Stored grew by %v with 1000 values of 100 bytes", grew)
	}
	fillBuffer(t, rdb, 1_000_000)
	if grew := stored() - full; grew > 100_000 {
		t.Errorf("Stored grew by %v with a command of a million bytes that is not complete", grew)
	}
	if _, err := measure.Stored(t.Context(), nil); err == nil {
		t.Error("Stored takes no client for one")
	}
}

// fillBuffer sends most of a command on a connection of its own, and returns when the server has it.
func fillBuffer(t *testing.T, rdb *redis.Client, size int) {
	t.Helper()
	before, err := measure.Info(t.Context(), rdb, "memory", "used_memory")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", rdb.Options().Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := fmt.Fprintf(conn, "*2\r\n$4\r\nECHO\r\n$%d\r\n%s", size, make([]byte, size-1)); err != nil {
		t.Fatal(err)
	}
	for {
		used, err := measure.Info(t.Context(), rdb, "memory", "used_memory")
		if err != nil {
			t.Fatal(err)
		}
		if used-before > float64(size)/2 {
			return
		}
	}
}
