package peers

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	_ "github.com/lib/pq" // the driver

	"github.com/zkcoord/zkcoord/fence"
)

// A Guard is how an account in a database is fenced: right, or broken in one way.
type Guard string

// The guards. All but the first are mutants.
const (
	Guarded  Guard = "guarded"  // by fence.Table
	NoGuard  Guard = "none"     // tokens are ignored
	TwoSteps Guard = "two"      // the check and the write are two transactions
	Unlocked Guard = "unlocked" // the guard row is read without locking it
	LessOnly Guard = "less"     // only a larger token than the last one is accepted
)

// SQLMutex is a Mutex whose holders use an account in a PostgreSQL database: see Peer.Read and Peer.Write.
func SQLMutex(g Guard, dsn string) Recipe { return Recipe("sql-mutex=" + string(g) + "=" + dsn) }

// Schema makes the tables of an account, which begins at 0: the guard row's, the account's, and the log of
// all accesses that were accepted, in their order.
const Schema = `
CREATE TABLE account (value bigint NOT NULL);
INSERT INTO account VALUES (0);
CREATE TABLE log (id bigserial PRIMARY KEY, client int NOT NULL, token bigint NOT NULL, op text NOT NULL, value bigint NOT NULL);`

// An account is one client's way to the account.
type account struct {
	guard  Guard
	table  fence.Table
	client int
}

// openAccount opens the account of a recipe; nil if the recipe has none.
func openAccount(r Recipe) (*account, error) {
	rest, found := strings.CutPrefix(string(r), "sql-mutex=")
	if !found {
		return nil, nil
	}
	guard, dsn, _ := strings.Cut(rest, "=")
	db, err := sql.Open("postgres", dsn)
	return &account{guard: Guard(guard), table: fence.Table{DB: db}}, err
}

// command carries out "read CLIENT MS" or "write CLIENT MS VALUE" and returns the answer. MS is for how long to wait
// between the check of the token and the access.
func (a *account) command(ctx context.Context, token fence.Token, words []string) string {
	var numbers [3]int64
	for i, word := range words[1:min(len(words), 4)] {
		var err error
		if numbers[i], err = strconv.ParseInt(word, 10, 64); err != nil {
			return "error " + oneLine(err)
		}
	}
	a.client = int(numbers[0])
	pause, value := time.Duration(numbers[1])*time.Millisecond, numbers[2]
	err := a.access(ctx, token, pause, func(ctx context.Context, tx *sql.Tx) error {
		var err error
		if words[0] == "write" {
			_, err = tx.ExecContext(ctx, "UPDATE account SET value = $1", value)
		} else {
			err = tx.QueryRowContext(ctx, "SELECT value FROM account").Scan(&value)
		}
		if err == nil {
			_, err = tx.ExecContext(ctx, "INSERT INTO log (client, token, op, value) VALUES ($1, $2, $3, $4)", a.client, int64(token), words[0], value)
		}
		return err
	})
	var stale *fence.StaleError
	switch {
	case errors.As(err, &stale):
		return fmt.Sprint("stale ", int64(stale.Largest))
	case err != nil:
		return "error " + oneLine(err)
	}
	return fmt.Sprint("value ", value)
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

// Read returns the value of the account of a SQLMutex, under what the peer holds. The error is a
// *fence.StaleError if it is refused. The process waits for pause between the check and the read.
func (p *Peer) Read(ctx context.Context, client int, pause time.Duration) (int64, error) {
	return p.access(ctx, fmt.Sprintf("read %d %d", client, pause.Milliseconds()))
}

// Write sets the value, as Read reads it.
func (p *Peer) Write(ctx context.Context, client int, pause time.Duration, value int64) error {
	_, err := p.access(ctx, fmt.Sprintf("write %d %d %d", client, pause.Milliseconds(), value))
	return err
}

func (p *Peer) access(ctx context.Context, command string) (int64, error) {
	words, err := p.ask(ctx, command, "value", 1)
	if err != nil {
		if largest, refused := strings.CutPrefix(err.Error(), "stale "); refused {
			n, _ := strconv.ParseInt(largest, 10, 64)
			return 0, &fence.StaleError{Largest: fence.Token(n)}
		}
		return 0, err
	}
	return strconv.ParseInt(words[0], 10, 64)
}
