// Package session is one ZooKeeper session: its connection, its requests, and
// its lease, by which a program knows that it no longer holds something before
// anybody else can have it. Everything else in zkcoord stands on it.
//
// A [Session] is one session on one client of go-zookeeper, and dies with it.
// It never turns into another session, as that client's connection does: what
// was asked in one session is never carried out in a later one. [Run] opens a
// new one each time one is lost, for programs that live on.
//
// # Guarantees
//
// S1. No request of a lost session is executed in a later one.
//
// S2. The context of a granted recipe.Hold ends before any other client can be
// granted the same, however servers and networks fail, under the assumptions
// of docs/decisions/0001-lease.md: clock rates within a twentieth, no pause of
// this process, nobody else closes the session or deletes its nodes, no
// observer masters.
//
// S3. A protected create makes its node once or not at all, whichever replies
// are lost; a node that is given up is deleted; a node of another session is
// never taken for one's own.
//
// S4. Every error of a request tells whether it happened: [OutcomeOf]. A request that
// is given up before it was written is never written, and its outcome is Failed.
//
// S5. Every request, and every wait, ends with its context. Data are copied: who
// gave up may use the buffer again. A session that no server answers for ends
// by itself: [Options.Abandon].
//
// S6. No state and no event of a watch is left out, and no listener, however
// slow, holds anybody up. No read is older than an event that came before it,
// whichever server answers. A watch that was stopped costs nothing any more,
// here or at the server.
//
// S7. After Close no goroutine of the session is left.
//
// # Not guaranteed
//
// A pause of the whole process (a stop-the-world pause, a stopped virtual machine,
// a debugger) can outlast the lease without the program noticing. Write with
// the fencing token of what is held, recipe.Node.Czxid, or in one transaction with
// a check of the node.
//
// After a machine was suspended, holds end within a twelfth of the session
// timeout, and until then the program still counts as holding. On Linux the
// kernel's clocks tell of it. On other systems a clock of the day that is set
// forward by more than a tenth of a second looks the same, and ends holds too. A
// hypervisor that stops a virtual machine with all of its clocks leaves no trace.
//
// # Session loss
//
// A session is lost when a server says so, when a server answers with another
// session, when credentials are refused (then a new session is lost too:
// [ErrCredentials]), or when no server was reached for Options.Abandon. Its holds
// end first, then its context and [Session.Done]. Losing the connection is not losing the session: requests wait, and those
// that were under way and change something end as [Indeterminate].
//
// # Goroutines
//
// Each session has the client's three, one that keeps the lease and closes the
// client, one that calls the logger and the hooks and waits for the end, one
// for each request and clean-up under way, which for a request that was given up is
// until the next reply of the server, and one for each hold that has lasted a while.
// Close waits for all of them.
//
// A request whose context is the session's own is made on the caller's
// goroutine, which it need not leave before the session ends.
//
// # Adopting a connection
//
// A session cannot be built on an existing *zk.Conn. That connection may
// already be in its second session, it hides the negotiated timeout, and the
// times at which it sent what was answered, on which the lease rests, cannot
// be had from outside. To migrate, call Open where zk.Connect was called; the
// requests have the same names and take a context first.
//
// What the session assumes of go-zookeeper is listed in client.go.
package session
