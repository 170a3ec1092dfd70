package main

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/fence"
	"github.com/zkcoord/zkcoord/internal/needs"
	"github.com/zkcoord/zkcoord/internal/postgres"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The function `open` returns a database with invoices 1 to n. It needs PostgreSQL.
func open(t *testing.T, n int) *sql.DB {
	t.Helper()
	needs.Installed(t, postgres.Installed())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	server, err := postgres.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	db, err := sql.Open("postgres", server.DSN())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := newInvoices(db, nil).create(ctx); err != nil {
		t.Fatalf("create the tables: got error %v, want nil", err)
	}
	if _, err := db.ExecContext(ctx, "INSERT INTO invoices SELECT generate_series(1, $1::int)", n); err != nil {
		t.Fatalf("insert %d invoices: got error %v, want nil", n, err)
	}
	return db
}

// The test calls the method `run` three times at once, each time in a separate session. All three
// calls use the same table of invoices. Each invoice must be sent exactly once.
func TestEachInvoiceIsSentOnce(t *testing.T) {
	db, e := open(t, 30), zktest.Start(t, zktest.Options{TCP: true})
	var mu sync.Mutex
	var sent []int64
	i := newInvoices(db, func(_ context.Context, id int64) error {
		mu.Lock()
		defer mu.Unlock()
		sent = append(sent, id)
		return nil
	})
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			if err := session.Run(t.Context(), session.Options{Servers: e.Servers()}, i.run); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	slices.Sort(sent)
	if len(sent) != 30 || len(slices.Compact(slices.Clone(sent))) != 30 {
		t.Errorf("sent %v, want each of 1 to 30 once", sent)
	}
}

// No invoice is sent twice, even if the holder of the lock is paused. If the holder is paused after
// it has marked an invoice, it sends this invoice late, but the next holder does not send the same
// invoice. If the holder is paused before it marks an invoice, its token is stale afterwards, and
// it sends nothing.
func TestPausedSenderSendsNothingTwice(t *testing.T) {
	db := open(t, 2)
	var sent []int64
	later := newInvoices(db, func(_ context.Context, id int64) error { sent = append(sent, id); return nil })
	paused := newInvoices(db, func(ctx context.Context, id int64) error {
		if more, err := later.sendOne(ctx, 7); err != nil || !more {
			t.Errorf("the next holder sent an invoice: %t, error %v; want true, nil", more, err)
		}
		sent = append(sent, id)
		return nil
	})
	if more, err := paused.sendOne(t.Context(), 5); err != nil || !more {
		t.Errorf("the paused holder sent an invoice: %t, error %v; want true, nil", more, err)
	}
	if _, err := paused.sendOne(t.Context(), 5); !errors.Is(err, fence.ErrStale) {
		t.Errorf("the paused holder's next invoice: got error %v, want %v", err, fence.ErrStale)
	}
	if !slices.Equal(sent, []int64{2, 1}) {
		t.Errorf("sent %v, want 2 and then 1", sent)
	}
}

func TestInvoiceOfADeadSenderIsDoubtful(t *testing.T) {
	db, dead := open(t, 1), errors.New("dead")
	i := newInvoices(db, func(context.Context, int64) error { return dead })
	if _, err := i.sendOne(t.Context(), 5); !errors.Is(err, dead) {
		t.Errorf("got error %v, want %v", err, dead)
	}
	if more, err := i.sendOne(t.Context(), 7); more || err != nil {
		t.Errorf("the next holder: got %t, error %v; want no invoice", more, err)
	}
	var found []int64
	if err := i.doubtful(t.Context(), func(id int64) { found = append(found, id) }); err != nil || !slices.Equal(found, []int64{1}) {
		t.Errorf("got doubtful %v, error %v; want [1]", found, err)
	}
}
