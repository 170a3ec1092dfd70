// Package wire is ZooKeeper's client protocol: its opcodes, error codes and
// records, and their form in bytes.
//
// A connection carries frames, each a 32-bit big-endian length and that many
// bytes. The first frame of a client is a [ConnectRequest] and the first of a
// server a [ConnectResponse]. After these, a client's frame is a
// [RequestHeader] and the request of its operation, a server's a [ReplyHeader]
// and, where its Err is OK, the operation's response.
//
// Each record has one method, Fields, that names its fields in order. The same
// method encodes and decodes, so that the two cannot disagree.
//
// # Guarantees
//
// Decoding never panics and never allocates more than a small multiple of the
// bytes that are there, whatever the lengths in them say. A record that was
// encoded decodes to an equal one, but for a nil vector, which decodes as an
// empty one; nil and empty buffers stay distinct, as ZooKeeper keeps them
// distinct.
//
// # Not guaranteed
//
// Bytes that follow a record in its frame are ignored, as ZooKeeper ignores
// them. Strings are not checked to be UTF-8.
package wire
