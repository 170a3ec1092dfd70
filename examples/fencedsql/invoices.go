package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/zkcoord/zkcoord/fence"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
)

// The type `invoices` sends the invoices in a table. It sends each of them at most once.
type invoices struct {
	db    *sql.DB
	guard fence.Table
	send  func(ctx context.Context, id int64) error
}

func newInvoices(db *sql.DB, send func(ctx context.Context, id int64) error) *invoices {
	return &invoices{db: db, guard: fence.Table{DB: db}, send: send}
}

func (i *invoices) create(ctx context.Context) error {
	_, err := i.db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS invoices (
	id    bigint PRIMARY KEY,
	state text NOT NULL DEFAULT 'new' -- then 'sending', then 'sent'
)`)
	return errors.Join(err, i.guard.Create(ctx))
}

// The method `run` sends all new invoices, under the lock.
func (i *invoices) run(ctx context.Context, s *session.Session) error {
	m := lock.NewMutex(s, "/locks/invoices", lock.Options{})
	return m.Do(ctx, func(ctx context.Context, g *lock.Grant) error {
		for {
			if more, err := i.sendOne(ctx, fence.TokenOf(g)); err != nil || !more {
				return err
			}
		}
	})
}

// sendOne sends one invoice, and reports whether there was an invoice to send. First it marks the
// invoice, and then it sends the invoice. If the process is paused between these two steps, it may
// send late, but no other process sends the same invoice. If the process dies between them, the
// mark stays.
func (i *invoices) sendOne(ctx context.Context, token fence.Token) (bool, error) {
	var id int64
	err := i.guard.Do(ctx, "invoices", token, func(ctx context.Context, tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `UPDATE invoices SET state = 'sending'
WHERE id = (SELECT min(id) FROM invoices WHERE state = 'new') RETURNING id`).Scan(&id)
	})
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return false, nil
	case err != nil:
		return false, err // fence.ErrStale: another process has been granted the lock
	}
	if err := i.send(ctx, id); err != nil {
		return false, fmt.Errorf("send invoice %d: %w", id, err)
	}
	// This update needs no fence: the mail has been sent, whichever process
	// holds the lock now.
	_, err = i.db.ExecContext(context.WithoutCancel(ctx), "UPDATE invoices SET state = 'sent' WHERE id = $1", id)
	return true, err
}

// The method `doubtful` calls f for each invoice that was marked and not confirmed. Such an invoice
// may have been sent.
func (i *invoices) doubtful(ctx context.Context, f func(id int64)) error {
	rows, err := i.db.QueryContext(ctx, "SELECT id FROM invoices WHERE state = 'sending' ORDER BY id")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return err
		}
		f(id)
	}
	return rows.Err()
}
