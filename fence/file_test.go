package fence_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/zkcoord/zkcoord/fence"
)

func content(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// writerMark is an environment variable whose value is the name of a file. If the variable is set,
// the test binary runs no tests, and writes this file again and again until the process is killed.
const writerMark = "ZKCOORD_FENCE_WRITER"

// writeForever writes the file with one token after another. The content
// repeats the token on many lines.
func writeForever(name string) {
	var first fence.Token
	fmt.Sscan(os.Getenv(writerMark+"_FIRST"), &first)
	for token := first; ; token++ {
		if err := fence.WriteFile(context.Background(), name, token, lines(token), 0o600); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(token)
	}
}

func lines(token fence.Token) []byte {
	return bytes.Repeat(fmt.Appendln(nil, token), 4000)
}

// This test kills a process that writes a file again and again. Before and after the kill, the
// content of the file is complete, and it is at least as new as the last write that the process has
// confirmed.
//
// Covers F5.
func TestFileOfAKilledWriterIsWhole(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("this test kills processes, which needs Linux")
	}
	name := filepath.Join(t.TempDir(), "account")
	last := fence.Token(1)
	for round := range 15 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), writerMark+"="+name, fmt.Sprintf("%s_FIRST=%d", writerMark, last+1))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		confirmed := last
		for range 1 + round%4 {
			if _, err := fmt.Fscan(out, &confirmed); err != nil {
				t.Fatalf("the writer has ended: %v", err)
			}
		}
		seen := content(t, name) // read while the writer writes
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		for when, text := range map[string]string{"before": seen, "after": content(t, name)} {
			first, _, _ := strings.Cut(text, "\n")
			var token fence.Token
			if _, err := fmt.Sscan(first, &token); err != nil || text != string(lines(token)) {
				t.Fatalf("the content %s the kill is incomplete: %d bytes of %q", when, len(text), first)
			}
			if token < confirmed {
				t.Errorf("the content %s the kill has token %d, want %d or more", when, token, confirmed)
			}
			last = max(last, token)
		}
		err = fence.WriteFile(t.Context(), name, last-1, nil, 0o600)
		var stale *fence.StaleError
		if !errors.As(err, &stale) || stale.Largest < last || stale.Largest > last+1 {
			t.Fatalf("token %d after the content of %d: got error %v, want a StaleError", last-1, last, err)
		}
		last = stale.Largest
	}
	if err := fence.WriteFile(t.Context(), name, last, []byte("end"), 0o600); err != nil || content(t, name) != "end" {
		t.Errorf("next write: got error %v and content of %d bytes, want nil and \"end\"", err, len(content(t, name)))
	}
	if left, _ := filepath.Glob(name + "*"); len(left) != 2 {
		t.Errorf("got files %q, want the file and its guard", left)
	}
}

// The content is replaced by a rename, so a reader that has the file open keeps
// the old content.
//
// Covers F5.
func TestOpenFileKeepsItsContent(t *testing.T) {
	name := filepath.Join(t.TempDir(), "account")
	if err := fence.WriteFile(t.Context(), name, 5, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := fence.WriteFile(t.Context(), name, 5, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(f); err != nil || string(data) != "old" {
		t.Errorf("the open file has %q, error %v; want the old content", data, err)
	}
}

// If a guard file is damaged, WriteFile returns an error. It does not treat the damaged file as a
// new one, because then the token in the file would be forgotten.
//
// Covers F1.
func TestDamagedGuardFileRefusesAll(t *testing.T) {
	for _, text := range []string{"x", "000000000000000007", "000000000000000000x\n", strings.Repeat("0", 40)} {
		name := filepath.Join(t.TempDir(), "account")
		if err := os.WriteFile(name+".fence", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := fence.WriteFile(t.Context(), name, 5, nil, 0o600); err == nil || errors.Is(err, fence.ErrStale) {
			t.Errorf("guard %q: got error %v, want one that says that the guard is damaged", text, err)
		}
		if _, err := os.Stat(name); err == nil {
			t.Errorf("guard %q: the file was written", text)
		}
	}
}

// A writer may have been killed after it wrote its token to the guard file and before the token was
// on the disk. So the next writer with the same token also syncs the guard file, before it changes
// the protected file. See issue 28.
//
// Covers F1, F5.
func TestGuardIsOnTheDiskBeforeTheFile(t *testing.T) {
	for _, guard := range []string{"", "0000000000000000005\n", "0000000000000000007\n"} {
		dir := t.TempDir()
		name := filepath.Join(dir, "account")
		for file, text := range map[string]string{name: "old", name + ".fence": guard} {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		sync := func(f *os.File) error {
			synced, err := filepath.Rel(dir, f.Name())
			got = append(got, fmt.Sprintf("%s while the file is %s", synced, content(t, name)))
			if f.Name() == name+".fence" && content(t, f.Name()) != "0000000000000000007\n" {
				t.Errorf("guard %q: got %q when the guard is synced, want token 7", guard, content(t, f.Name()))
			}
			return err
		}
		if err := fence.WriteFileSync(t.Context(), sync, name, 7, []byte("new")); err != nil {
			t.Fatal(err)
		}
		want := []string{
			"account.fence while the file is old", ". while the file is old",
			"account.fence-new while the file is old", ". while the file is new",
		}
		if !slices.Equal(got, want) {
			t.Errorf("guard %q: got syncs\n%q, want\n%q", guard, got, want)
		}
	}
}

// If one of the syncs before the rename fails, WriteFile returns the error of this sync, and the
// file keeps its old content.
//
// Covers F5.
func TestFileIsOldUntilEachSyncSucceeds(t *testing.T) {
	name := filepath.Join(t.TempDir(), "account")
	if err := fence.WriteFile(t.Context(), name, 5, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	for fails := range 3 {
		calls := 0
		sync := func(*os.File) error {
			if calls++; calls == fails+1 {
				return errHere
			}
			return nil
		}
		err := fence.WriteFileSync(t.Context(), sync, name, 7, []byte("new"))
		if !errors.Is(err, errHere) || content(t, name) != "old" {
			t.Errorf("sync %d fails: got error %v and content %q, want %v and the old content", fails+1, err, content(t, name), errHere)
		}
	}
	if err := fence.WriteFile(t.Context(), name, 7, []byte("new"), 0o600); err != nil || content(t, name) != "new" {
		t.Errorf("next write: got error %v and content %q, want nil and the new content", err, content(t, name))
	}
}

func TestWriteFileWaitsNoLongerThanItsContext(t *testing.T) {
	name := filepath.Join(t.TempDir(), "account")
	write := func(ctx context.Context, token fence.Token) error {
		return fence.WriteFile(ctx, name, token, []byte("x"), 0o600)
	}
	if err := write(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	other := holdLock(t, name+".fence")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errHere)
	if err := write(ctx, 6); !errors.Is(err, errHere) {
		t.Errorf("while another process holds the lock: got error %v, want %v", err, errHere)
	}
	if got := content(t, name+".fence"); got != "0000000000000000005\n" {
		t.Errorf("got guard %q, want token 5", got)
	}
	other.Close()
	if err := write(t.Context(), 6); err != nil {
		t.Errorf("token 6 after the lock was released: got error %v, want nil", err)
	}
}
