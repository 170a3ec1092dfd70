// Package rules contains only tests of the repository's conventions: imports point in one
// direction, guarantees are numbered, and the links, commands and code in documents exist.
//
// The tests run in the module's root and name files by their paths from there.
package rules
