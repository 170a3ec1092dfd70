package fence_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lib/pq"

	"github.com/zkcoord/zkcoord/fence"
	"github.com/zkcoord/zkcoord/internal/needs"
)

// manyAtOnce runs many writers with random tokens, some of which are equal. Each write that is
// accepted appends its token to the data. So the data lists the tokens in the order in which they
// were accepted. manyAtOnce checks that no token follows a larger one, and that the data has
// exactly the accepted writes.
func manyAtOnce(t *testing.T, write func(token fence.Token, add string) error, read func() string) {
	t.Helper()
	const writers, writes, tokens = 8, 10, 20
	var calls sync.WaitGroup
	var mu sync.Mutex
	accepted := 0
	for range writers {
		calls.Go(func() {
			for range writes {
				token := 1 + fence.Token(rand.Int64N(tokens))
				err := write(token, fmt.Sprint(token, " "))
				var stale *fence.StaleError
				switch {
				case err == nil:
					mu.Lock()
					accepted++
					mu.Unlock()
				case !errors.As(err, &stale) || stale.Token != token || stale.Largest <= token:
					t.Errorf("token %d: got error %v, want none or a StaleError", token, err)
				}
			}
		})
	}
	calls.Wait()
	last, n := fence.Token(0), 0
	for _, field := range strings.Fields(read()) {
		var token fence.Token
		if _, err := fmt.Sscan(field, &token); err != nil || token < last {
			t.Fatalf("got token %q after %d, error %v; want tokens that rise: %q", field, last, err, read())
		}
		last = token
		n++
	}
	if n != accepted || n == 0 {
		t.Errorf("the data has %d writes, and %d calls got no error; want the same number, at least 1", n, accepted)
	}
}

// Many writers use one fence at the same time. No token is accepted after a larger one, and the
// data has exactly the accepted writes.
//
// Covers F1, F2, F3.
func TestConcurrentWritersAreInTheirOrder(t *testing.T) {
	t.Run("gate", func(t *testing.T) {
		var g fence.Gate
		data := ""
		manyAtOnce(t, func(token fence.Token, add string) error {
			return g.Do(t.Context(), token, func(context.Context) error {
				was := data
				runtime.Gosched()
				data = was + add
				return nil
			})
		}, func() string { return data })
	})
	t.Run("store", func(t *testing.T) {
		s := &locked{}
		manyAtOnce(t, func(token fence.Token, add string) error {
			return fence.Update(t.Context(), s, token, func(data []byte) ([]byte, error) {
				runtime.Gosched()
				return append(data[:len(data):len(data)], add...), nil
			})
		}, func() string { return string(s.v.Data) })
	})
	t.Run("table", func(t *testing.T) {
		d := startDatabase(t)
		d.SetMaxOpenConns(5) // fewer connections than writers
		manyAtOnce(t, func(token fence.Token, add string) error {
			return d.table.Do(t.Context(), "account", token, func(ctx context.Context, tx *sql.Tx) error {
				var data string // read, then write: only the guard row keeps others out
				if err := tx.QueryRowContext(ctx, "SELECT data FROM account").Scan(&data); err != nil {
					return err
				}
				return setTo(data+add)(ctx, tx)
			})
		}, func() string { return d.read(t) })
	})
}

// The type `locked` is a Store like the type `memory`, but several goroutines can use it at the
// same time.
type locked struct {
	sync.Mutex
	memory
}

func (l *locked) Load(ctx context.Context) (fence.Value, string, error) {
	l.Lock()
	defer l.Unlock()
	return l.memory.Load(ctx)
}

func (l *locked) Swap(ctx context.Context, version string, v fence.Value) (bool, error) {
	l.Lock()
	defer l.Unlock()
	return l.memory.Swap(ctx, version, v)
}

// Concurrent writers replace a file, each with its own token. In the end the file has the content
// that was written with the largest token.
//
// Covers F1, F5.
func TestConcurrentWritersOfAFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "account")
	var calls sync.WaitGroup
	for token := fence.Token(1); token <= 12; token++ {
		calls.Go(func() {
			if err := fence.WriteFile(t.Context(), name, token, lines(token), 0o600); err != nil && !errors.Is(err, fence.ErrStale) {
				t.Errorf("token %d: got error %v, want nil or %v", token, err, fence.ErrStale)
			}
		})
	}
	calls.Wait()
	if content(t, name) != string(lines(12)) {
		t.Errorf("got content %.20q, want that of token 12", content(t, name))
	}
}

