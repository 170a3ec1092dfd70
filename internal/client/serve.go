package client

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/session"
)

// A Server is the client's side of the protocol, for clients in Go.
type Server struct {
	mu  sync.Mutex
	out io.Writer
}

// Serve says hello with the operations, and replies to each request with what
// handle returns for it, until in ends or a reply is the Last. Handle need not set the ID.
func Serve(in io.Reader, out io.Writer, operations []string, handle func(*Server, Request) Reply) error {
	s := &Server{out: out}
	if err := s.write(Reply{Type: Hello, Protocol: Version, Operations: operations}); err != nil {
		return err
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, MaxLine)
	for lines.Scan() {
		var r Request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return err
		}
		reply := handle(s, r)
		reply.ID = r.ID
		if err := s.write(reply); err != nil {
			return err
		}
		if reply.Last {
			return nil
		}
	}
	return lines.Err()
}

// Context returns a context that ends when the client is to wait no longer.
func (r Request) Context() (context.Context, context.CancelFunc) {
	if r.WaitMS == nil {
		return context.WithCancel(context.Background())
	}
	return context.WithTimeout(context.Background(), time.Duration(*r.WaitMS)*time.Millisecond)
}

// ReplyOf is the reply to a request that returned err, by its outcome.
func ReplyOf(err error) Reply {
	if err == nil {
		return Reply{Type: OK}
	}
	r := Reply{Type: Info, Error: err.Error()}
	if session.OutcomeOf(err) == session.Failed {
		r.Type = Fail
	}
	return r
}

// Lost says that what was granted is lost. It may be called from any goroutine.
func (s *Server) Lost(cause error) {
	_ = s.write(Reply{Type: Lost, Error: cause.Error()}) // a harness that reads no more has no use for it
}

func (s *Server) write(r Reply) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err = s.out.Write(append(line, '\n'))
	return err
}
