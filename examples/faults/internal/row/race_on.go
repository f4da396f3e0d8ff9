//go:build race

package row

import "time"

// instrumented is what the race detector adds to a call of which a thousandth is judged.
const instrumented = 20 * time.Millisecond
