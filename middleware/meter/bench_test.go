package meter

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkRecord adds to names that are pending, one caller and many, of one org and of many.
func BenchmarkRecord(b *testing.B) {
	for _, orgs := range []int{1, 1000} {
		m := start(nil, &book{}, defaults())
		defer func() { _ = m.Close(b.Context()) }()
		all := make([]string, orgs)
		for i := range all {
			all[i] = fmt.Sprint("org-", i)
		}
		record := func(i int) {
			u := usage(all[i%orgs], 1)
			u.At = time.Now()
			m.Record(u)
		}
		b.Run(fmt.Sprintf("orgs=%d/now", orgs), func(b *testing.B) {
			for b.Loop() {
				_ = time.Now()
			}
		})
		b.Run(fmt.Sprintf("orgs=%d/Record", orgs), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				record(i)
			}
		})
		b.Run(fmt.Sprintf("orgs=%d/Record-parallel", orgs), func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					record(i)
				}
			})
		})
	}
}
