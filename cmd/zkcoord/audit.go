package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/zkcoord/zkcoord/harness/report"
	"github.com/zkcoord/zkcoord/internal/audit"
	"github.com/zkcoord/zkcoord/internal/txnlog"
	"github.com/zkcoord/zkcoord/internal/znode"
)

// The type `auditing` is one execution of the command audit.
type auditing struct {
	app      *app
	path     string
	from, to auditTime
	logs     []string // paths of the logs of clients
	clock    time.Duration
	limit    int
	report   string

	txns        int
	first, last time.Time // times of the first and the last transaction
	summary     audit.Summary
}

// auditTime is a flag with a time.
type auditTime struct{ time.Time }

func (t *auditTime) Set(s string) (err error) {
	t.Time, err = time.Parse(time.RFC3339Nano, s)
	return err
}

func (t *auditTime) Type() string { return "time" }

func (t *auditTime) String() string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339Nano)
}

func (a *app) auditCommand() *cobra.Command {
	w := auditing{app: a}
	c := &cobra.Command{
		Use:   "audit DIR...",
		Short: "Show from the servers' transaction logs who held what, and when",
		Long: `Read the transaction logs of servers and show who held which lock, led, claimed an item or was a member, and when, with
session, label and token. The report names expired sessions, takeovers, the longest waits, and abandoned znodes. It
recognizes the layouts of zkcoord, Curator and kazoo, and shows other ephemeral znodes with their owners.

DIR is the directory version-2 of one server, its parent, or a directory with one directory for each server. The logs of
several servers are compared. If old logs are missing, the audit starts from the oldest snapshot that fits the rest.

With --report, also write a web page with a timeline of who held what.

With --client-log, compare what clients wrote in their own logs (see docs/audit.md) with what the servers committed.

Exit codes: 0 done, 1 the servers' logs contradict a client's log or each other, 2 the logs contain no transaction,
3 they could not be read.`,
		Example: `  zkcoord audit /var/lib/zookeeper/version-2 --path /locks/backup
  zkcoord audit zk1/ zk2/ zk3/ --from 2026-11-29T06:00:00Z --to 2026-11-29T06:05:00Z
  zkcoord audit /var/lib/zookeeper --client-log worker-1.log --client-log worker-2.log
  zkcoord audit /var/lib/zookeeper --client-log worker-1.log --report audit.html
  zkcoord audit /var/lib/zookeeper --json --limit 0`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := znode.Check(w.path); err != nil {
				return err
			}
			return w.run(args)
		},
	}
	flags := c.Flags()
	flags.StringVar(&w.path, "path", "/", "show only what is at or below this path")
	flags.Var(&w.from, "from", "show only what existed at or after this time, such as 2026-11-29T06:00:00Z (default: the start of the logs)")
	flags.Var(&w.to, "to", "show only what existed at or before this time (default: the end of the logs)")
	flags.StringArrayVar(&w.logs, "client-log", nil, "compare this log of a client with the servers' logs; repeat it for more logs")
	flags.StringVar(&w.report, "report", "", "write a web page to this file")
	flags.DurationVar(&w.clock, "clock", 100*time.Millisecond, "maximum difference between the clocks of clients and servers")
	flags.IntVar(&w.limit, "limit", 20, "maximum number of holds and waits to show for each path; the last ones are shown (0: all)")
	return c
}

func (w *auditing) run(dirs []string) error {
	// The command reads much and keeps little of it. With a target of 800 %, the garbage collector
	// runs less often, and the heap still stays below 100 MB.
	defer debug.SetGCPercent(debug.SetGCPercent(800))
	w.summary.Most = w.limit
	claims, err := w.claims()
	if err != nil {
		return err
	}
	logs, err := openLogs(dirs)
	if err != nil {
		return err
	}
	start, err := logs.start(w.app.note)
	if err != nil {
		return err
	}
	merged := txnlog.Merge(start.Zxid, logs.servers...)
	relevant := audit.Relevant(claims)
	var spans []audit.Span
	for s, err := range audit.Spans(start, w.path, w.counted(merged.All())) {
		if err != nil {
			return err
		}
		if relevant(s) {
			spans = append(spans, s)
		}
		if !s.Within(w.from.Time, w.to.Time) {
			continue
		}
		w.summary.Add(s, w.last)
		if w.app.json {
			if err := w.app.printJSON(w.shownSpan(s)); err != nil {
				return err
			}
		}
	}
	conflicts := audit.Compare(claims, spans, w.clock, w.first, w.last)
	all := w.found(len(logs.servers), merged, claims, conflicts)
	if w.app.json {
		err = w.printJSON(len(logs.servers), merged, conflicts)
	} else {
		w.print(all)
	}
	if w.report != "" {
		err = errors.Join(err, written(w.report, func(f io.Writer) error { return report.WriteAudit(f, all) }))
	}
	switch {
	case err != nil:
		return err
	case len(conflicts) > 0 || len(merged.Differ) > 0:
		return codeError(exitInvalid)
	case w.txns == 0:
		return codeError(exitUnknown)
	}
	return nil
}

// The method `counted` returns an iterator over the transactions `txns`. The iterator counts them,
// and records the times of the first and the last one.
func (w *auditing) counted(txns iter.Seq2[txnlog.Txn, error]) iter.Seq2[txnlog.Txn, error] {
	return func(yield func(txnlog.Txn, error) bool) {
		for t, err := range txns {
			if err == nil {
				w.last = time.UnixMilli(t.Time).UTC()
				if w.txns++; w.txns == 1 {
					w.first = w.last
				}
			}
			if !yield(t, err) {
				return
			}
		}
	}
}

