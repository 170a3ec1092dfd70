package fence

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/internal/times"
)

// A Table fences resources in a SQL database. It has a guard row for each resource, in the same
// database as the data. The row has the largest token that was accepted. A call with a larger token
// stores this token in the row, in the transaction that writes the data. DB must be set; the other
// fields have defaults.
type Table struct {
	DB *sql.DB
	// Name of the table, with its schema if needed; empty means "fence".
	Name string
	// Dialect of the database; the zero value is PostgreSQL.
	Dialect Dialect
	// TxOptions of the transactions; nil means the database's default. Any isolation level is safe.
	// At repeatable read and above, PostgreSQL fails some transactions that would succeed at a
	// lower level, because another transaction has changed the guard row meanwhile.
	TxOptions *sql.TxOptions
}

// A Dialect is the SQL of a kind of database.
type Dialect int

const (
	PostgreSQL Dialect = iota // 9.5 and newer
	SQLite                    // 3.35 and newer
)

// lookTime limits the time for which Do tries to read the guard row after a COMMIT that failed.
const lookTime = 5 * time.Second

// Create creates the table, unless it exists:
//
//	CREATE TABLE fence (
//		resource text PRIMARY KEY,
//		token    bigint NOT NULL, -- the largest accepted
//		writes   bigint NOT NULL, -- how many transactions were committed
//		mark     text NOT NULL    -- identifies the last of these transactions
//	)
func (t *Table) Create(ctx context.Context) error {
	create, err := t.statement(`CREATE TABLE IF NOT EXISTS %s (
	resource text PRIMARY KEY,
	token    bigint NOT NULL,
	writes   bigint NOT NULL,
	mark     text NOT NULL
)`)
	if err == nil {
		_, err = t.DB.ExecContext(ctx, create)
	}
	if err != nil {
		// In PostgreSQL the statement fails if another client creates the table meanwhile.
		// The table exists then.
		if _, missing := t.Largest(ctx, ""); missing != nil {
			return fmt.Errorf("fence: create table %s: %w", t.name(), err)
		}
	}
	return nil
}

// Do begins a transaction, accepts the token for the resource, calls f, and commits the transaction
// if f returns nil. The writes of f with tx are committed together with the token, or not at all.
// Do locks the guard row before it calls f, and creates the row if there is none. The row stays
// locked until the transaction ends, so no other transaction on the resource runs between the check
// and the write.
//
// If a larger token was accepted before, Do does not call f, and the error is a *[StaleError]. If f
// fails or panics, the transaction is rolled back, and Do returns the error of f unchanged. f must
// not make changes that cannot be rolled back, and must not commit tx.
//
// If COMMIT fails for any reason, Do reads the guard row to find out whether the transaction was
// committed. The read waits until the server has ended the transaction. It takes up to 5 s, even if
// ctx has ended meanwhile. If the connection was lost, the read needs a new connection. Do then
// returns one of these results:
//
//   - nil if the row shows that the transaction was committed
//   - an error that is [ErrUnknown] if the database did not answer, or if another transaction on
//     the resource has followed
//   - another error if the row shows that the transaction was not committed
//
// After an error that is not [ErrUnknown], nothing was changed.
func (t *Table) Do(ctx context.Context, resource string, token Token, f func(ctx context.Context, tx *sql.Tx) error) error {
	tx, err := t.DB.BeginTx(ctx, t.TxOptions)
	if err != nil {
		return fmt.Errorf("fence: %s: begin: %w", resource, err)
	}
	defer tx.Rollback()
	own, err := t.accept(ctx, tx, resource, token)
	if err != nil {
		return err
	}
	if err := f(ctx, tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return t.resolve(ctx, resource, own, err)
	}
	return nil
}

// Check accepts the token for the resource in a transaction of the caller, for programs that cannot
// use Do. Call it before you read or write anything in tx. The guard row is locked until tx ends.
// If a larger token was accepted before, the error is a *[StaleError], and the caller must roll tx
// back.
//
// If COMMIT fails, the caller must find out whether the transaction was
// committed.
func (t *Table) Check(ctx context.Context, tx *sql.Tx, resource string, token Token) error {
	_, err := t.accept(ctx, tx, resource, token)
	return err
}

// Largest returns the largest token that was accepted for the resource, or zero
// if there is none. It does not wait for transactions in progress.
func (t *Table) Largest(ctx context.Context, resource string) (Token, error) {
	return t.largest(ctx, t.DB, resource)
}

