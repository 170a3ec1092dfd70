package peers

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	_ "github.com/lib/pq" // driver for database/sql

	"github.com/zkcoord/zkcoord/fence"
	"github.com/zkcoord/zkcoord/internal/client"
)

// A Guard says how an account in a database is fenced: correctly, or with one mistake. The guard
// row is the row of fence.Table that stores the largest accepted token.
type Guard string

// The guards. All except the first are mutants.
const (
	Guarded  Guard = "guarded"  // correct, by fence.Table
	NoGuard  Guard = "none"     // tokens are ignored
	TwoSteps Guard = "two"      // the check and the write are two transactions
	Unlocked Guard = "unlocked" // the guard row is read without locking it
	LessOnly Guard = "less"     // only a larger token than the last one is accepted
)

// SQLMutex is a lock whose holders use an account in a PostgreSQL database: see Read and Write.
// Only clients of library Zkcoord support it.
func SQLMutex(g Guard, dsn string) client.Recipe {
	return client.Recipe("sql-mutex=" + string(g) + "=" + dsn)
}

// The operations on an account. The value of a request has three parts: the client's number, a
// pause in milliseconds, and the value to write. The pause comes between the check of the token and
// the access.
const (
	opRead  = "read"
	opWrite = "write"
)

// Schema creates the table of an account, whose value begins at 0, and the log of all accepted
// accesses in their order. The guard row is in another table: see fence.Table.Create.
const Schema = `
CREATE TABLE account (value bigint NOT NULL);
INSERT INTO account VALUES (0);
CREATE TABLE log (id bigserial PRIMARY KEY, client int NOT NULL, token bigint NOT NULL, op text NOT NULL, value bigint NOT NULL);`

// The type `account` is a client's connection to the account in the database.
type account struct {
	guard  Guard
	table  fence.Table
	client int
}

// openAccount opens the account that the recipe names. It returns nil if the recipe names none.
func openAccount(r client.Recipe) (*account, error) {
	rest, found := strings.CutPrefix(string(r), "sql-mutex=")
	if !found {
		return nil, nil
	}
	guard, dsn, _ := strings.Cut(rest, "=")
	db, err := sql.Open("postgres", dsn)
	return &account{guard: Guard(guard), table: fence.Table{DB: db}}, err
}

// The method `reply` carries out a request with the given token.
func (a *account) reply(ctx context.Context, token fence.Token, r client.Request) client.Reply {
	var pauseMS, value int64
	if _, err := fmt.Sscan(r.Value, &a.client, &pauseMS, &value); err != nil {
		return client.ReplyOf(err)
	}
	pause := time.Duration(pauseMS) * time.Millisecond
	err := a.access(ctx, token, pause, func(ctx context.Context, tx *sql.Tx) error {
		var err error
		if r.Op == opWrite {
			_, err = tx.ExecContext(ctx, "UPDATE account SET value = $1", value)
		} else {
			err = tx.QueryRowContext(ctx, "SELECT value FROM account").Scan(&value)
		}
		if err == nil {
			_, err = tx.ExecContext(ctx, "INSERT INTO log (client, token, op, value) VALUES ($1, $2, $3, $4)", a.client, int64(token), r.Op, value)
		}
		return err
	})
	if stale := (*fence.StaleError)(nil); errors.As(err, &stale) {
		return client.Reply{Type: client.Fail, Error: err.Error(), Token: int64(stale.Largest)}
	}
	reply := client.ReplyOf(err)
	reply.Value = strconv.FormatInt(value, 10)
	return reply
}

func (a *account) access(ctx context.Context, token fence.Token, pause time.Duration, f func(context.Context, *sql.Tx) error) error {
	const resource = "account"
	late := func(ctx context.Context, tx *sql.Tx) error {
		time.Sleep(pause)
		return f(ctx, tx)
	}
	switch a.guard {
	case NoGuard:
		return a.transaction(ctx, late)
	case TwoSteps:
		checked := a.table.Do(ctx, resource, token, func(context.Context, *sql.Tx) error { return nil })
		if checked != nil {
			return checked
		}
		return a.transaction(ctx, late)
	case Unlocked:
		return a.transaction(ctx, func(ctx context.Context, tx *sql.Tx) error {
			var largest fence.Token
			err := tx.QueryRowContext(ctx, "SELECT token FROM fence WHERE resource = $1", resource).Scan(&largest)
			if err != nil && !errors.Is(err, sql.ErrNoRows) {
				return err
			}
			if token < largest {
				return &fence.StaleError{Resource: resource, Token: token, Largest: largest}
			}
			if err := late(ctx, tx); err != nil {
				return err
			}
			_, err = tx.ExecContext(ctx, `INSERT INTO fence VALUES ($1, $2, 1, '') ON CONFLICT (resource) DO UPDATE SET token = excluded.token`, resource, int64(token))
			return err
		})
	case LessOnly:
		return a.transaction(ctx, func(ctx context.Context, tx *sql.Tx) error {
			raised, err := tx.ExecContext(ctx, `INSERT INTO fence AS guard VALUES ($1, $2, 1, '') ON CONFLICT (resource)
DO UPDATE SET token = excluded.token WHERE guard.token < excluded.token`, resource, int64(token))
			if err != nil {
				return err
			}
			if n, err := raised.RowsAffected(); err != nil || n == 1 {
				return errors.Join(err, late(ctx, tx))
			}
			largest, err := a.table.Largest(ctx, resource)
			return errors.Join(err, &fence.StaleError{Resource: resource, Token: token, Largest: largest})
		})
	}
	return a.table.Do(ctx, resource, token, late)
}

func (a *account) transaction(ctx context.Context, f func(context.Context, *sql.Tx) error) error {
	tx, err := a.table.DB.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := f(ctx, tx); err != nil {
		return err
	}
	return tx.Commit()
}

// Read returns the value of the account of a SQLMutex. It uses the token that the client holds. The
// client's process pauses between the check of the token and the read. If the account refuses the
// token, the error is a *fence.StaleError.
func Read(ctx context.Context, c *client.Client, number int, pause time.Duration) (int64, error) {
	return access(ctx, c, opRead, number, pause, 0)
}

// Write sets the value of the account. The client's process pauses between the check of the token
// and the write. If the account refuses the token, the error is a *fence.StaleError.
func Write(ctx context.Context, c *client.Client, number int, pause time.Duration, value int64) error {
	_, err := access(ctx, c, opWrite, number, pause, value)
	return err
}

func access(ctx context.Context, c *client.Client, op string, number int, pause time.Duration, value int64) (int64, error) {
	// The pause is not sent as Request.WaitMS, because the process gives up a request as soon as
	// its WaitMS is over.
	reply, err := c.Do(ctx, client.Request{Op: op, Value: fmt.Sprint(number, " ", pause.Milliseconds(), " ", value)})
	if reply.Token != 0 {
		return 0, &fence.StaleError{Largest: fence.Token(reply.Token)}
	}
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(reply.Value, 10, 64)
}
