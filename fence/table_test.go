package fence_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lib/pq"

	"github.com/zkcoord/zkcoord/fence"
	"github.com/zkcoord/zkcoord/internal/needs"
	"github.com/zkcoord/zkcoord/internal/postgres"
)

// A database is one schema on the shared PostgreSQL server, with a guard table and an account. Its
// connections can be cut.
type database struct {
	*sql.DB
	table fence.Table
	cut   atomic.Pointer[cut]
}

// The variable `server` is shared by all tests of the package.
var server struct {
	sync.Mutex
	*postgres.Server
	databases int
}

// startDatabase returns a database with an empty guard table. It needs PostgreSQL.
func startDatabase(t *testing.T) *database {
	t.Helper()
	needs.Installed(t, postgres.Installed())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	server.Lock()
	defer server.Unlock()
	if server.Server == nil {
		s, err := postgres.Start(ctx)
		if err != nil {
			t.Fatal(err)
		}
		server.Server = s
	}
	server.databases++
	schema := fmt.Sprint("test", server.databases)
	d := &database{}
	connector, err := pq.NewConnector(server.DSN() + " search_path=" + schema + " application_name=" + schema)
	if err != nil {
		t.Fatal(err)
	}
	connector.Dialer(d)
	d.DB = sql.OpenDB(connector)
	d.table = fence.Table{DB: d.DB}
	t.Cleanup(func() { d.Close() })
	d.exec(t, "CREATE SCHEMA "+schema)
	d.exec(t, "CREATE TABLE account (data text NOT NULL)")
	d.exec(t, "INSERT INTO account VALUES ('')")
	if err := d.table.Create(ctx); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *database) exec(t *testing.T, statement string) {
	t.Helper()
	if _, err := d.ExecContext(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func (d *database) read(t *testing.T) (data string) {
	t.Helper()
	if err := d.QueryRowContext(t.Context(), "SELECT data FROM account").Scan(&data); err != nil {
		t.Fatal(err)
	}
	return data
}

func setTo(data string) func(context.Context, *sql.Tx) error {
	return func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE account SET data = $1", data)
		return err
	}
}

// A Table in PostgreSQL accepts equal and larger tokens, and refuses smaller ones.
//
// Covers F1, F2, F3.
func TestTableRefusesSmallerTokens(t *testing.T) {
	refuses(t, func(t *testing.T) (func(fence.Token, string) error, func() string) {
		d := startDatabase(t)
		write := func(token fence.Token, text string) error {
			return d.table.Do(t.Context(), "account", token, setTo(text))
		}
		return write, func() string { return d.read(t) }
	})
}

// If a holder is paused within its transaction, the transaction of the next holder waits. If a
// holder is paused before its transaction begins, and the next holder has written meanwhile, the
// transaction of the paused holder is refused. No other transaction runs between the check and the
// write.
//
// Covers F1.
func TestTableLocksItsGuardRow(t *testing.T) {
	for _, existed := range []bool{false, true} {
		t.Run(fmt.Sprintf("row existed %t", existed), func(t *testing.T) {
			d := startDatabase(t)
			if existed {
				if err := d.table.Do(t.Context(), "account", 1, setTo("of 1")); err != nil {
					t.Fatal(err)
				}
			}
			later := make(chan error)
			err := d.table.Do(t.Context(), "account", 5, func(ctx context.Context, tx *sql.Tx) error {
				go func() { later <- d.table.Do(t.Context(), "account", 7, setTo("of 7")) }()
				d.awaitWaiter(t)
				return setTo("of 5")(ctx, tx)
			})
			if err != nil {
				t.Errorf("token 5: got error %v, want nil", err)
			}
			if err := <-later; err != nil {
				t.Errorf("token 7: got error %v, want nil", err)
			}
			if err := d.table.Do(t.Context(), "account", 6, setTo("of 6")); !errors.Is(err, fence.ErrStale) {
				t.Errorf("token 6 after 7: got %v, want %v", err, fence.ErrStale)
			}
			if got := d.read(t); got != "of 7" {
				t.Errorf("got account %q, want that of 7", got)
			}
		})
	}
}

// awaitWaiter waits until a transaction waits for another one. It polls,
// because PostgreSQL sends no notification of that.
func (d *database) awaitWaiter(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(time.Minute); d.waiting(t) == 0; <-time.After(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no transaction waited for another one within a minute")
		}
	}
}

