package embedded

import (
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/ensemble/ensembletest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestContract(t *testing.T) {
	t.Parallel()
	e, err := Start(Options{Config: ensemble.Config{Seed: 7}})
	if err != nil {
		t.Fatal(err)
	}
	ensembletest.Contract(t, e)
}

func TestContractOverTCP(t *testing.T) {
	t.Parallel()
	e, err := Start(Options{TCP: true})
	if err != nil {
		t.Fatal(err)
	}
	ensembletest.Contract(t, e)
}

func TestTakenPortIsAnErrorAndLeavesNothing(t *testing.T) {
	first, err := Start(Options{TCP: true, Config: ensemble.Config{Nodes: 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close(t.Context())
	var port int
	if _, err := fmt.Sscanf(first.Servers()[0], "127.0.0.1:%d", &port); err != nil {
		t.Fatal(err)
	}
	if second, err := Start(Options{Config: ensemble.Config{Nodes: 1, Port: port}}); err == nil {
		second.Close(t.Context())
		t.Error("started on a port that is taken")
	}
}
