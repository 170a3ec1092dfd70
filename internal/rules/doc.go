// Package rules holds the tree together, by tests alone: imports that point one
// way, numbered guarantees, documents whose links, commands and code exist.
//
// The tests run in the root of the module, and name files by their path from there.
package rules
