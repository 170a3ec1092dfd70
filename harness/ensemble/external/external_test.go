package external

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/harness/ensemble/ensembletest"
	"github.com/zkcoord/zkcoord/zktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestContract(t *testing.T) {
	z := zktest.Start(t)
	e, err := Attach(z.Servers(), z.DialContext)
	if err != nil {
		t.Fatal(err)
	}
	ensembletest.Contract(t, e)
}

func TestNotReadyWhileAServerIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := zktest.Start(t)
		e, err := Attach(z.Servers(), z.DialContext)
		if err != nil {
			t.Fatal(err)
		}
		z.Kill(2)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := e.Ready(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "node 2: ") {
			t.Errorf("ready with a server down: %v", err)
		}
		if leader, err := e.Leader(t.Context()); err != nil || leader == 2 {
			t.Errorf("leader %d, %v", leader, err)
		}
	})
}

func TestAddressWithoutPortIsRefused(t *testing.T) {
	for _, servers := range [][]string{nil, {"zoo1"}, {"zoo1:2181", ""}} {
		if _, err := Attach(servers, nil); err == nil {
			t.Errorf("attached to %q", servers)
		}
	}
}
