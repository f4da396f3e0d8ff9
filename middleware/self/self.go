// Package self answers the holder of a key about that key: who am I, what are my limits, what did I use?
package self