// A write identifies one transaction on a resource by its mark. The field `number` counts the
// transactions on the resource up to this one.
type write struct {
	mark   string
	number int64
}

// The method `accept` compares the token and stores it in one statement. If two clients run the
// statement at the same time, the second statement waits until the transaction of the first one
// ends. Then it compares its token with the new state of the row.
func (t *Table) accept(ctx context.Context, tx *sql.Tx, resource string, token Token) (own write, err error) {
	if err := valid(resource, token); err != nil {
		return own, err
	}
	own.mark = rand.Text()
	raise, err := t.statement(`INSERT INTO %s AS guard (resource, token, writes, mark) VALUES ($1, $2, 1, $3)
ON CONFLICT (resource) DO UPDATE SET token = excluded.token, writes = guard.writes + 1, mark = excluded.mark
WHERE guard.token <= excluded.token
RETURNING writes`)
	if err == nil {
		err = tx.QueryRowContext(ctx, raise, resource, int64(token), own.mark).Scan(&own.number)
	}
	if errors.Is(err, sql.ErrNoRows) { // the token is stale; the row stays locked
		var largest Token
		if largest, err = t.largest(ctx, tx, resource); err == nil {
			return own, &StaleError{Resource: resource, Token: token, Largest: largest}
		}
	}
	if err != nil {
		return own, fmt.Errorf("fence: %s: check token %d: %w", resource, token, err)
	}
	return own, nil
}

type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func (t *Table) largest(ctx context.Context, from queryer, resource string) (largest Token, err error) {
	read, err := t.statement(`SELECT token FROM %s WHERE resource = $1`)
	if err == nil {
		err = from.QueryRowContext(ctx, read, resource).Scan((*int64)(&largest))
	}
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("fence: %s: read the guard row: %w", resource, err)
	}
	return largest, nil
}

// The method `resolve` returns the result of Do after a COMMIT that failed. The argument `failed`
// is the error of COMMIT.
func (t *Table) resolve(ctx context.Context, resource string, own write, failed error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTime)
	defer cancel()
	last, err := t.look(ctx, resource)
	for pause := 20 * time.Millisecond; err != nil && times.Sleep(ctx, pause); pause *= 2 {
		last, err = t.look(ctx, resource)
	}
	switch {
	case err != nil:
		return fmt.Errorf("%w: %s: commit: %w; read the guard row: %w", ErrUnknown, resource, failed, err)
	case last.mark == own.mark:
		return nil
	case last.number > own.number:
		return fmt.Errorf("%w: %s: commit: %w; another transaction has followed", ErrUnknown, resource, failed)
	}
	return fmt.Errorf("fence: %s: not committed: %w", resource, failed)
}

// The method `look` returns the last committed transaction of a resource. A transaction that has
// lost its client may still be committed, because its COMMIT may still arrive. Until such a
// transaction ends, it holds the lock on the guard row. The method `look` also locks or creates the
// row, so `look` waits until that transaction has ended. A plain read would not wait, and would not
// see a row that the transaction has just created.
func (t *Table) look(ctx context.Context, resource string) (last write, err error) {
	look, err := t.statement(`INSERT INTO %s AS guard (resource, token, writes, mark) VALUES ($1, 0, 0, '')
ON CONFLICT (resource) DO UPDATE SET token = guard.token
RETURNING writes, mark`)
	if err == nil {
		err = t.DB.QueryRowContext(ctx, look, resource).Scan(&last.number, &last.mark)
	}
	return last, err
}

func (t *Table) name() string {
	if t.Name == "" {
		return "fence"
	}
	return t.Name
}

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?$`)

// The method `statement` fills the table's name into the template `form` and returns SQL text with
// parameters in the syntax of the dialect.
func (t *Table) statement(form string) (string, error) {
	if !identifier.MatchString(t.name()) {
		return "", fmt.Errorf("%q is not a valid table name: want letters, digits and _, with at most one dot after a schema", t.Name)
	}
	text := fmt.Sprintf(form, t.name())
	switch t.Dialect {
	case PostgreSQL:
		return text, nil
	case SQLite:
		return strings.ReplaceAll(text, "$", "?"), nil
	}
	return "", fmt.Errorf("unknown dialect %d: must be %d (PostgreSQL) or %d (SQLite)", t.Dialect, PostgreSQL, SQLite)
}