// The method `waiting` returns the number of transactions that wait for another one.
func (d *database) waiting(t *testing.T) (n int) {
	t.Helper()
	// Other tests of this package may run at the same time, with other schemas.
	row := d.QueryRowContext(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = current_setting('application_name')")
	if err := row.Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// A token is compared with the row when the turn of its transaction comes, not when the transaction
// began to wait.
//
// Covers F1.
func TestTableChecksTheRowThatItHasLocked(t *testing.T) {
	for _, level := range []sql.IsolationLevel{sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable} {
		t.Run(level.String(), func(t *testing.T) {
			d := startDatabase(t)
			d.table.TxOptions = &sql.TxOptions{Isolation: level}
			earlier := make(chan error)
			err := d.table.Do(t.Context(), "account", 7, func(ctx context.Context, tx *sql.Tx) error {
				go func() { earlier <- d.table.Do(t.Context(), "account", 5, setTo("of 5")) }()
				d.awaitWaiter(t)
				return setTo("of 7")(ctx, tx)
			})
			if err != nil {
				t.Errorf("token 7: got error %v, want nil", err)
			}
			err = <-earlier
			if err == nil || level == sql.LevelReadCommitted && !errors.Is(err, fence.ErrStale) {
				t.Errorf("token 5 after waiting for 7: got error %v, want it refused", err)
			}
			if got := d.read(t); got != "of 7" {
				t.Errorf("got account %q, want that of 7", got)
			}
		})
	}
}

// A transaction that is rolled back has accepted nothing and written nothing.
func TestTableForgetsWhatIsRolledBack(t *testing.T) {
	d := startDatabase(t)
	err := d.table.Do(t.Context(), "account", 7, func(ctx context.Context, tx *sql.Tx) error {
		return errors.Join(setTo("of 7")(ctx, tx), errHere)
	})
	if !errors.Is(err, errHere) {
		t.Errorf("got error %v, want that of the function", err)
	}
	func() {
		defer func() { _ = recover() }()
		_ = d.table.Do(t.Context(), "account", 8, func(context.Context, *sql.Tx) error { panic("here") })
	}()
	if got, err := d.table.Largest(t.Context(), "account"); got != 0 || err != nil {
		t.Errorf("got largest token %d, error %v; want none", got, err)
	}
	if err := d.table.Do(t.Context(), "account", 5, setTo("of 5")); err != nil || d.read(t) != "of 5" {
		t.Errorf("Do with token 5: got error %v, account %q; want no error, account %q", err, d.read(t), "of 5")
	}
	if got, err := d.table.Largest(t.Context(), "account"); got != 5 || err != nil {
		t.Errorf("got largest token %d, error %v; want 5", got, err)
	}
}

func TestTableChecksInATransactionOfTheCaller(t *testing.T) {
	d := startDatabase(t)
	check := func(token fence.Token) error {
		tx, err := d.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback()
		if err := d.table.Check(t.Context(), tx, "account", token); err != nil {
			return err
		}
		return tx.Commit()
	}
	if err := errors.Join(check(5), check(5), check(7)); err != nil {
		t.Errorf("tokens 5, 5 and 7: got error %v, want nil", err)
	}
	if err := check(6); !errors.Is(err, fence.ErrStale) {
		t.Errorf("token 6 after 7: got %v, want %v", err, fence.ErrStale)
	}
}

// noDatabase is a connector that never connects.
type noDatabase struct{ driver.Connector }

func (noDatabase) Connect(context.Context) (driver.Conn, error) { return nil, errors.New("connected") }

func TestTableHasAnIdentifierForAName(t *testing.T) {
	for _, name := range []string{"a b", "a;b", `"a"`, "a.b.c", "1a", "a."} {
		db := sql.OpenDB(noDatabase{})
		defer db.Close()
		table := fence.Table{Name: name, DB: db}
		if err := table.Create(t.Context()); err == nil || !strings.Contains(err.Error(), "not a valid table name") {
			t.Errorf("name %q: got error %v, want it refused", name, err)
		}
	}
}

// A cut breaks a connection at one message. The field `at` is the number of this message, counted
// from the moment when the test stores the cut in database.cut.
type cut struct {
	at    int64
	where string // before the message, after it, or after the server's reply
	sent  atomic.Int64
	done  atomic.Bool
	stays bool // no new connection can be made afterwards
	begun string
}

const (
	before = "before it is sent"
	behind = "before its reply"
	after  = "after its reply"
)

var errCut = errors.New("connection cut")

func (d *database) Dial(network, address string) (net.Conn, error) {
	return d.DialTimeout(network, address, 0)
}

// DialTimeout is called by the driver.
func (d *database) DialTimeout(network, address string, _ time.Duration) (net.Conn, error) {
	if c := d.cut.Load(); c != nil && c.stays && c.done.Load() {
		return nil, errCut
	}
	conn, err := net.Dial(network, address)
	return &cutConn{Conn: conn, d: d}, err
}

// A cutConn is a connection of the driver. The driver sends each message with
// one write.
type cutConn struct {
	net.Conn
	d    *database
	lose atomic.Bool // the next reply is lost
}

func (c *cutConn) Write(b []byte) (int, error) {
	cut := c.d.cut.Load()
	if cut == nil || cut.done.Load() || cut.sent.Add(1) != cut.at {
		return c.Conn.Write(b)
	}
	cut.begun = string(b)
	cut.done.Store(true)
	switch cut.where {
	case before:
		c.Conn.Close()
		return 0, errCut
	case behind:
		_, _ = c.Conn.Write(b)
		c.Conn.Close()
		return len(b), nil
	}
	c.lose.Store(true)
	return c.Conn.Write(b)
}

func (c *cutConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == nil && c.lose.Load() {
		c.Conn.Close()
		return 0, errCut
	}
	return n, err
}

// In this test the connection is lost at each message of a transaction in turn: before the message
// is sent, before its reply, or after its reply. Do reports whether the transaction was committed.
// It returns ErrUnknown only if the database cannot be reached afterwards.
//
// Covers F4.
func TestTableTellsTheTruthAtEachLostConnection(t *testing.T) {
	for _, stays := range []bool{false, true} {
		for _, where := range []string{before, behind, after} {
			t.Run(fmt.Sprintf("%s, for good %t", where, stays), func(t *testing.T) {
				t.Parallel()
				cutAtEachMessage(t, where, stays)
			})
		}
	}
}

func cutAtEachMessage(t *testing.T, where string, stays bool) {
	d := startDatabase(t)
	commits, unknown, lost := 0, 0, 0
	for at := int64(1); ; at++ {
		// Each transaction has a new resource without a guard row. This is the more difficult case
		// for Do. After a COMMIT that failed, Do must wait until the transaction has ended. If the
		// transaction found a guard row, Do waits for the lock on that row. But a row that the
		// transaction has created is not visible to others before the end of the transaction, so
		// they cannot lock it. In this case, Do waits because it tries to create the same row.
		resource := fmt.Sprint("account ", at)
		data := fmt.Sprint("of ", at)
		c := &cut{at: at, where: where, stays: stays}
		if err := d.PingContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		d.cut.Store(c)
		err := d.table.Do(t.Context(), resource, 5, setTo(data))
		d.cut.Store(nil)
		if !c.done.Load() {
			if err != nil {
				t.Errorf("without a cut: got error %v, want nil", err)
			}
			break
		}
		committing := strings.Contains(c.begun, "COMMIT")
		if committing {
			commits++
		}
		// A server that has lost its client in a transaction may need time to roll the transaction
		// back. This statement changes the same row, so it waits for the rollback.
		d.exec(t, "UPDATE account SET data = data")
		happened := d.read(t) == data
		if n := d.Stats().InUse; n != 0 {
			t.Errorf("message %d, %q: %d connections are in use afterwards, want 0", at, c.begun, n)
		}
		switch {
		case errors.Is(err, fence.ErrUnknown):
			unknown++
			if !committing || !stays {
				t.Errorf("message %d, %q: got error %v, want a definite outcome", at, c.begun, err)
			}
		case (err == nil) != happened:
			t.Errorf("message %d, %q: got error %v, but committed is %t", at, c.begun, err, happened)
		case err != nil:
			lost++
		}
	}
	if commits == 0 || lost == 0 || stays != (unknown > 0) {
		t.Errorf("got %d cuts at COMMIT, %d errors, %d unknown outcomes; want at least one of the first two, and unknown outcomes: %t",
			commits, lost, unknown, stays)
	}
	t.Logf("%d cuts at COMMIT, %d errors without an effect, %d unknown outcomes", commits, lost, unknown)
}

// A COMMIT that was sent can still be in transit when the client reads the guard row. The read then
// waits until the transaction has ended. In this test, the guard row existed before the
// transaction, or the transaction has created it. In the second case, no other transaction can see
// the row yet, but the read still waits.
//
// Covers F4.
func TestTableWaitsForTheLostTransaction(t *testing.T) {
	for _, existed := range []bool{false, true} {
		for _, commit := range []bool{false, true} {
			t.Run(fmt.Sprintf("row existed %t, commit %t", existed, commit), func(t *testing.T) {
				d := startDatabase(t)
				if existed {
					if err := d.table.Do(t.Context(), "account", 1, setTo("of 1")); err != nil {
						t.Fatal(err)
					}
				}
				lateCommit(t, d, commit)
			})
		}
	}
}

// lateCommit runs a transaction whose client gets an error for COMMIT before the server has
// completed COMMIT. A deferred trigger makes COMMIT wait for a lock that the test holds, and
// meanwhile the connection is cut.
func lateCommit(t *testing.T, d *database, commit bool) {
	d.exec(t, "CREATE TABLE late (fails boolean)")
	d.exec(t, `CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN PERFORM pg_advisory_xact_lock(1); IF NEW.fails THEN RAISE 'at the end'; END IF; RETURN NULL; END $$`)
	d.exec(t, `CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON late DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait()`)
	holder, err := d.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	if _, err := holder.ExecContext(t.Context(), "SELECT pg_advisory_lock(1)"); err != nil {
		t.Fatal(err)
	}
	result := make(chan error)
	go func() {
		result <- d.table.Do(t.Context(), "account", 5, func(ctx context.Context, tx *sql.Tx) error {
			if err := setTo("of 5")(ctx, tx); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, "INSERT INTO late VALUES ($1)", !commit)
			d.cut.Store(&cut{at: 1, where: behind}) // at COMMIT
			return err
		})
	}()
	// The loop ends when two statements are blocked: the COMMIT by the advisory lock that the test
	// holds, and Do's read of the guard row by the transaction.
	for d.waiting(t) < 2 {
		select {
		case err := <-result:
			t.Fatalf("Do returned %v before the transaction ended", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	if _, err := holder.ExecContext(t.Context(), "SELECT pg_advisory_unlock(1)"); err != nil {
		t.Fatal(err)
	}
	err = <-result
	if (err == nil) != commit || errors.Is(err, fence.ErrUnknown) {
		t.Errorf("committed is %t, but Do returned %v", commit, err)
	}
	if got := d.read(t); (got == "of 5") != commit {
		t.Errorf("committed is %t, but the account has %q", commit, got)
	}
}

// In this test another transaction on the resource follows the transaction whose COMMIT failed. The
// guard row then no longer identifies the earlier transaction. So Do returns ErrUnknown.
//
// Covers F4.
func TestTableDoesNotGuess(t *testing.T) {
	d := startDatabase(t)
	err := d.table.Do(t.Context(), "account", 5, func(ctx context.Context, tx *sql.Tx) error {
		// The documentation of Do forbids this commit. After it, Do's own commit returns an error,
		// although the transaction is committed. A lost reply to COMMIT has the same effect.
		if err := tx.Commit(); err != nil {
			return err
		}
		return d.table.Do(ctx, "account", 7, setTo("of 7"))
	})
	if !errors.Is(err, fence.ErrUnknown) || !strings.Contains(fmt.Sprint(err), "has followed") {
		t.Errorf("another transaction has followed: got error %v, want %v", err, fence.ErrUnknown)
	}
}

// Do reads the guard row even if the context has ended.
//
// Covers F4.
func TestTableLooksAlsoWhenTheContextHasEnded(t *testing.T) {
	d := startDatabase(t)
	ctx, cancel := context.WithCancel(t.Context())
	err := d.table.Do(ctx, "account", 5, func(ctx context.Context, tx *sql.Tx) error {
		defer cancel()
		if err := setTo("of 5")(ctx, tx); err != nil {
			return err
		}
		return tx.Commit()
	})
	if err != nil || d.read(t) != "of 5" {
		t.Errorf("got error %v, account %q; want nil, that of 5", err, d.read(t))
	}
	err = d.table.Do(t.Context(), "account", 6, func(_ context.Context, tx *sql.Tx) error { return tx.Rollback() })
	if err == nil || errors.Is(err, fence.ErrUnknown) || d.read(t) != "of 5" {
		t.Errorf("a transaction that was rolled back: got error %v, account %q; want a definite error, that of 5", err, d.read(t))
	}
}
