package recipetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/session"
)

// A slowDone is a context whose Done takes a second. If a call starts a request before it waits for
// its context, the request is sent during this second, and the test detects it.
type slowDone struct{ context.Context }

func (c *slowDone) Done() <-chan struct{} {
	time.Sleep(time.Second)
	return c.Context.Done()
}

// EndedContextSendsNothing makes each call with a context that has already ended. The call must
// fail with the cause of the context and must send no request (etcd#10111). The error must have the
// outcome Failed.
func EndedContextSendsNothing(t *testing.T, calls map[string]func(context.Context, *session.Session) error) {
	t.Helper()
	Run(t, func(t *testing.T, w *World) {
		c := w.Client()
		ended, cancel := context.WithCancelCause(t.Context())
		cause := errors.New("shut down")
		cancel(cause)
		for name, call := range calls {
			err := call(&slowDone{ended}, c.Session)
			if outcome := session.OutcomeOf(err); !errors.Is(err, cause) || outcome != session.Failed {
				t.Errorf("%s: got error %v, outcome %v; want %v, %v", name, err, outcome, cause, session.Failed)
			}
			c.Expect(t, name, "")
		}
	})
}
