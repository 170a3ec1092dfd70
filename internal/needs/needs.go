// Package needs decides what a test does if a program that it needs is not installed. On a
// developer's machine, the test is skipped. In CI, which installs all programs, it fails.
package needs

import (
	"os"
	"testing"
)

// Installed does nothing if err is nil. Otherwise err says what is missing. Then the test fails if
// the environment variable CI is set, and is skipped if not.
func Installed(t testing.TB, err error) {
	t.Helper()
	switch {
	case err == nil:
	case os.Getenv("CI") != "":
		t.Fatalf("CI is set, so this test must run: %v", err)
	default:
		t.Skip(err)
	}
}
