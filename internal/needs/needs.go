// Package needs decides what a test does if a program that it needs is not installed. The test is
// skipped on a developer's machine. It fails in CI, which installs all programs.
package needs

import (
	"os"
	"testing"
)

// Installed does nothing if err is nil. Otherwise err says what is missing: the test fails if the
// environment variable CI is set, and is skipped if it is not.
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