// A file and the symbolic links to it share one guard file, so a stale token is refused at each of
// these paths. A hard link keeps the old content when the file is replaced.
//
// Covers F1.
func TestSymbolicLinksHaveTheGuardOfTheirFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "real"), 0o700); err != nil {
		t.Fatal(err)
	}
	file, link, through := filepath.Join(dir, "real", "account"), filepath.Join(dir, "link"), filepath.Join(dir, "dir")
	for name, to := range map[string]string{link: file, through: filepath.Join(dir, "real"), filepath.Join(dir, "dangling"): filepath.Join(dir, "none")} {
		needs.Installed(t, os.Symlink(to, name))
	}
	write := func(name string, token fence.Token) error {
		return fence.WriteFile(t.Context(), name, token, []byte(fmt.Sprint("of ", token)), 0o600)
	}
	if err := write(file, 7); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{link, filepath.Join(through, "account")} {
		if err := write(name, 6); !errors.Is(err, fence.ErrStale) {
			t.Errorf("token 6 by %s: got %v, want %v", name, err, fence.ErrStale)
		}
	}
	if err := write(link, 8); err != nil || content(t, file) != "of 8" {
		t.Errorf("token 8 by the link: got error %v and content %q, want nil and \"of 8\"", err, content(t, file))
	}
	if target, err := os.Readlink(link); err != nil || target != file {
		t.Errorf("the link leads to %q, error %v; want %q", target, err, file)
	}
	if err := write(filepath.Join(dir, "dangling"), 9); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a link to nothing: got error %v, want %v", err, os.ErrNotExist)
	}
	other := filepath.Join(dir, "hard")
	if err := os.Link(file, other); err != nil {
		t.Fatal(err)
	}
	if err := write(file, 9); err != nil || content(t, file) != "of 9" || content(t, other) != "of 8" {
		t.Errorf("got error %v, content %q and %q by a hard link; want nil, \"of 9\", \"of 8\"", err, content(t, file), content(t, other))
	}
}

