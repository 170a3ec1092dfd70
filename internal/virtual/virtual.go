// Package virtual runs tests in virtual time, and ends those that hang.
package virtual

import (
	"fmt"
	"path"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Limit is the virtual time after which a test counts as hanging. No test needs so much time to
// end. If a test hangs, the simulation of this time takes some seconds, or a minute with several
// sessions and -race.
const Limit = 5 * time.Hour

// Test is like [synctest.Test], but f has to end within Limit. If f hangs, Test panics and reports
// the lines of the test at which goroutines wait. Without this limit, the ticks of a server would
// keep the test running until the limit of go test.
func Test(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		hangs := time.AfterFunc(Limit, func() {
			text := fmt.Sprintf("%s is still running after %v of virtual time, and waits at:", t.Name(), Limit)
			if t.Failed() {
				text = fmt.Sprintf("%s has failed (-v shows how), and is still running after %v of virtual time. It waits at:", t.Name(), Limit)
			}
			panic(text + "\n" + strings.Join(places(stacks()), "\n"))
		})
		t.Cleanup(func() { hangs.Stop() }) // after all other clean-up, which may hang too
		f(t)
	})
}

// The function `stacks` returns the stacks of all goroutines, beginning with the caller's.
func stacks() string {
	buf := make([]byte, 1<<16)
	for {
		if n := runtime.Stack(buf, true); n < len(buf) {
			return string(buf[:n])
		}
		buf = make([]byte, 2*len(buf))
	}
}

// The function `places` returns a line for each place at which goroutines of a test wait. Each line
// begins with the innermost call. The goroutines of the test are those in the same bubble as the
// goroutine whose stack comes first. Goroutines without calls of the test's code, such as those of
// servers and sessions, are left out.
func places(stacks string) (lines []string) {
	count, bubble := make(map[string]int), ""
	for i, g := range strings.Split(stacks, "\n\n") {
		head, calls, _ := strings.Cut(g, "\n")
		_, in, _ := strings.Cut(head, "synctest bubble ")
		if i == 0 {
			bubble = in
			continue
		}
		files := files(calls)
		root := strings.Contains(calls, "testing/synctest.Test(") // waits for the test's own goroutine
		main := strings.Contains(calls, "\ntesting.tRunner(")
		if in != bubble || root || !main && !slices.ContainsFunc(files, isTest) {
			continue
		}
		line := strings.Join(files, ", ")
		if count[line]++; count[line] == 1 {
			lines = append(lines, line)
		}
	}
	for i, line := range lines {
		if n := count[line]; n > 1 {
			lines[i] = fmt.Sprintf("%s (%d goroutines)", line, n)
		}
	}
	return lines
}

// The function `files` returns the file and the line of each call in a goroutine's stack, the
// innermost call first. It leaves out the calls in the standard library, and the outer calls
// through which the test was called.
func files(calls string) (files []string) {
	calls, _, _ = strings.Cut(calls, "\ncreated by ")
	function, last := "", 0
	for line := range strings.Lines(calls) {
		place, ok := strings.CutPrefix(line, "\t")
		if !ok {
			function = line
			continue
		}
		place, _, _ = strings.Cut(strings.TrimSpace(place), " ")
		place = path.Join(path.Base(path.Dir(place)), path.Base(place))
		module, _, _ := strings.Cut(function, "/")
		if strings.Contains(module, ".") && strings.Contains(function, "/") || isTest(place) {
			files = append(files, place)
		}
		if isTest(place) {
			last = len(files)
		}
	}
	if last > 0 {
		files = files[:last]
	}
	return files
}

// isTest reports whether a place is in a test's file.
func isTest(place string) bool { return strings.Contains(place, "_test.go:") }
