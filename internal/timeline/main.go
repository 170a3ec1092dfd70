// Command timeline draws the picture in the README from histories of real runs. The picture shows
// two kinds of locks. For each kind, the holder of the lock is connected to a follower, and this
// follower is cut off from its peers.
//
//	zkcoord run isolated-follower -e container -s 7
//	zkcoord run isolated-follower -e container -s 7 --mutant zk-lock
//	go run ./internal/timeline store/isolated-follower+zk-lock/latest/history.jsonl store/isolated-follower/latest/history.jsonl
//
// The command stores the drawn part of each history in internal/timeline. Without arguments, it
// draws the stored parts again.
package main

import (
	"bytes"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/zkcoord/zkcoord/harness/history"
)

const (
	folder = "internal/timeline"
	output = "docs/isolated-follower.svg"
)

// parts are the histories in the picture, from top to bottom.
var parts = []struct{ file, title string }{
	{"zk-lock.jsonl", "go-zookeeper's zk.Lock"},
	{"zkcoord.jsonl", "zkcoord's lock.Mutex"},
}

func main() {
	log.SetFlags(0)
	if err := run(os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(histories []string) error {
	if n := len(histories); n != 0 && n != len(parts) {
		return fmt.Errorf("got %d histories, want %d or none", n, len(parts))
	}
	for i, name := range histories {
		if err := keep(name, filepath.Join(folder, parts[i].file)); err != nil {
			return err
		}
	}
	svg, err := picture(folder)
	if err != nil {
		return err
	}
	return os.WriteFile(output, svg, 0o644)
}

// keep stores the drawn part of a history.
func keep(from, to string) error {
	h, err := read(from)
	if err != nil {
		return err
	}
	c, err := find(h)
	if err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	var b bytes.Buffer
	if err := c.part(h).WriteJSON(&b); err != nil {
		return err
	}
	return os.WriteFile(to, b.Bytes(), 0o644)
}

func read(name string) (*history.History, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return history.ReadJSON(f)
}

// picture draws the parts stored in dir.
func picture(dir string) ([]byte, error) {
	var panels []panel
	for _, p := range parts {
		h, err := read(filepath.Join(dir, p.file))
		if err != nil {
			return nil, err
		}
		c, err := find(h)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.file, err)
		}
		panels = append(panels, panel{title: p.title, cut: c, holds: c.holds(h)})
	}
	return draw(panels), nil
}