// In this test a process has stored token 7 in the guard file, and was killed while it wrote the
// temporary file. Afterwards token 7 is still accepted, and token 6 is refused.
//
// Covers F1, F5.
func TestWriteFileGoesOnAfterAnInterruptedOne(t *testing.T) {
	name := filepath.Join(t.TempDir(), "account")
	if err := fence.WriteFile(t.Context(), name, 5, []byte("of 5"), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{name + ".fence": "0000000000000000007\n", name + ".fence-new": "of"} {
		if err := os.WriteFile(file, []byte(text), 0o400); err != nil {
			t.Fatal(err)
		}
	}
	if err := fence.WriteFile(t.Context(), name, 6, []byte("of 6"), 0o600); !errors.Is(err, fence.ErrStale) || content(t, name) != "of 5" {
		t.Errorf("token 6: got %v, content %q; want %v, \"of 5\"", err, content(t, name), fence.ErrStale)
	}
	if err := fence.WriteFile(t.Context(), name, 7, []byte("of 7"), 0o600); err != nil || content(t, name) != "of 7" {
		t.Errorf("token 7: got %v, content %q; want nil, \"of 7\"", err, content(t, name))
	}
	if left, _ := filepath.Glob(name + "*"); len(left) != 2 {
		t.Errorf("got files %q, want the file and its guard", left)
	}
}

// limitedMark is an environment variable whose value is the name of a file. If the variable is set,
// the test binary runs no tests and only calls writeLimited with that file.
// TestFileOnAFullDiskIsWhole starts the test binary with this variable and with a limit on the size
// of files. So a write fails as if the disk were full.
const limitedMark = "ZKCOORD_FENCE_LIMITED"

// writeLimited writes a file larger than the limit, prints the error, and ends the process.
func writeLimited(name string) {
	ignoreFileSizeSignal()
	fmt.Print(fence.WriteFile(context.Background(), name, 7, lines(7), 0o600))
	os.Exit(0)
}

// If the disk is full, the file keeps its old content. The test has two cases: the disk is full
// when WriteFile writes the temporary file, or already when it writes the guard file.
//
// Covers F1, F5.
func TestFileOnAFullDiskIsWhole(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux: the test limits the size of files with ulimit -f")
	}
	for _, c := range []struct {
		limit string
		guard string
		then  fence.Token // the smallest token that is accepted afterwards
	}{{"1", "0000000000000000007\n", 7}, {"0", "0000000000000000005\n", 5}} {
		name := filepath.Join(t.TempDir(), "account")
		if err := fence.WriteFile(t.Context(), name, 5, []byte("of 5"), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sh", "-c", "ulimit -f "+c.limit+`; exec "$0"`, os.Args[0])
		cmd.Env = append(os.Environ(), limitedMark+"="+name)
		if out, err := cmd.Output(); err != nil || !strings.Contains(string(out), "file too large") {
			t.Errorf("limit %s: got %q, %v; want an error of the write", c.limit, out, err)
		}
		if left, _ := filepath.Glob(name + "*"); len(left) != 2 || content(t, name) != "of 5" || content(t, name+".fence") != c.guard {
			t.Errorf("limit %s: got files %q, content %q, guard %q; want the old content and %q", c.limit, left, content(t, name), content(t, name+".fence"), c.guard)
		}
		if err := fence.WriteFile(t.Context(), name, c.then-1, nil, 0o600); !errors.Is(err, fence.ErrStale) {
			t.Errorf("limit %s: token %d afterwards: got %v, want %v", c.limit, c.then-1, err, fence.ErrStale)
		}
		if err := fence.WriteFile(t.Context(), name, c.then, nil, 0o600); err != nil {
			t.Errorf("limit %s: token %d afterwards: got %v, want nil", c.limit, c.then, err)
		}
	}
}

// No call leaves a file open, whether it writes, is refused or fails.
func TestWriteFileClosesItsFiles(t *testing.T) {
	opened := func() int {
		files, err := os.ReadDir("/proc/self/fd")
		needs.Installed(t, err)
		return len(files)
	}
	name := filepath.Join(t.TempDir(), "account")
	if err := errors.Join(os.Mkdir(name+"-dir", 0o700), os.Mkdir(name+"-full", 0o700), os.Mkdir(name+"-full.fence-new", 0o700),
		os.WriteFile(name+"-full.fence-new/file", nil, 0o600), os.WriteFile(name+"-bad.fence", []byte("x"), 0o600)); err != nil {
		t.Fatal(err)
	}
	before, failed := opened(), 0
	for i := range fence.Token(20) {
		for _, file := range []string{name, name + "-dir", name + "-full", name + "-bad", name + "/none"} {
			if fence.WriteFile(t.Context(), file, 1+i%7, []byte("data"), 0o600) != nil {
				failed++
			}
		}
	}
	if after := opened(); after > before+2 || failed < 80 {
		t.Errorf("%d files are open after %d failed calls; want at most %d after at least 80",
			after, failed, before+2)
	}
}

// The largest int64 is a valid token, and no token is larger.
//
// Covers F1.
func TestLargestNumberIsAToken(t *testing.T) {
	for name, w := range ways {
		t.Run(name, func(t *testing.T) { largestNumber(t, w) })
	}
	t.Run("table", func(t *testing.T) {
		largestNumber(t, func(t *testing.T) (func(fence.Token, string) error, func() string) {
			d := startDatabase(t)
			return func(token fence.Token, text string) error {
				return d.table.Do(t.Context(), "account", token, setTo(text))
			}, func() string { return d.read(t) }
		})
	})
}

func largestNumber(t *testing.T, w way) {
	write, read := w(t)
	for _, token := range []fence.Token{math.MaxInt64 - 1, math.MaxInt64, math.MaxInt64} {
		if err := write(token, "large"); err != nil {
			t.Fatalf("token %d: got error %v, want nil", token, err)
		}
	}
	for _, token := range []fence.Token{math.MaxInt64 - 1, 1} {
		if err := write(token, "stale"); !errors.Is(err, fence.ErrStale) {
			t.Errorf("token %d: got error %v, want %v", token, err, fence.ErrStale)
		}
	}
	if err := write(math.MinInt64, "negative"); !errors.Is(err, fence.ErrNoToken) {
		t.Errorf("the smallest number: got error %v, want %v", err, fence.ErrNoToken)
	}
	if got := read(); got != "large" {
		t.Errorf("got data %q, want \"large\"", got)
	}
}

// In this test the program also sets the header Fencing-Token itself, in another spelling. The
// request then has two tokens, so the server refuses it.
//
// Covers F6.
func TestHTTPHeaderOfAnotherSpellingIsNoSecondToken(t *testing.T) {
	s := httptest.NewServer(fence.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		token, _ := fence.FromContext(r.Context())
		t.Errorf("a request with two tokens was served with token %d, want it refused", token)
	})))
	defer s.Close()
	r, err := http.NewRequestWithContext(fence.WithToken(t.Context(), 5), http.MethodPost, s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header["fencing-TOKEN"] = []string{"9"}
	response, err := (&http.Client{Transport: &fence.Transport{Base: s.Client().Transport}}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusBadRequest {
		t.Errorf("got status %d, want 400", response.StatusCode)
	}
}

// Many clients can create the same table at the same time, for example when a program starts on
// many machines.
func TestTableIsCreatedByManyAtOnce(t *testing.T) {
	d := startDatabase(t)
	for round := range 5 {
		table := fence.Table{DB: d.DB, Name: fmt.Sprint("guards", round)}
		var calls sync.WaitGroup
		for range 10 {
			calls.Go(func() {
				if err := table.Create(t.Context()); err != nil {
					t.Errorf("create the table %s: got error %v, want nil", table.Name, err)
				}
			})
		}
		calls.Wait()
	}
	refused := fence.Table{DB: d.DB, Name: "nowhere.fence"}
	if err := refused.Create(t.Context()); err == nil {
		t.Error("a table in a schema that does not exist: got no error, want one")
	}
}

// The function `code` returns the SQLSTATE of an error.
func code(err error) string {
	var of *pq.Error
	if errors.As(err, &of) {
		return string(of.Code)
	}
	return ""
}

// In this test PostgreSQL refuses a transaction at its COMMIT, because another transaction
// conflicts with it. The error of Do contains the reason, and means that nothing was committed.
//
// Covers F4.
func TestSerializationFailureAtCommitIsDefinite(t *testing.T) {
	d := startDatabase(t)
	d.table.TxOptions = &sql.TxOptions{Isolation: sql.LevelSerializable}
	d.exec(t, "CREATE TABLE doctors (id int PRIMARY KEY, on_call boolean)")
	d.exec(t, "INSERT INTO doctors VALUES (1, true), (2, true)")
	leave := func(id int, meanwhile func()) error { // a write skew: each transaction still sees the other doctor on call
		return d.table.Do(t.Context(), fmt.Sprint("doctor ", id), 5, func(ctx context.Context, tx *sql.Tx) error {
			var others int
			if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM doctors WHERE on_call AND id <> $1", id).Scan(&others); err != nil || others == 0 {
				return errors.Join(err, errHere)
			}
			_, err := tx.ExecContext(ctx, "UPDATE doctors SET on_call = false WHERE id = $1", id)
			meanwhile()
			return err
		})
	}
	var second error
	first := leave(1, func() { second = leave(2, func() {}) })
	if second != nil {
		t.Fatalf("second transaction: got error %v, want nil", second)
	}
	if code(first) != "40001" || errors.Is(first, fence.ErrUnknown) || errors.Is(first, fence.ErrStale) {
		t.Errorf("got error %v, want a definite serialization failure", first)
	}
	var onCall int
	if err := d.QueryRowContext(t.Context(), "SELECT count(*) FROM doctors WHERE on_call").Scan(&onCall); err != nil || onCall != 1 {
		t.Errorf("%d doctors are on call, error %v; want 1", onCall, err)
	}
}

