// Package leak takes reports of leaked keys, as GitHub's secret scanning sends them, and ends those keys.
package leak
