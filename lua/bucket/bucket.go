// Package bucket maps an org to one of a fixed number of buckets. The bucket is the Redis hash tag of
// everything that is stored for the org, so that one script reaches all of it on a cluster, while many
// orgs still share slots and their checks can travel in one call. It has no dependency: a package that
// only needs to name a bucket does not link a Redis client.
package bucket

import (
	"iter"
	"slices"
)

// Count is the number of buckets. It is part of what Redis holds: changing it moves every org.
const Count = 64

// Len is the length of a bucket's name.
const Len = 2

// Of returns the bucket of an org: two decimal digits, "00" to "63". The same name always gives the
// same bucket. Safe for concurrent use; no allocation.
func Of(org string) string {
	// FNV-1a, spelled out because hash/fnv would allocate.
	hash := uint32(2166136261)
	for i := range len(org) {
		hash = (hash ^ uint32(org[i])) * 16777619
	}
	return names[hash%Count]
}

// Valid reports whether name is one that Of can return.
func Valid(name string) bool {
	if len(name) != Len || name[0] < '0' || name[0] > '9' || name[1] < '0' || name[1] > '9' {
		return false
	}
	return int(name[0]-'0')*10+int(name[1]-'0') < Count
}

// All ranges over the buckets, in order.
func All() iter.Seq[string] { return slices.Values(names[:]) }

var names = func() (all [Count]string) {
	for i := range all {
		all[i] = string([]byte{byte('0' + i/10), byte('0' + i%10)})
	}
	return all
}()

// Name returns the name of a bucket by its number, 0 to Count-1.
func Name(number int) string { return names[number] }