// In this test the function passed to Do ignores the error of a statement. The transaction then
// cannot be committed. So Do must return an error, and this error must not be ErrUnknown.
//
// Covers F4.
func TestIgnoredErrorOfAStatementIsNoCommit(t *testing.T) {
	d := startDatabase(t)
	err := d.table.Do(t.Context(), "account", 5, func(ctx context.Context, tx *sql.Tx) error {
		_, _ = tx.ExecContext(ctx, "SELECT 1/0")
		return nil
	})
	if err == nil || errors.Is(err, fence.ErrUnknown) {
		t.Errorf("got error %v, want a definite one", err)
	}
	if got, err := d.table.Largest(t.Context(), "account"); got != 0 || err != nil {
		t.Errorf("got largest token %d, error %v; want none", got, err)
	}
}

// In this test two transactions lock two resources in opposite orders. PostgreSQL ends one
// transaction with a deadlock error, and the other one is committed. If a token is stale for one of
// two resources, the whole transaction is refused.
//
// Covers F1, F4.
func TestTwoResourcesInOneTransaction(t *testing.T) {
	d := startDatabase(t)
	both := func(token fence.Token, first, second string, locked func()) error {
		return d.table.Do(t.Context(), first, token, func(ctx context.Context, tx *sql.Tx) error {
			locked()
			if err := d.table.Check(ctx, tx, second, token); err != nil {
				return err
			}
			return setTo(fmt.Sprint("of ", token))(ctx, tx)
		})
	}
	var barrier sync.WaitGroup
	barrier.Add(2)
	meet := func() { barrier.Done(); barrier.Wait() }
	results := make(chan error, 2)
	go func() { results <- both(5, "a", "b", meet) }()
	go func() { results <- both(7, "b", "a", meet) }()
	one, other := <-results, <-results
	if one == nil {
		one, other = other, one
	}
	if code(one) != "40P01" || other != nil {
		t.Fatalf("got errors %v and %v, want one deadlock and one success", one, other)
	}
	won := d.read(t)
	// If the token for one of the two resources is stale, the whole transaction is refused.
	if err := both(9, "a", "b", func() {}); err != nil {
		t.Fatal(err)
	}
	if err := d.table.Do(t.Context(), "b", 11, setTo("of 11")); err != nil {
		t.Fatal(err)
	}
	if err := both(10, "a", "b", func() {}); !errors.Is(err, fence.ErrStale) {
		t.Errorf("a token that is stale for one of two resources: got %v, want %v", err, fence.ErrStale)
	}
	if got, err := d.table.Largest(t.Context(), "a"); got != 9 || err != nil || d.read(t) != "of 11" {
		t.Errorf("got largest token %d of the other resource, error %v, account %q (before: %q); want 9 and \"of 11\"", got, err, d.read(t), won)
	}
}

