package ratelimit

import (
	"fmt"
	"time"
)

// Period is a stretch of the calendar that repeats: days, or months that begin on a day of their own, in a
// time zone. Daily and Monthly make one; the zero Period is none.
type Period struct {
	anchor   int // the day on which a month begins; daily: a period is a day
	location *time.Location
}

const daily = -1

// Daily returns the days of a time zone; nil is UTC.
func Daily(location *time.Location) Period { return Period{daily, location} }

// Monthly returns the months of a time zone that begin on a day, 1 to 31, such as a billing day; in a month
// without that day, on its last one. nil is UTC.
func Monthly(anchor int, location *time.Location) Period {
	return Period{max(anchor, 0), location} // 0 is no day, and no Period either
}

// String describes the period, as "day (UTC)" or "month from day 15 (Europe/Paris)".
func (p Period) String() string {
	if p.anchor == daily {
		return fmt.Sprintf("day (%v)", p.zone())
	}
	return fmt.Sprintf("month from day %d (%v)", p.anchor, p.zone())
}

func (p Period) zone() *time.Location {
	if p.location == nil {
		return time.UTC
	}
	return p.location
}

func (p Period) validate() error {
	if p.anchor != daily && (p.anchor < 1 || p.anchor > 31) {
		return fmt.Errorf("Period must be Daily, or Monthly from day 1 to 31, not from %d", p.anchor)
	}
	// No zone on earth is a day away; a larger offset is one in other units than seconds.
	const bound = 24 * 60 * 60
	if _, offset := time.Unix(0, 0).In(p.zone()).Zone(); offset <= -bound || offset >= bound {
		return fmt.Errorf("Period must be in a time zone less than 24h from UTC, not %d seconds", offset)
	}
	return nil
}

// around returns when the period that holds a moment begins and ends.
func (p Period) around(at time.Time) (start, end time.Time) {
	year, month, day := at.In(p.zone()).Date()
	if p.anchor == daily {
		return p.begin(year, month, day), p.begin(year, month, day+1)
	}
	if start = p.month(year, month); start.After(at) {
		return p.month(year, month-1), start
	}
	return start, p.month(year, month+1)
}

// month returns when the period begins that begins in a month.
func (p Period) month(year int, month time.Month) time.Time {
	last := time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC).Day()
	return p.begin(year, month, min(p.anchor, last))
}

// begin returns the first moment of a day, which is midnight but where a clock is set forward over it.
func (p Period) begin(year int, month time.Month, day int) time.Time {
	midnight := time.Date(year, month, day, 0, 0, 0, 0, p.zone())
	since, until := midnight.ZoneBounds()
	if midnight.Hour() > 12 { // the evening before
		return until
	}
	// Where a clock is set back over midnight, it comes twice, and the first one counts.
	if !since.IsZero() {
		_, now := midnight.Zone()
		_, before := since.Add(-time.Nanosecond).Zone()
		first := midnight.Add(-time.Duration(before-now) * time.Second)
		if first.Before(since) && first.Day() == midnight.Day() && first.Hour() == 0 {
			return first
		}
	}
	return midnight
}
