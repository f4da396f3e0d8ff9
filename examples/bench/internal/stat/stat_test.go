package stat_test

import (
	"slices"
	"testing"

	"github.com/tollgate-go/tollgate/examples/bench/internal/stat"
)

func TestMedian(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		numbers []float64
		want    float64
	}{
		{"none", nil, 0},
		{"one", []float64{3}, 3},
		{"odd", []float64{9, 1, 5}, 5},
		{"even", []float64{4, 1, 2, 100}, 3},
		{"equal", []float64{2, 2, 2}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			before := slices.Clone(tt.numbers)
			if got := stat.Median(tt.numbers); got != tt.want {
				t.Errorf("Median(%v) = %v, want %v", tt.numbers, got, tt.want)
			}
			if !slices.Equal(tt.numbers, before) {
				t.Errorf("Median left %v in the order %v", before, tt.numbers)
			}
		})
	}
}

func TestOf(t *testing.T) {
	t.Parallel()
	if got, want := stat.Of([]float64{7, 1, 3}), (stat.Spread{Median: 3, Least: 1, Most: 7}); got != want {
		t.Errorf("Of = %v, want %v", got, want)
	}
	if got := stat.Of(nil); got != (stat.Spread{}) {
		t.Errorf("Of nothing = %v, want zero", got)
	}
}

// The median of the ratios need not be the ratio of the medians: here that would be 20/10.
func TestRatios(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name          string
		numbers, base []float64
		want          stat.Spread
	}{
		{"by place", []float64{20, 90, 10}, []float64{10, 30, 1}, stat.Spread{Median: 3, Least: 2, Most: 10}},
		{"base of zero", []float64{20, 90}, []float64{0, 30}, stat.Spread{Median: 3, Least: 3, Most: 3}},
		{"more than the base", []float64{2, 4, 6}, []float64{1}, stat.Spread{Median: 2, Least: 2, Most: 2}},
		{"no base", []float64{2}, nil, stat.Spread{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := stat.Ratios(tt.numbers, tt.base); got != tt.want {
				t.Errorf("Ratios(%v, %v) = %v, want %v", tt.numbers, tt.base, got, tt.want)
			}
		})
	}
}
