// Package coordtest is what the tests of the primitives share: an ensemble in a
// bubble of virtual time, sessions on it whose requests are counted and whose
// every moment can be picked to break something, and a look at what is left.
package coordtest
