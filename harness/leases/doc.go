// Package leases judges the leases of the sessions in a run.
//
// A lease is the time for which a session counts as provably alive: see
// docs/decisions/0001-lease.md. During a run, sessions report what their leases rest on: when
// connections began and ended, when each request was written, and when each reply was read. If a
// session used a reply as evidence, it also reports the kind of evidence, and until when the lease
// stood after the reply. Finally, sessions report which holds their leases covered. [Recorder]
// collects these reports, and [Trace.Write] stores them as lease.jsonl. At the end of the run, the
// servers report which sessions they expired. [Trace.Checkers] returns checkers, which decide
// whether the model of decision 1 (the document above) allows all of these reports.
//
//   - lease/within-evidence: a lease stands no longer than the rule of decision 1 allows for the
//     packets that were sent and answered on its connection.
//   - lease/covers-holds: a hold is granted only under a lease, and ends with it.
//   - lease/waiters-are-silent: a session whose lease stands sends no heartbeat while all of its
//     contenders only wait and none of them is next.
//   - lease/ends-before-expiry: the servers expire a session only after its lease has ended.
//   - lease/expiry-after-touch: a leader expires a session no sooner than a session timeout after
//     the last sign of life that the leader received, and only after it has received the packet
//     from which the lease was counted.
//
// The first three properties find mistakes of the client. The other two find wrong assumptions
// about the servers.
//
// # The rule
//
// The checker does not use the code of the session. It applies the text of the rule in decision 1
// to all packets. So the lease that the checker computes is the longest one that the rule allows.
// The session does not keep each packet, so the lease that it computes may be shorter.
//
// # What is not judged
//
// Clients that run in other processes, and clients of other libraries, report nothing. The last two
// properties do not judge a session that a client closed (assumption A6).
//
// # What the last two properties need
//
// The property lease/ends-before-expiry needs the servers' transaction logs. They show which
// sessions a leader expired: the transaction that closes such a session does not answer a request
// of a client. The times in the logs are those of the leader's clock, in milliseconds. The property
// lease/expiry-after-touch also needs the leader's session table, which only the embedded ensemble
// shows.
package leases
