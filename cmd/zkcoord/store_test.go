package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zkcoord/zkcoord/harness/report"
)

// Regression: an interrupt during a download was reported as a failure.
func TestInterruptEndsServingInTheMiddleOfADownload(t *testing.T) {
	dir := t.TempDir()
	run := filepath.Join(dir, "lock", "20260102T030405.006Z")
	if err := os.MkdirAll(run, 0o755); err != nil {
		t.Fatal(err)
	}
	history := filepath.Join(run, report.HistoryFile)
	if err := os.WriteFile(history, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(history, 256<<20); err != nil { // more than all socket buffers
		t.Fatal(err)
	}
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	told, out := io.Pipe()
	a := quietApp()
	a.out = &output{Writer: out}
	served := make(chan error, 1)
	go func() {
		served <- a.serve(ctx, "127.0.0.1:0", dir)
		out.Close() // otherwise the read below would wait forever if serve fails
	}()
	url, err := bufio.NewReader(told).ReadString('\n')
	if err != nil {
		t.Fatalf("read the printed address: got %q, %v; want a line", url, err)
	}
	download, err := http.Get(strings.TrimSpace(url) + "run/lock/20260102T030405.006Z/" + report.HistoryFile)
	if err != nil {
		t.Fatal(err)
	}
	defer download.Body.Close()
	interrupt()
	if err := <-served; err != nil || download.StatusCode != http.StatusOK {
		t.Errorf("got status %s of the download and error %v of serve, want 200 OK and no error",
			download.Status, err)
	}
}
