// Package recipetest is what the tests of the primitives share: an ensemble in a
// bubble of virtual time, clients of it whose requests are counted and whose
// every moment can be picked to break something, calls that are broken at each of
// their requests, and a look at what is left.
package recipetest
