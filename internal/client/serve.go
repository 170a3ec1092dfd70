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

// A Server is the part of a client program that replies to the requests of the harness. It is for
// clients that are written in Go; see Serve.
type Server struct {
	mu  sync.Mutex
	out io.Writer
}

// Serve sends a hello with the operations. Then it replies to each request with the result of
// `handle`, until the input ends or a reply has Last set. Serve sets the ID of each reply.
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

// Context returns a context that ends when the time r.WaitMS is over. If r.WaitMS is nil, the
// context has no time limit.
func (r Request) Context() (context.Context, context.CancelFunc) {
	if r.WaitMS == nil {
		return context.WithCancel(context.Background())
	}
	return context.WithTimeout(context.Background(), time.Duration(*r.WaitMS)*time.Millisecond)
}

// ReplyOf returns the reply for an operation that returned err. Its type, OK, Fail or Info, is the
// outcome of err.
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

// Lost reports that the client's grant is lost. It may be called from any goroutine.
func (s *Server) Lost(cause error) {
	_ = s.write(Reply{Type: Lost, Error: cause.Error()}) // the harness may have stopped reading
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