// In this test a holder is paused within its transaction, and the server ends the connection of
// this holder. The transaction of the paused holder is not committed. The transaction of the next
// holder is committed.
//
// Covers F1, F4.
func TestConnectionEndedWithinATransaction(t *testing.T) {
	d := startDatabase(t)
	var later error
	err := d.table.Do(t.Context(), "account", 5, func(ctx context.Context, tx *sql.Tx) error {
		if err := setTo("of 5")(ctx, tx); err != nil {
			return err
		}
		var backend int
		if err := tx.QueryRowContext(ctx, "SELECT pg_backend_pid()").Scan(&backend); err != nil {
			return err
		}
		d.exec(t, fmt.Sprintf("SELECT pg_terminate_backend(%d)", backend))
		later = d.table.Do(t.Context(), "account", 7, setTo("of 7"))
		return nil
	})
	if err == nil || later != nil || d.read(t) != "of 7" {
		t.Errorf("token 5 on the ended connection: got error %v, want one; token 7: got error %v, want nil; got account %q, want \"of 7\"",
			err, later, d.read(t))
	}
	if happened := errors.Is(err, fence.ErrUnknown); happened {
		t.Logf("the other transaction has followed: %v", err)
	}
}

// Do can read the guard row after it has lost its connection, even if the pool has only one
// connection.
//
// Covers F4.
func TestTableLooksThroughAPoolOfOneConnection(t *testing.T) {
	d := startDatabase(t)
	d.SetMaxOpenConns(1)
	for _, where := range []string{before, behind, after} {
		done := make(chan error, 1)
		go func() {
			done <- d.table.Do(t.Context(), "account", 5, func(ctx context.Context, tx *sql.Tx) error {
				defer d.cut.Store(&cut{at: 1, where: where}) // at COMMIT
				return setTo(where)(ctx, tx)
			})
		}()
		select {
		case err := <-done:
			d.cut.Store(nil)
			if committed := d.read(t) == where; errors.Is(err, fence.ErrUnknown) || (err == nil) != committed {
				t.Errorf("connection cut %s: got error %v, but committed is %t", where, err, committed)
			}
		case <-time.After(time.Minute):
			t.Fatalf("connection cut %s: Do does not return", where)
		}
	}
}
