// Package stat sums up what several rounds of a benchmark gave. A machine that others use, too, is twice as fast in one
// round as in the next, so contestants are compared within each round, and the median of these ratios is told with the
// least and the greatest of them.
//
//	x := stat.Ratios(ours, theirs) // element i of both is of round i
//	fmt.Printf("%.2f (%.2f to %.2f)\n", x.Median, x.Least, x.Most)
package stat

import "slices"

// Spread is the middle of some numbers and how far they lie apart. The zero Spread is that of no numbers.
type Spread struct {
	Median float64 `json:"median"`
	Least  float64 `json:"least"`
	Most   float64 `json:"most"`
}

// Median returns the middle one of some numbers, or the mean of the two in the middle; zero of none. It leaves them in
// the order that they are in.
func Median(numbers []float64) float64 {
	n := len(numbers)
	if n == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(numbers))
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

// Of returns the spread of some numbers.
func Of(numbers []float64) Spread {
	if len(numbers) == 0 {
		return Spread{}
	}
	return Spread{Median: Median(numbers), Least: slices.Min(numbers), Most: slices.Max(numbers)}
}

// Ratios returns the spread of the ratios of each number to the one in the same place of a base. Places that only one
// of the two has are left out, and so are those where the base is zero: nothing can be said of them.
func Ratios(numbers, base []float64) Spread {
	var ratios []float64
	for i := range min(len(numbers), len(base)) {
		if base[i] != 0 {
			ratios = append(ratios, numbers[i]/base[i])
		}
	}
	return Of(ratios)
}
