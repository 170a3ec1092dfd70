// Package trace compares two ensembles. It draws random requests from a seed, sends them to the
// servers one by one, and renders the replies in a form that has the same meaning on all servers.
//
// A trace consists of 30 to 60 steps of three clients. It uses all operations of the client
// protocol, on znodes of all kinds, with watches, ACLs, identities, correct and wrong versions, and
// truncated requests. A client may lose its connection, resume its session at another server, or
// take its session over while the old connection stays open.
//
// Each step has exactly one correct result. To ensure this, a step begins only when the servers to
// which the clients are connected have applied the previous step.
//
// The comparison includes the error code, the header, every field of the response and the encoding
// of the response, and each client's events and their order. A zxid or a time is replaced by the
// step that created it, and a session id by the client and a number. The zxid of a write must be
// new, and the time that the write gives to a znode must be the time of the write's step. Results
// that ZooKeeper returns in the order of a hash table are sorted: children, ephemeral znodes,
// identities, and the events at the end of a session.
//
// If a trace shows a difference, it is minimized.
//
// Package zktest/internal/difftest uses this package to compare zktest with real servers. The
// command zkcoord conform uses it to compare any servers with zktest.
package trace
