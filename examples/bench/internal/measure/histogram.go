package measure

import (
	"math/bits"
	"time"
)

// Histogram counts durations in buckets of 3% or less, from a nanosecond to a century. The zero Histogram is empty. It
// is for one goroutine at a time, and takes no memory beyond its 15 KiB.
type Histogram struct {
	counts [buckets]uint64
	total  uint64
}

const (
	subBits = 5 // each power of two has 1<<subBits buckets
	buckets = (64 - subBits) << subBits
)

// Record counts a duration. A negative one counts as zero.
func (h *Histogram) Record(d time.Duration) {
	h.counts[bucketOf(uint64(max(d, 0)))]++
	h.total++
}

// Add counts all that another histogram has.
func (h *Histogram) Add(o *Histogram) {
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.total += o.total
}

// Count returns how many durations were recorded.
func (h *Histogram) Count() uint64 { return h.total }

// Quantile returns the duration that a part q, 0 to 1, of all are not above, to within a bucket, whose upper end it is;
// zero if the histogram is empty.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.total == 0 {
		return 0
	}
	wanted := max(uint64(q*float64(h.total)+0.999999), 1)
	var seen uint64
	for i, n := range h.counts {
		if seen += n; seen >= wanted {
			return endOf(i)
		}
	}
	return endOf(buckets - 1)
}

// bucketOf numbers buckets so that small numbers have one each, and further ones 1<<subBits for each power of two.
func bucketOf(v uint64) int {
	shift := max(bits.Len64(v)-subBits-1, 0)
	return shift<<subBits + int(v>>shift)
}

// endOf returns the largest duration of a bucket.
func endOf(i int) time.Duration {
	shift := max(i>>subBits-1, 0)
	first := uint64(i-shift<<subBits) << shift
	return time.Duration(first + 1<<shift - 1)
}
