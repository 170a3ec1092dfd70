package peers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/zkcoord/zkcoord/fence"
	"github.com/zkcoord/zkcoord/internal/client"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
)

// workerMark is an environment variable that is set for a process which is a client of library
// Zkcoord.
const workerMark = "ZKCOORD_PEER"

// Work turns this process into a client of library Zkcoord, and ends it, if it was started for
// that. Programs that start such clients call it first.
func Work() {
	if os.Getenv(workerMark) == "" {
		return
	}
	s, err := client.FromEnvironment()
	if err == nil {
		err = Zkcoord.serve(s, os.Stdin, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serve is the program in Go: a client of one of its libraries.
func (l Library) serve(s client.Setup, in io.Reader, out io.Writer) error {
	switch l {
	case ZKLock, ZKLockUntilExpired:
		return serveZKLock(l, s, in, out)
	}
	w := &worker{}
	var err error
	if w.account, err = openAccount(s.Recipe); err != nil {
		return err
	}
	if w.s, err = session.Open(context.Background(), session.Options{Servers: s.Servers, Dial: s.Dial, Timeout: s.Timeout}); err != nil {
		return err
	}
	defer w.s.Close()
	w.m = lock.NewMutex(w.s, s.Path, lock.Options{})
	return client.Serve(in, out, client.Lock.Operations(), w.reply)
}

// A worker is a client of package lock. It ends with its session, because with a new session it
// would be another client.
type worker struct {
	s       *session.Session
	m       *lock.Mutex
	grant   *lock.Grant
	account *account // nil if the recipe has none
}

func (w *worker) reply(s *client.Server, r client.Request) client.Reply {
	ctx, cancel := r.Context()
	defer cancel()
	switch {
	case r.Op == client.OpAcquire:
		return w.acquire(ctx, s)
	case r.Op == client.OpRelease && w.grant != nil:
		return client.ReplyOf(w.grant.Unlock(ctx))
	case w.account != nil && w.grant != nil && (r.Op == opRead || r.Op == opWrite):
		return w.account.reply(ctx, fence.TokenOf(w.grant), r)
	}
	return client.Reply{Type: client.Fail, Error: "unknown operation, or nothing is held"}
}

func (w *worker) acquire(ctx context.Context, s *client.Server) client.Reply {
	grant, err := w.m.Lock(ctx)
	if err != nil {
		reply := client.ReplyOf(err)
		reply.Last = w.s.Err() != nil
		return reply
	}
	w.grant = grant
	granted := grant.Context()
	context.AfterFunc(granted, func() {
		if cause := context.Cause(granted); !errors.Is(cause, lock.ErrReleased) {
			s.Lost(cause)
		}
	})
	return client.Reply{Type: client.OK, Token: int64(grant.Token()), Node: grant.Path()}
}
