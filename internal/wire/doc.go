// Package wire implements ZooKeeper's client protocol: its opcodes, error codes and records, and
// their encoding.
//
// A connection carries frames. Each frame consists of a 32-bit big-endian length and that many
// bytes. The first frame of a client is a [ConnectRequest], and the first frame of a server is a
// [ConnectResponse]. Every later frame of a client has a [RequestHeader] and the request of its
// operation. Every later frame of a server has a [ReplyHeader] and, if its Err is OK, the
// operation's response.
//
// Each record has one method, Fields, which passes the record's fields in order to a [Fields]. The
// same method encodes and decodes, so the two cannot disagree.
//
// # Guarantees
//
// Decoding never panics. It never allocates more than a small multiple of the bytes that are
// present, whatever lengths they contain. A record that was encoded is decoded to an equal one,
// with one exception: a nil vector is decoded as an empty one. Nil and empty buffers stay distinct,
// because ZooKeeper distinguishes them.
//
// # Not guaranteed
//
// Bytes after a record in its frame are ignored, because ZooKeeper ignores them. Strings are not
// checked to be UTF-8.
package wire
