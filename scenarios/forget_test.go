package scenarios

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/adler32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/ensemble/process"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/internal/zkversion"
)

// Real servers are upgraded under load, and each one that has become the new version has forgotten the oldest member of
// a group that was in its log. The others have it.
func TestAForgottenEphemeralIsFoundOnRealServers(t *testing.T) {
	for _, version := range []string{zkversion.Oldest, zkversion.Default} {
		if _, _, err := process.Find(t.Context(), version); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("CI is set: %v", err)
			}
			t.Skip(err)
		}
	}
	for seed := range uint64(5) {
		r, n := upgradeReal(t, Group(), seed, true)
		if n > 0 && r.Verdict == checker.Invalid {
			broken := r.Failed()[0]
			t.Logf("seed %d, %d forgotten: %s: %s", seed, n, broken.ID, broken.Reason)
			if !strings.HasPrefix(broken.ID, "group/") {
				t.Errorf("%s was violated, want a property of the group", broken.ID)
			}
			if r, _ := upgradeReal(t, Group(), seed, false); r.Verdict == checker.Invalid {
				t.Errorf("invalid although nothing was forgotten: %s", r.Summary())
			}
			return
		}
		t.Logf("seed %d, %d forgotten: %v", seed, n, r.Verdict)
	}
	t.Error("nodes that forget an ephemeral were not found out")
}

// upgradeReal runs s on real servers that are upgraded, and says how many znodes were forgotten.
func upgradeReal(t *testing.T, s harness.Scenario, seed uint64, forgets bool) (r *harness.Result, forgotten int64) {
	t.Helper()
	s, names := With(s, "rolling-upgrade")
	start := process.Starter(process.Options{})
	var n atomic.Int64
	r, err := harness.Run(t.Context(), s, harness.Options{
		Ensemble: func(ctx context.Context, config ensemble.Config) (ensemble.Ensemble, error) {
			e, err := start(ctx, config)
			if err != nil || !forgets {
				return e, err
			}
			return &forgetful{e.(*process.Ensemble), &n}, nil
		},
		Time: 20 * time.Second, Seed: seed, Faults: names,
		Plan: harness.Plan{{Fault: "rolling-upgrade", Target: "all", At: 5 * time.Second, For: 9 * time.Second}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r, n.Load()
}

// forgetful is an ensemble whose nodes forget an ephemeral znode when they become another version.
type forgetful struct {
	*process.Ensemble
	forgotten *atomic.Int64
}

func (f *forgetful) SetVersion(ctx context.Context, node int, version string) error {
	if err := f.Ensemble.SetVersion(ctx, node, version); err != nil {
		return err
	}
	logs, err := filepath.Glob(filepath.Join(f.DataDir(node), "log.*"))
	if err != nil || len(logs) == 0 {
		return errors.Join(err, errors.New("there is no log"))
	}
	newest := slices.MaxFunc(logs, func(a, b string) int { return len(a)*100 - len(b)*100 + strings.Compare(a, b) }) // they end in a hex zxid
	text, err := os.ReadFile(newest)
	if err != nil {
		return err
	}
	text, ok, err := forgetOldest(text)
	if err != nil || !ok {
		return err
	}
	f.forgotten.Add(1)
	return os.WriteFile(newest, text, 0o600)
}

// A logEntry is one of ZooKeeper's transaction log: a checksum, the length of the transaction, the transaction, a B.
type logEntry struct {
	from, to int    // in the log
	txn      []byte // begins with session, cxid, zxid, time and type
}

const (
	logHeader = 16 // magic, version, database
	txnHeader = 8 + 4 + 8 + 8 + 4
)

func (e logEntry) session() int64 { return int64(binary.BigEndian.Uint64(e.txn)) }
func (e logEntry) op() wire.Op    { return wire.Op(binary.BigEndian.Uint32(e.txn[txnHeader-4:])) }

// logEntries cuts a log up to the zeros that make room for more.
func logEntries(log []byte) (all []logEntry, err error) {
	for at := logHeader; at+12 < len(log); {
		n := int(binary.BigEndian.Uint32(log[at+8:]))
		if n == 0 {
			break
		}
		end := at + 12 + n + 1
		if n < txnHeader || end > len(log) || log[end-1] != 'B' {
			break // the server was killed as it wrote
		}
		txn := log[at+12 : end-1]
		if sum := binary.BigEndian.Uint64(log[at:]); sum != uint64(adler32.Checksum(txn)) {
			return nil, fmt.Errorf("log at %d: checksum %x of a transaction that has %x", at, sum, adler32.Checksum(txn))
		}
		all = append(all, logEntry{at, end, txn})
		at = end
	}
	return all, nil
}

// forgetOldest returns a log in which the create of the oldest member that is still there is a request that
// failed, so that all zxids stay what they are. It is not ok if there is none.
func forgetOldest(log []byte) (without []byte, ok bool, err error) {
	all, err := logEntries(log)
	if err != nil {
		return nil, false, err
	}
	var oldest logEntry
	gone, ended := map[string]bool{}, map[int64]bool{}
	for _, e := range slices.Backward(all) {
		body := e.txn[txnHeader:]
		switch e.op() {
		case wire.OpCloseSession:
			ended[e.session()] = true
		case wire.OpDelete:
			gone[path(body)] = true
		case wire.OpMulti: // of parts, each an operation and its transaction
			for n, rest := binary.BigEndian.Uint32(body), body[4:]; n > 0; n-- {
				size := binary.BigEndian.Uint32(rest[4:])
				if wire.Op(binary.BigEndian.Uint32(rest)) == wire.OpDelete {
					gone[path(rest[8:])] = true
				}
				rest = rest[8+size:]
			}
		case wire.OpCreate, wire.OpCreate2:
			if name := path(body); strings.Contains(name, "/group/") && !gone[name] && !ended[e.session()] {
				oldest, ok = e, true
			}
		}
	}
	if !ok {
		return nil, false, nil
	}
	return slices.Concat(log[:oldest.from], failed(oldest), log[oldest.to:]), true, nil
}

// path is the first field of a transaction.
func path(body []byte) string { return string(body[4 : 4+binary.BigEndian.Uint32(body)]) }

// failed is the entry of a request that failed, in place of e.
func failed(e logEntry) []byte {
	failure := wire.OpError
	txn := binary.BigEndian.AppendUint32(slices.Clone(e.txn[:txnHeader-4]), uint32(failure))
	code := wire.NoNode
	txn = binary.BigEndian.AppendUint32(txn, uint32(code))
	b := binary.BigEndian.AppendUint64(nil, uint64(adler32.Checksum(txn)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(txn)))
	return append(append(b, txn...), 'B')
}
