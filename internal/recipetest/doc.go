// Package recipetest has the helpers that tests of the primitives share. It provides an ensemble in
// a bubble of virtual time, and clients whose requests are counted and can be interrupted at each
// moment. It repeats a call with a failure at each of the call's requests, and checks that no
// ephemeral znode and no watch remains.
package recipetest
