package scenarios

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"maps"
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
	"github.com/zkcoord/zkcoord/internal/needs"
	"github.com/zkcoord/zkcoord/internal/txnlog"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/internal/zkversion"
)

// In this test real servers are upgraded under load. Each upgraded server forgets one group member:
// the oldest in its log. The other servers still have this member. The property
// witness/servers-agree finds the difference in the servers' logs. Whether the clients' history
// shows it too depends on the moment of the upgrade.
func TestAForgottenEphemeralIsFoundOnRealServers(t *testing.T) {
	for _, version := range []string{zkversion.Oldest, zkversion.Default} {
		_, _, err := process.Find(t.Context(), version)
		needs.Installed(t, err)
	}
	for seed := range uint64(5) {
		r, n := upgradeReal(t, Group(), seed, true)
		if n == 0 {
			t.Logf("seed %d: nothing was forgotten", seed)
			continue
		}
		found := false
		for _, p := range r.Failed() {
			t.Logf("seed %d, %d forgotten: %s: %s", seed, n, p.ID, p.Reason)
			found = found || p.ID == "witness/servers-agree"
		}
		if !found {
			t.Errorf("seed %d, %d forgotten: got %v, want witness/servers-agree violated", seed, n, r.Verdict)
		}
		if r, _ := upgradeReal(t, Group(), seed, false); r.Verdict == checker.Invalid {
			t.Errorf("seed %d, nothing forgotten: got %v, want no violation\n%s",
				seed, r.Verdict, r.Summary())
		}
		return
	}
	t.Error("got no node that forgot an ephemeral with 5 seeds, want one")
}

// upgradeReal runs s on real servers that are upgraded. If `forgets` is true, each upgraded server
// forgets a group member. upgradeReal returns the number of forgotten znodes.
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
		t.Fatalf("seed %d, servers forget: %t: %v", seed, forgets, err)
	}
	return r, n.Load()
}

// The type `forgetful` is an ensemble whose nodes forget an ephemeral znode when they change to
// another version.
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
	// The names end in hexadecimal zxids without leading zeros, so a longer name is newer.
	newest := slices.MaxFunc(logs, func(a, b string) int { return len(a)*100 - len(b)*100 + strings.Compare(a, b) })
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

// forgetOldest finds the oldest group member that still exists at the end of the log. It returns a
// log in which a failed request replaces the create of that member, so that all zxids remain the
// same. The result `ok` is false if there is no such member.
func forgetOldest(log []byte) (without []byte, ok bool, err error) {
	members := map[string]txnlog.Txn{}
	for txn, err := range txnlog.Read(bytes.NewReader(log)) {
		if errors.Is(err, txnlog.ErrTorn) {
			break // the server was killed as it wrote
		}
		if err != nil {
			return nil, false, err
		}
		for _, c := range txn.Changes {
			switch {
			case c.Op == wire.OpDelete:
				delete(members, c.Path)
			case c.Op == wire.OpCreate && c.Ephemeral && strings.Contains(c.Path, "/group/"):
				members[c.Path] = txn
			}
		}
	}
	if len(members) == 0 {
		return nil, false, nil
	}
	oldest := slices.MinFunc(slices.Collect(maps.Values(members)), func(a, b txnlog.Txn) int { return cmp.Compare(a.Zxid, b.Zxid) })
	// An entry of the log consists of a checksum of 8 bytes, a length of 4 bytes, the transaction
	// and one more byte. The transaction begins with its header.
	at := bytes.Index(log, wire.Append(nil, &oldest.TxnHeader))
	end := at + int(binary.BigEndian.Uint32(log[at-4:])) + 1
	var failed bytes.Buffer
	oldest.Op = wire.OpError
	if err := txnlog.NewWriter(&failed).Append(oldest.TxnHeader, &wire.ErrorTxn{Code: wire.NoNode}); err != nil {
		return nil, false, err
	}
	const head = 16 // size in bytes of the header of a log
	return slices.Concat(log[:at-12], failed.Bytes()[head:], log[end:]), true, nil
}
