package scenarios

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"

	_ "github.com/lib/pq" // the driver

	"github.com/zkcoord/zkcoord/fence"
	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/internal/peers"
	"github.com/zkcoord/zkcoord/internal/postgres"
	"github.com/zkcoord/zkcoord/internal/times"
)

// LockPauseSQL is LockPause with an account in a PostgreSQL database. Client 0 reads the account in
// one transaction and writes it in another. The process of client 0 is paused within one of these
// transactions or between them. The checkers judge the database's own log of accesses.
func LockPauseSQL() harness.Scenario {
	s := LockPause()
	s.Name = "lock-pause-sql"
	s.Claim = "However long a holder's process is paused, before or within a transaction, no stale write reaches the database."
	s.Guarantees = []string{"F1", "F2", "F3", "L3", "L7"}
	s.Needs = ownProcesses + " and PostgreSQL"
	s.Workload = accountHolders(peers.Guarded)
	// The fault waits for the time `settle` before it pauses the process. Within this time, even a
	// slow client reaches the place where its process is to be paused.
	s.Faults = []harness.Fault{pauseHolder{settle: stay / 4}}
	s.Checkers = append(s.Checkers, checker.IfExercised(checker.LockNoFalseRefusal()))
	// A guard requires that something happened in the run, for example a number of grants. None of
	// these guards requires that an access was refused, because a refusal depends on where the
	// process was paused.
	s.Guards = []checker.Checker{grantsBeside(1), checker.Grants(3), checker.Contention(2)}
	mutant := func(name, report string, g peers.Guard, violates ...string) harness.Mutant {
		return harness.Mutant{Name: name, Report: report, Violates: violates, Needs: s.Needs, Workload: accountHolders(g)}
	}
	s.Mutants = []harness.Mutant{
		mutant("no-guard", "no statement checks the token", peers.NoGuard, "lock/fenced-writes"),
		mutant("two-steps", "one transaction checks the token, and another writes the data", peers.TwoSteps, "lock/fenced-writes"),
		mutant("unlocked-guard", "the row with the newest token is read without FOR UPDATE, so two concurrent transactions pass", peers.Unlocked, "lock/fenced-writes"),
		mutant("less-only", "a token is refused unless it is larger than the last one, so a holder can write only once", peers.LessOnly, "lock/no-false-refusal"),
	}
	return s
}

// The constant `stay` is how long client 0 stays at the place where its process is to be paused.
const stay = 2 * sessionTimeout

// accountHolders returns the workload. Each client adds to the account under the lock. Client 0
// takes longer than the others, within one of its two transactions or between them.
func accountHolders(g peers.Guard) func(*harness.Env) harness.Workload {
	return func(env *harness.Env) harness.Workload {
		a := &sqlAccount{guard: g}
		w := lockProgram{open: func(ctx context.Context, c *harness.Client, path string) (locker, error) {
			return ofLibrary(peers.Zkcoord, peers.SQLMutex(a.guard, a.server.DSN()), sessionTimeout, allServers).open(ctx, c, path)
		}, using: a.add}.workload(env)
		w.Setup, w.Final, w.Close = a.setUp, a.log, a.close
		return w
	}
}

// A sqlAccount is the fenced resource of one run: an account in a PostgreSQL database.
type sqlAccount struct {
	guard  peers.Guard
	server *postgres.Server
}

func (a *sqlAccount) setUp(ctx context.Context, _ *harness.Env) (err error) {
	if a.server, err = postgres.Start(ctx); err != nil {
		return err
	}
	return a.do(func(db *sql.DB) error {
		table := fence.Table{DB: db}
		if err := table.Create(ctx); err != nil {
			return err
		}
		if _, err := db.ExecContext(ctx, peers.Schema); err != nil {
			return fmt.Errorf("create the tables of the account: %w", err)
		}
		return nil
	})
}

func (a *sqlAccount) do(f func(db *sql.DB) error) error {
	db, err := sql.Open("postgres", a.server.DSN())
	if err != nil {
		return err
	}
	return errors.Join(f(db), db.Close())
}

func (a *sqlAccount) close() error {
	if a.server == nil {
		return nil
	}
	return a.server.Close()
}

// The method `add` reads the account and writes its value plus one, even if the lock was lost
// meanwhile.
func (a *sqlAccount) add(ctx context.Context, c *harness.Client, l locker, h held) {
	p := l.of.(*remote).Client
	var inRead, between, inWrite time.Duration // how long the client stays in each of these places
	switch place := c.Rand.IntN(3); {
	case c.ID != 0:
		between = upTo(50 * time.Millisecond)(c)
	case a.guard != peers.Guarded || place == 0: // a mutant is paused only in its write
		inWrite = stay
	case place == 1:
		between = stay
	default:
		inRead = stay
	}
	value, err := peers.Read(ctx, p, c.ID, inRead)
	refusal(c, h, "read", err)
	if err != nil {
		return
	}
	times.Sleep(ctx, between)
	refusal(c, h, "write", peers.Write(ctx, p, c.ID, inWrite, value+1))
}

// The function `refusal` records that an access was refused, if err is a fence.StaleError. The
// database's log contains only the accepted accesses.
func refusal(c *harness.Client, h held, what string, err error) {
	var stale *fence.StaleError
	if errors.As(err, &stale) {
		c.Record(history.Event{Kind: history.Write, Op: history.WriteRejected, Object: "account", Arg: what, Token: h.token,
			Result: strconv.FormatInt(int64(stale.Largest), 10), Error: fence.ErrStale.Error()})
	}
}

// The method `log` records the accesses that the database accepted, in their order.
func (a *sqlAccount) log(ctx context.Context, env *harness.Env) error {
	return a.do(func(db *sql.DB) error {
		rows, err := db.QueryContext(ctx, "SELECT client, token, op, value FROM log ORDER BY id")
		if err != nil {
			return fmt.Errorf("read the database's table `log`: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			e := history.Event{Kind: history.Write, Op: history.WriteAccepted, Object: "account"}
			var client int
			if err := rows.Scan(&client, &e.Token, &e.Arg, &e.Result); err != nil {
				return err
			}
			if client < 0 || client >= len(env.Clients()) {
				return fmt.Errorf("the database's table `log` has an access by client %d, but the run has %d clients", client, len(env.Clients()))
			}
			env.Clients()[client].Record(e)
		}
		return rows.Err()
	})
}
