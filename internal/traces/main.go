// Command traces draws the traces in docs/operations.md from spans of real runs. Without arguments
// it draws the recorded spans again:
//
//	go run ./internal/traces
//
// With the argument `record`, it first makes new recordings. It starts a ZooKeeper ensemble of
// local JVMs, injects faults or stops a process, and records the spans of sessionotel.Traces:
//
//	go run ./internal/traces record                  # all
//	go run ./internal/traces record expired-claim    # some
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"time"
)

//go:generate go run .

// A recording is one run, and the picture of its spans.
type recording struct {
	name   string // of the files
	title  string
	record func(ctx context.Context) ([]span, error)
}

var recordings = []recording{
	{"isolated-follower", "The follower of A is cut off from its peers", isolatedFollower},
	{"paused-process", "The process of A is stopped while it holds the lock", pausedProcess},
	{"expired-claim", "A takes longer than its claim of the item lasts", expiredClaim},
}

func main() {
	log.SetFlags(0)
	if path := os.Getenv(pausedMark); path != "" {
		exit(holdAndWrite(context.Background(), path))
	}
	root, err := moduleRoot()
	if err == nil && len(os.Args) > 1 {
		if os.Args[1] != "record" {
			exit(fmt.Errorf("unknown argument %q: want nothing, or record and the names of recordings", os.Args[1]))
		}
		err = recordNamed(filepath.Join(root, "internal/traces"), os.Args[2:])
	}
	if err == nil {
		err = drawAll(root)
	}
	exit(err)
}

func exit(err error) {
	if err != nil {
		log.Fatal(err)
	}
	os.Exit(0)
}

// moduleRoot returns the directory of go.mod, so that the command works from its own directory too.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	for ; err == nil; dir = filepath.Dir(dir) {
		if _, missing := os.Stat(filepath.Join(dir, "go.mod")); missing == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("traces: no go.mod here or above: start the command in the repository")
		}
	}
	return "", err
}

// recordNamed records the runs with the given names, or all if there are none.
func recordNamed(dir string, names []string) error {
	for _, r := range recordings {
		if len(names) > 0 && !slices.Contains(names, r.name) {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		spans, err := r.record(ctx)
		cancel()
		if err != nil {
			return fmt.Errorf("traces: record %s: %w", r.name, err)
		}
		if err := write(filepath.Join(dir, r.name+".jsonl"), spans); err != nil {
			return err
		}
	}
	return nil
}

func drawAll(root string) error {
	for _, r := range recordings {
		spans, err := read(filepath.Join(root, "internal/traces", r.name+".jsonl"))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(root, "docs", picture(r)), draw(r.title, spans), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func picture(r recording) string { return "trace-" + r.name + ".svg" }
