// Package h2spec holds that a server speaks HTTP/2 behind Tollgate as well as without it.
//
// Its test runs h2spec, which sends what RFC 9113 and RFC 7541 forbid and what they ask for, against servers of net/http, gin and echo with
// nothing before their handlers, and against the same with a whole gate: a case that fails with the gate fails without it, too. Some
// fail with both, since net/http answers them in a way of its own.
//
//	go test -v .
//
// It is a module of its own, so that nobody who uses Tollgate has h2spec among his dependencies.
package h2spec
