package meter

import (
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/middleware"
)

// BenchmarkRecord adds to names that are pending, by Record and by tallies, one caller and many, of one org and of many;
// the clock is read besides, as a request does.
func BenchmarkRecord(b *testing.B) {
	for _, orgs := range []int{1, 1000} {
		m := build(nil, &book{}, defaults(), rand.Text())
		m.start()
		defer func() { _ = m.Close(b.Context()) }()
		all := make([]string, orgs)
		for i := range all {
			all[i] = fmt.Sprint("org-", i)
		}
		tallies := make([]middleware.Tally, orgs)
		for i := range all {
			tallies[i] = m.Tally(usage(all[i], 1))
		}
		for _, who := range []struct {
			name string
			do   func(i int)
		}{
			{"clock", func(int) { _ = time.Now() }},
			{"Record", func(i int) {
				u := usage(all[i], 1)
				u.At = time.Now()
				m.Record(u)
			}},
			{"Tally", func(i int) { tallies[i].Add(1, time.Now()) }},
		} {
			b.Run(fmt.Sprintf("orgs=%d/%s", orgs, who.name), func(b *testing.B) {
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					who.do(i % orgs)
				}
			})
			b.Run(fmt.Sprintf("orgs=%d/%s-parallel", orgs, who.name), func(b *testing.B) {
				b.RunParallel(func(pb *testing.PB) {
					for i := 0; pb.Next(); i++ {
						who.do(i % orgs)
					}
				})
			})
		}
	}
}
