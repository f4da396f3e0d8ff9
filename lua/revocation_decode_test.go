package lua

import "testing"

// FuzzRevocationEntry holds that what other programs write is damage or no name, and never a panic.
func FuzzRevocationEntry(f *testing.F) {
	for _, seed := range [][2]string{{"token:i:v", "1 2 3 {}"}, {"subject:%3A:", "1 2 3"}, {"::", ""}, {"client:a:b:c", "x y z w"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, field, entry string) {
		name, ok := nameOf(field)
		if ok && name.Field() != field {
			t.Errorf("%q is read as %+v, whose field is %q", field, name, name.Field())
		}
		r := revocationOf(name, entry)
		if whole := min(r.Before, r.Until) >= 1 && max(r.Before, r.Until, r.At) <= MaxTime; r.Damaged == whole || r.At < 0 {
			t.Errorf("%q is read as %+v", entry, r)
		}
	})
}