// The method `claims` reads the clients' logs. It leaves out claims outside of --path, and claims
// outside of the time between --from and --to.
func (w *auditing) claims() ([]audit.Claim, error) {
	var all []audit.Claim
	for _, name := range w.logs {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		claims, err := audit.ReadClaims(name, f)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		if len(claims) == 0 {
			w.app.note("%s has no entry \"hold begins\" or \"hold ends\": it is not a log of session.Options.HoldLog, or nothing was held", name)
		}
		for _, c := range claims {
			if audit.Below(c.Path, w.path) && (w.from.IsZero() || !c.To.Before(w.from.Time)) && (w.to.IsZero() || !c.From.After(w.to.Time)) {
				all = append(all, c)
			}
		}
	}
	return all, nil
}

// serverLogs are the logs and snapshots of all servers.
type serverLogs struct {
	servers   []txnlog.Server
	snapshots []snapshotFile
}

type snapshotFile struct {
	path string
	zxid int64
}

// openLogs finds the logs and the snapshots in the directories.
func openLogs(dirs []string) (*serverLogs, error) {
	all := new(serverLogs)
	var elsewhere []int64 // zxids of snapshots in directories without logs
	for _, dir := range dirs {
		found, err := logDirs(dir)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("%s has no transaction logs and no snapshots: want files such as log.100000001", dir)
		}
		for _, dir := range found {
			s, logs, err := all.open(dir)
			if err != nil {
				return nil, err
			}
			if logs {
				all.servers = append(all.servers, s)
			} else {
				elsewhere = append(elsewhere, s.Snapshots...)
			}
		}
	}
	if len(all.servers) == 0 {
		return nil, fmt.Errorf("%s: there are snapshots, but no transaction logs: give the servers' dataLogDir as well", strings.Join(dirs, ", "))
	}
	for i := range all.servers { // a snapshot from a directory without logs may belong to any server
		s := &all.servers[i]
		s.Snapshots = slices.Sorted(slices.Values(append(s.Snapshots, elsewhere...)))
	}
	slices.SortFunc(all.snapshots, func(a, b snapshotFile) int { return cmp.Compare(a.zxid, b.zxid) })
	return all, nil
}

// open opens the logs and snapshots of one directory, and reports whether the directory has logs.
func (l *serverLogs) open(dir string) (s txnlog.Server, logs bool, err error) {
	if s, err = txnlog.Open(dir, os.DirFS(dir)); err != nil {
		return s, false, err
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		switch kind, zxid, ok := txnlog.ParseName(e.Name()); {
		case ok && kind == "log":
			logs = true
		case ok:
			l.snapshots = append(l.snapshots, snapshotFile{filepath.Join(dir, e.Name()), zxid})
		}
	}
	return s, logs, err
}

// logDirs returns the directories with logs or snapshots. If dir itself has logs or snapshots, the
// result is only dir. Otherwise logDirs searches the subdirectories of dir, and version-2 of each
// subdirectory.
func logDirs(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	has := func(e fs.DirEntry) bool { _, _, ok := txnlog.ParseName(e.Name()); return ok && !e.IsDir() }
	if slices.ContainsFunc(entries, has) {
		return []string{dir}, nil
	}
	var found []string
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		for _, sub := range []string{e.Name(), filepath.Join(e.Name(), "version-2")} {
			inside, err := os.ReadDir(filepath.Join(dir, sub))
			if err == nil && slices.ContainsFunc(inside, has) {
				found = append(found, filepath.Join(dir, sub))
			}
		}
	}
	return found, nil
}

// The method `start` returns the state before the first transaction in the logs. If that
// transaction is the ensemble's first, the state is empty. Otherwise the state is the content of
// the oldest readable snapshot after which no transaction is missing. If there is no such snapshot,
// `start` calls `note` to report that, and returns an empty state.
func (l *serverLogs) start(note func(string, ...any)) (audit.Start, error) {
	first, err := l.firstZxid()
	if err != nil || first <= 1<<32+1 {
		return audit.Start{}, err
	}
	for _, file := range l.snapshots {
		fits := file.zxid >= first-1
		// If the transaction `first` begins an epoch, the zxid of the transaction before it is not
		// first-1. So the last snapshot before `first` fits as well.
		if !fits && first&(1<<32-1) == 1 {
			fits = !slices.ContainsFunc(l.snapshots, func(o snapshotFile) bool { return o.zxid > file.zxid && o.zxid < first })
		}
		if !fits {
			continue
		}
		start, err := file.read()
		if err == nil {
			return start, nil
		}
		// An empty snapshot is not worth a note: zkcoord run --txn-logs copies each snapshot as an
		// empty file.
		if info, failed := os.Stat(file.path); failed != nil || info.Size() > 0 {
			note("%s is not used: %v", file.path, err)
		}
	}
	note("the logs begin with transaction %s, and no snapshot fits: znodes that were created before are not shown", hex(first))
	return audit.Start{}, nil
}

func (l *serverLogs) firstZxid() (int64, error) {
	first := int64(0)
	for _, s := range l.servers {
		for t, err := range s.Txns {
			if errors.Is(err, txnlog.ErrTorn) {
				continue
			}
			if err != nil {
				return 0, err
			}
			if first == 0 || t.Zxid < first {
				first = t.Zxid
			}
			break
		}
	}
	return first, nil
}

func (f snapshotFile) read() (audit.Start, error) {
	in, err := os.Open(f.path)
	if err != nil {
		return audit.Start{}, err
	}
	defer in.Close()
	start := audit.Start{Zxid: f.zxid}
	start.Sessions, err = txnlog.ReadSnapshot(f.path, in, start.Add)
	return start, err
}
