package process

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// While a log stalls, a write to the log blocks. When the log resumes, this write succeeds. At the
// end, the log file has exactly the lines that were written.
func TestAStalledLogTakesNoByte(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	p, w, err := newLogPipe(name+".pipe", file)
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for range 3 {
		want.WriteString("before\nduring\n")
		if _, err := w.WriteString("before\n"); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second stall changes nothing
			if err := p.stall(t.Context()); err != nil {
				t.Fatalf("stall the log: %v", err)
			}
		}
		written := make(chan error, 1)
		go func() {
			_, err := w.WriteString("during\n")
			written <- err
		}()
		select {
		case err := <-written:
			t.Fatalf("a stalled log accepted a line (%v), want it to block", err)
		case <-time.After(100 * time.Millisecond):
		}
		for range 2 {
			if err := p.flow(); err != nil {
				t.Fatalf("resume the log: %v", err)
			}
		}
		if err := <-written; err != nil {
			t.Fatalf("the write during the stall: got error %v, want none after the log resumed",
				err)
		}
	}
	if err := p.stall(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.Close()
	p.end() // like a server that is killed while its log stalls
	if got, err := os.ReadFile(name); err != nil || string(got) != want.String() {
		t.Errorf("got a file with %q, want %q (%v)", got, want.String(), err)
	}
}
