package session

import (
	"fmt"
	"log/slog"

	"github.com/go-zookeeper/zk"
)

// A session uses go-zookeeper to encode requests, to decode replies, and to pass each reply to its
// caller. The session does everything else itself, between the client and the socket (conn.go). The
// session depends on the properties of the client that are listed below. go-zookeeper does not
// document these properties. TestClientDoesWhatIsAssumed has a subtest for each line of the list,
// and the line is the subtest's name. The test fails if the client loses one of the properties.
//
//   - each request is one Write of one whole frame
//   - nothing is written before the handshake is answered
//   - a path goes into the frame unchanged, as its first field
//   - the last byte of a read is its watch flag
//   - xids are above zero, and -2 for a ping
//   - replies with other xids below zero are ignored
//   - replies may come in any order
//   - a reply with an error is not decoded
//   - an unknown error names its code
//   - a multi that fails gives the error of each part
//   - a request that was written fails when its connection ends
//   - a request that was not written is written on the next connection
//   - a request may be dropped although Write succeeds
//   - a new connection resumes the session
//   - no watches are set again if none was set by the client
//   - Close ends with the answer of the server
//   - the buffer for replies is made after the handshake and grows

// connect creates and starts the client of s.
func connect(s *Session) (<-chan zk.Event, error) {
	_, events, err := zk.Connect(s.opts.Servers, s.opts.Timeout,
		func(c *zk.Conn) { s.zk = c }, // set before the client starts to use the connections of s
		zk.WithHostProvider(s.servers),
		zk.WithDialer(s.dial),
		zk.WithMaxConnBufferSize(s.opts.MaxRequest+1<<12),
		zk.WithLogger(debugLog{s.opts.Logger}), zk.WithLogInfo(false))
	return events, err
}

// smallBuffer is the size in bytes of the buffer for replies at the start of a connection.
const smallBuffer = 4 << 10

// limitReplies sets the size in bytes of the largest reply that the client accepts; 0 means no
// limit. Right after the handshake, the client allocates a buffer. Its size is 1.5 MiB or the
// limit, whichever is smaller. To save memory, a session sets a small limit during the handshake,
// and removes the limit when the first reply arrives. Only the client's goroutine that reads from
// the connection may call limitReplies, because that goroutine uses the limit without a lock.
func limitReplies(c *zk.Conn, bytes int) { zk.WithMaxBufferSize(bytes)(c) }

// A debugLog logs the client's messages at the level debug.
type debugLog struct{ log *slog.Logger }

func (l debugLog) Printf(format string, args ...any) {
	l.log.Debug("zookeeper client: " + fmt.Sprintf(format, args...))
}
