package embedded

import (
	"net"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/ensemble/ensembletest"
	"github.com/zkcoord/zkcoord/internal/virtual"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/zktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestContractOnAVirtualClock(t *testing.T) {
	start := func(t *testing.T) *Ensemble {
		e, err := Start(Options{})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	// The contract has subtests, which a bubble does not allow. So each subtest has its own
	// bubble.
	ensembletest.Steps(t, func(t *testing.T, step func(*testing.T, ensemble.Ensemble)) {
		virtual.Test(t, func(t *testing.T) { step(t, start(t)) })
	})
}

func TestContractOverTCP(t *testing.T) {
	e, err := Start(Options{Model: zktest.Options{TCP: true}})
	if err != nil {
		t.Fatal(err)
	}
	ensembletest.Contract(t, e)
}

func TestATakenPortIsSaid(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = Start(Options{Config: ensemble.Config{Port: l.Addr().(*net.TCPAddr).Port}})
	if err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("got error %v, want one that contains %q", err, "in use")
	}
}

func TestVersionIsThatOfTheModel(t *testing.T) {
	for version, want := range map[string]string{"": "3.9.6", "3.8": "3.8.6", "3.9.3": "3.9.3"} {
		virtual.Test(t, func(t *testing.T) {
			e, err := Start(Options{Config: ensemble.Config{Version: version}})
			if err != nil {
				t.Fatalf("version %q: %v", version, err)
			}
			defer e.Close(t.Context())
			said, err := ensemble.FourLetters(t.Context(), e.DialContext, e.Servers()[0], "srvr")
			if err != nil || !strings.HasPrefix(said, "Zookeeper version: "+want+"-") {
				t.Errorf("version %q: got srvr %q, %v; want version %s", version, said, err, want)
			}
		})
	}
	if e, err := Start(Options{Config: ensemble.Config{Version: "3.8+3.9.6"}}); err == nil {
		e.Close(t.Context())
		t.Error("got no error for servers of two versions, want one")
	}
}

// Regression: Start ignored the seed of its Config.
func TestSeedDecidesTheSessionIDs(t *testing.T) {
	id := func(o Options) (id int64) {
		virtual.Test(t, func(t *testing.T) {
			e, err := Start(o)
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close(t.Context())
			conn, err := e.DialContext(t.Context(), "tcp", e.Servers()[0])
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			var rsp wire.ConnectResponse
			if _, err = conn.Write(wire.AppendFrame(nil, &wire.ConnectRequest{Timeout: 10_000})); err == nil {
				var frame []byte
				if frame, err = wire.ReadFrame(conn, nil, 0); err == nil {
					_, err = wire.Decode(frame, &rsp)
				}
			}
			if err != nil {
				t.Fatalf("handshake: %v", err)
			}
			id = rsp.SessionID
		})
		return id
	}
	config := func(seed uint64) ensemble.Config { return ensemble.Config{Seed: seed} }
	one, two := id(Options{Config: config(1)}), id(Options{Config: config(2)})
	if again := id(Options{Config: config(1)}); one == two || one != again {
		t.Errorf("got session %#x with seed 1, %#x with seed 2, %#x with seed 1 again; want the first and the last equal", one, two, again)
	}
	if got := id(Options{Config: config(1), Model: zktest.Options{Seed: 2}}); got != two {
		t.Errorf("got session %#x with the seed 2 of the model, want %#x, because that seed has priority", got, two)
	}
}
