// Package trace draws random requests from a seed, plays them on servers of ZooKeeper by hand, and tells what came back in
// terms that mean the same on all servers. Two ensembles that get the same trace can be compared.
//
// A trace is some fifty steps of three clients: all operations of the client protocol, on nodes of all kinds, with watches, ACLs,
// identities, versions that hold or not, requests that are cut short, and connections that are lost, resumed at another server,
// or taken over. One step is done at a time, and the next one waits until the servers that the clients are connected to have
// applied it, so that there is one right answer to each. Compared are code, header, every field of the response down to how it is
// encoded, and each client's events and their order. Zxids, times and session ids are told by the step that made them; a step's
// zxid has to be new, and its time that of the step. What ZooKeeper gives in the order of a hash table (children, ephemerals,
// identities, the events of a session's end) is sorted.
//
// A difference is shrunk to the steps that it takes.
//
// Package zktest/internal/difftest compares zktest with real servers by it, and zkcoord conform compares any servers with zktest.
package trace
