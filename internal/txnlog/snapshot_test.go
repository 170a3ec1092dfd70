package txnlog

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const contender = "/locks/a/0123456789abcdef0123456789abcdef-lock-0000000000"

// The test reads snapshots that real servers wrote. They contain a lock in a container, a znode
// with a time to live, and a znode of 10,000 bytes whose ACL differs from those of the other
// znodes.
func TestSnapshotsOfServersAreRead(t *testing.T) {
	for _, name := range []string{"snapshot-3.8", "snapshot-3.9.6.gz"} {
		nodes := make(map[string]Node)
		sessions, err := ReadSnapshot(name, bytes.NewReader(stored(t, name)), func(n Node) { nodes[n.Path] = n })
		if err != nil {
			t.Fatalf("%s: got %v, want no error", name, err)
		}
		lock := nodes[contender]
		if len(sessions) != 1 || sessions[lock.Session] != 10000 || lock.Session == 0 {
			t.Errorf("%s: got sessions %v and owner 0x%x, want that one with 10000 ms", name, sessions, lock.Session)
		}
		if string(lock.Data) != "label" || lock.Czxid != 5 || lock.Mzxid != 5 || lock.Created < 1e12 {
			t.Errorf("%s: got the data %q, czxid %d, mzxid %d, created at %d; want %q, 5, 5, at least 1e12",
				name, lock.Data, lock.Czxid, lock.Mzxid, lock.Created, "label")
		}
		if n := nodes["/locks/big"]; len(n.Data) != 10000 || n.Session != 0 {
			t.Errorf("%s: got %d bytes of session 0x%x, want 10000 of none", name, len(n.Data), n.Session)
		}
		if !nodes["/locks/a"].Container || nodes["/locks/t"].Container || lock.Container {
			t.Errorf("%s: got containers %v, %v and %v, want /locks/a alone", name, nodes["/locks/a"].Container, nodes["/locks/t"].Container, lock.Container)
		}
		for _, path := range []string{"", "/locks", "/locks/a", "/locks/t", "/zookeeper/quota"} {
			if n, ok := nodes[path]; !ok || n.Session != 0 {
				t.Errorf("%s: %q: found %v, session 0x%x; want it without one", name, path, ok, n.Session)
			}
		}
	}
}

// ReadSnapshot refuses an incomplete file, which a server leaves if it is killed while it writes a
// snapshot. It also refuses a file with a wrong bit, and other kinds of files.
func TestDamagedSnapshotIsRefused(t *testing.T) {
	whole := stored(t, "snapshot-3.8")
	const behind = 38 // bytes after the checksum: a digest and its own checksum
	for n := range len(whole) - behind {
		if _, err := ReadSnapshot("snapshot", bytes.NewReader(whole[:n]), func(Node) {}); !errors.Is(err, ErrSnapshot) {
			t.Fatalf("%d bytes of %d: got %v, want %v", n, len(whole), err, ErrSnapshot)
		}
	}
	flipped := bytes.Clone(whole)
	flipped[bytes.Index(whole, []byte("label"))] ^= 1
	for name, text := range map[string][]byte{"a bit": flipped, "empty": nil, "no znodes": whole[:16]} {
		if _, err := ReadSnapshot("snapshot", bytes.NewReader(text), func(Node) {}); !errors.Is(err, ErrSnapshot) {
			t.Errorf("%s: got %v, want %v", name, err, ErrSnapshot)
		}
	}
	for name, text := range map[string]string{"snapshot": "ZKLG\x00\x00\x00\x02", "snapshot.gz": "no gzip", "snapshot.1.snappy": ""} {
		if _, err := ReadSnapshot(name, strings.NewReader(text), func(Node) {}); err == nil {
			t.Errorf("%s with %q: got no error, want one", name, text)
		}
	}
}

func stored(t testing.TB, name string) []byte {
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func FuzzReadSnapshot(f *testing.F) {
	whole := stored(f, "snapshot-3.8")
	f.Add(whole)
	f.Add(whole[:400])
	f.Fuzz(func(t *testing.T, text []byte) {
		n := 0
		sessions, _ := ReadSnapshot("snapshot", bytes.NewReader(text), func(Node) { n++ })
		if n+len(sessions) > len(text) {
			t.Errorf("got %d znodes and %d sessions from %d bytes, want at most one a byte", n, len(sessions), len(text))
		}
	})
}
