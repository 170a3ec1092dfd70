// Package session is one ZooKeeper session: its connection, its requests, and its lease. The lease
// ends each grant of a program before any other client can be granted the same lock or leadership.
// All other packages of zkcoord that use ZooKeeper are built on this package.
//
// A [Session] is one session on one client of go-zookeeper, and both end together. If a session
// expires, go-zookeeper's client silently continues with a new session. A Session never does this:
// a request that was made in one session is never executed in a later one. [Run] is for programs
// that live longer than a session: it opens a new session each time one is lost.
//
// # Usage
//
//	opts := session.Options{Servers: []string{"zk1:2181", "zk2:2181", "zk3:2181"}}
//	err := session.Run(ctx, opts, func(ctx context.Context, s *session.Session) error {
//		value, err := s.Get(ctx, "/config")
//		if err != nil {
//			return err
//		}
//		return serve(ctx, value.Data) // until ctx ends: the session was lost, or the program stops
//	})
//
// # Guarantees
//
// S1. No request of a lost session is executed in a later one.
//
// S2. The context of a granted recipe.Hold ends before any other client can be granted what the
// hold covers, however servers and networks fail. This holds under the assumptions of
// docs/decisions/0001-lease.md. Clock rates differ by less than a twentieth. This process does not
// pause. Nobody else closes the session or deletes its znodes. There are no observer masters.
//
// S3. A protected create creates its znode once or not at all, whichever replies are lost. A znode
// that is given up is deleted. A znode of another session is never taken for a znode of this one.
//
// S4. Every error of a request has an outcome: see [OutcomeOf]. Failed means that the request was
// not applied and will not be. Indeterminate means that it may have been applied, or may still be.
// A request that is given up before it was written is never written, and its outcome is Failed.
//
// S5. Every request and every wait ends with its context. Data are copied, so the caller may reuse
// the buffer after giving up. If no server answers, the session ends by itself: see
// [Options.Abandon].
//
// S6. No state of the session and no event of a watch is left out. A listener that is slow delays
// nobody else. No read is older than an event that came before it, whichever server answers. A
// watch that was stopped no longer costs anything, here or at the server.
//
// S7. After Close, no goroutine of the session is left.
//
// In other words, under the assumptions of S2, a program that stops its work when the context of a
// grant ends never works at the same time as the next holder. An error says that a write did not
// happen, or that it may have happened.
//
// # Not guaranteed
//
// A pause of the whole process (a stop-the-world pause, a stopped virtual machine, a debugger) can
// outlast the lease without the program noticing. To be safe even then, send the fencing token of
// the grant (recipe.Node.Czxid) with each write, so that the resource can refuse an old token. If
// the resource is a znode, put the write into one transaction with a check of the znode of the
// grant.
//
// When a suspended machine resumes, holds end within a twelfth of the session timeout. Until then
// the program still counts as holding. On Linux, the kernel's clocks show a suspension. On other
// systems, a wall clock that is set forward looks like a suspension. Such a step of the clock also
// ends holds if the step is longer than a tenth of a second and longer than a fortieth of the
// session timeout. A hypervisor that stops a virtual machine with all of its clocks leaves no
// trace.
//
// # Session loss
//
// A session is lost in one of four cases: a server says so, a server answers with another session,
// credentials are refused, or no server was reached for the time Options.Abandon. If credentials
// are refused ([ErrCredentials]), a new session with the same credentials is lost too. First the
// holds of a lost session end, then its context and [Session.Done]. A lost connection is not a lost
// session: requests wait for the next connection, and writes that were in progress end as
// [Indeterminate].
//
// # Goroutines
//
// Each session has five goroutines: three of the client, one that keeps the lease and closes the
// client, and one that calls the logger and the hooks, and finally waits for all others.
// Options.FollowMembers adds one. Each request and each clean-up in progress has one more. If the
// caller gives up a request, the goroutine of the request remains until the client has an answer
// for it, at the latest until the session ends. Each hold that has lasted a while has a goroutine
// too. Close waits for all of them.
//
// A request with the context that Session.Context returns runs on the caller's goroutine, because
// such a request does not have to return before the session ends.
//
// # Adopting a connection
//
// A session cannot be built on an existing *zk.Conn. Such a connection may already be in its second
// session, and it hides the negotiated timeout. It also hides the times at which it sent the
// answered requests, and the lease depends on these times. To migrate, call Open instead of
// zk.Connect. The requests have the same names and take a context first.
//
// client.go lists what the session assumes of go-zookeeper.
package session
