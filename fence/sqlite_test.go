//go:build linux

package fence_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"modernc.org/sqlite"

	"github.com/zkcoord/zkcoord/fence"
)

// startSQLite returns a database in a file, with a guard table and an account. A test can make one
// of its connections fail at a call of the driver.
func startSQLite(t *testing.T) *losing {
	t.Helper()
	// With _txlock=immediate, BEGIN takes the write lock. Without this option, a transaction that
	// reads before its first write would fail, instead of waiting, if another transaction has the
	// lock.
	d := &losing{name: "file:" + filepath.Join(t.TempDir(), "data") + "?_txlock=immediate&_pragma=busy_timeout(60000)"}
	d.DB = sql.OpenDB(d)
	t.Cleanup(func() { d.Close() })
	d.table = fence.Table{DB: d.DB, Dialect: fence.SQLite}
	if err := d.table.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{"CREATE TABLE account (data text NOT NULL)", "INSERT INTO account VALUES ('')"} {
		if _, err := d.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// The type `losing` is a connector whose connection is lost at one call of the driver, either
// before or after the call is carried out. The field `at` is the number of this call.
type losing struct {
	*sql.DB
	table  fence.Table
	name   string
	driver sqlite.Driver

	calls, at atomic.Int64
	after     bool
	lost      string // the call at which the connection was lost
}

func (d *losing) Connect(context.Context) (driver.Conn, error) {
	c, err := d.driver.Open(d.name)
	if err != nil {
		return nil, err
	}
	return &losingConn{sqliteConn: c.(sqliteConn), d: d}, nil
}

func (d *losing) Driver() driver.Driver { return &d.driver }

// sqliteConn has the methods of the driver's connections.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ExecerContext
	driver.QueryerContext
}

type losingConn struct {
	sqliteConn
	d    *losing
	gone bool
}

// IsValid returns false for a lost connection, so that database/sql does not use it again.
func (c *losingConn) IsValid() bool { return !c.gone }

func (c *losingConn) Close() error {
	if c.gone {
		return nil
	}
	return c.sqliteConn.Close()
}

// The method `lose` carries out a call of the driver. If it is call number d.at, the connection is
// lost before the call, or after it if d.after is true.
func (c *losingConn) lose(name string, call func() error) error {
	switch {
	case c.gone:
		return driver.ErrBadConn
	case c.d.calls.Add(1) != c.d.at.Load():
		return call()
	}
	c.d.lost = name
	if c.d.after {
		if err := call(); err != nil {
			return err
		}
	}
	c.gone = true
	return errors.Join(errCut, c.sqliteConn.Close()) // rolls back what is not committed
}

func (c *losingConn) BeginTx(ctx context.Context, o driver.TxOptions) (tx driver.Tx, err error) {
	err = c.lose("BEGIN", func() (err error) { tx, err = c.sqliteConn.BeginTx(ctx, o); return err })
	return &losingTx{tx, c}, err
}

func (c *losingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (r driver.Result, err error) {
	err = c.lose(query, func() (err error) { r, err = c.sqliteConn.ExecContext(ctx, query, args); return err })
	return r, err
}

func (c *losingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (r driver.Rows, err error) {
	err = c.lose(query, func() (err error) {
		r, err = c.sqliteConn.QueryContext(ctx, query, args)
		if err == nil && c.d.lost == query { // an open statement would keep the transaction open
			err = r.Close()
		}
		return err
	})
	return r, err
}

type losingTx struct {
	driver.Tx
	c *losingConn
}

func (t *losingTx) Commit() error { return t.c.lose("COMMIT", t.Tx.Commit) }

func (t *losingTx) Rollback() error {
	if t.c.gone {
		return driver.ErrBadConn
	}
	return t.Tx.Rollback()
}

func (d *losing) read(t *testing.T) (data string) {
	t.Helper()
	if err := d.QueryRowContext(t.Context(), "SELECT data FROM account").Scan(&data); err != nil {
		t.Fatal(err)
	}
	return data
}

// A Table in SQLite accepts equal and larger tokens, and refuses smaller ones.
//
// Covers F1, F2, F3.
func TestSQLiteRefusesSmallerTokens(t *testing.T) {
	refuses(t, func(t *testing.T) (func(fence.Token, string) error, func() string) {
		d := startSQLite(t)
		write := func(token fence.Token, text string) error {
			return d.table.Do(t.Context(), "account", token, setTo(text))
		}
		return write, func() string { return d.read(t) }
	})
}

// Two transactions that are started at the same time run one after the other. The guard row keeps
// the larger token.
//
// Covers F1.
func TestSQLiteLocksItsGuardRow(t *testing.T) {
	d := startSQLite(t)
	later := make(chan error)
	err := d.table.Do(t.Context(), "account", 5, func(ctx context.Context, tx *sql.Tx) error {
		go func() {
			later <- d.table.Do(t.Context(), "account", 7, func(ctx context.Context, tx *sql.Tx) error {
				var data string
				if err := tx.QueryRowContext(ctx, "SELECT data FROM account").Scan(&data); err != nil {
					return err
				}
				return setTo(data+", then of 7")(ctx, tx)
			})
		}()
		return setTo("of 5")(ctx, tx)
	})
	if err := errors.Join(err, <-later); err != nil {
		t.Fatalf("tokens 5 and 7: got error %v, want nil", err)
	}
	if err := d.table.Do(t.Context(), "account", 6, setTo("of 6")); !errors.Is(err, fence.ErrStale) {
		t.Errorf("token 6 after 7: got %v, want %v", err, fence.ErrStale)
	}
	if got := d.read(t); got != "of 5, then of 7" {
		t.Errorf("the account has %q, want %q", got, "of 5, then of 7")
	}
}

// In this test the connection is lost at each call of the driver in turn, once before the call and
// once after it. Do returns nil if and only if the transaction is committed.
//
// Covers F4.
func TestSQLiteTellsTheTruthAtEachLostCall(t *testing.T) {
	for _, after := range []bool{false, true} {
		t.Run(fmt.Sprintf("after the call %t", after), func(t *testing.T) {
			d := startSQLite(t)
			d.after = after
			lost := make(map[string]bool)
			for at := int64(1); ; at++ {
				data := fmt.Sprint("of ", at)
				if err := d.PingContext(t.Context()); err != nil {
					t.Fatal(err)
				}
				d.lost = ""
				d.calls.Store(0)
				d.at.Store(at)
				err := d.table.Do(t.Context(), fmt.Sprint("account ", at), 5, setTo(data))
				d.at.Store(0)
				if d.lost == "" {
					if err != nil {
						t.Errorf("without a loss: got error %v, want nil", err)
					}
					break
				}
				lost[d.lost] = true
				if happened := d.read(t) == data; (err == nil) != happened || errors.Is(err, fence.ErrUnknown) {
					t.Errorf("lost at call %d, %.20q: got error %v, but committed is %t",
						at, d.lost, err, happened)
				}
			}
			if len(lost) != 4 || !lost["COMMIT"] {
				t.Errorf("lost at the calls %v, want BEGIN, two statements and COMMIT", lost)
			}
		})
	}
}
