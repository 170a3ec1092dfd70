package ensemble

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/internal/virtual"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestZeroConfigIsThreeNodesThatTickFast(t *testing.T) {
	c, err := Config{}.Complete()
	if err != nil || c.Nodes != 3 || c.TickTime != 500*time.Millisecond || c.InitLimit != 10 || c.SyncLimit != 5 {
		t.Errorf("got %+v, %v; want 3 nodes, a tick of 500ms, limits of 10 and 5 ticks", c, err)
	}
	if s := c.Settings(); s["tickTime"] != "500" || s["syncLimit"] != "5" {
		t.Errorf("got settings %v, want tickTime=500 and syncLimit=5", s)
	}
}

func TestExtraSettingsWin(t *testing.T) {
	c, err := Config{Extra: map[string]string{"tickTime": "7", "snapCount": "9"}}.Complete()
	if s := c.Settings(); err != nil || s["tickTime"] != "7" || s["snapCount"] != "9" {
		t.Errorf("got settings %v, %v; want tickTime=7 and snapCount=9", c.Settings(), err)
	}
}

func TestImpossibleConfigIsRefused(t *testing.T) {
	for _, c := range []Config{
		{Nodes: -1}, {Nodes: 100}, {TickTime: time.Microsecond}, {InitLimit: -1}, {SyncLimit: -1}, {Port: -1}, {Port: 65534},
		{Extra: map[string]string{"a b": "c"}}, {Extra: map[string]string{"a": "b\nserver.1=evil"}},
	} {
		if _, err := c.Complete(); err == nil {
			t.Errorf("%+v: got no error, want one", c)
		}
	}
}

func TestAnswersAreRead(t *testing.T) {
	for text, want := range map[string]Status{
		"Zookeeper version: 3.8.0\nZxid: 0x300000004\nMode: follower\nNode count: 5\n": {Mode: "follower", Zxid: 0x300000004, Version: "3.8.0", Answered: true},
		"Mode: leader\nProposal sizes last/min/max: 48/48/48\n":                        {Mode: "leader", Answered: true},
		"This ZooKeeper instance is not currently serving requests\n":                  {Mode: "This ZooKeeper instance is not currently serving requests", Answered: true},
		"": {},
	} {
		if got, ok := parseSrvr(text); got != want || ok != want.Answered {
			t.Errorf("%q: got %+v, %t; want %+v, %t", text, got, ok, want, want.Answered)
		}
	}
}

func TestAQuorumHasOneLeaderAndAllServe(t *testing.T) {
	all := func(int) bool { return true }
	state := func(modes string) (states []Status) {
		for _, mode := range strings.Fields(modes) {
			states = append(states, Status{Mode: mode, Answered: true})
		}
		return states
	}
	for modes, want := range map[string]bool{
		"leader follower follower":  true,
		"standalone":                true,
		"leader observer follower":  true,
		"leader looking follower":   false,
		"leader leader follower":    false, // The old leader has not noticed yet that it was replaced.
		"follower follower looking": false,
		"":                          false,
	} {
		if got := Settled(state(modes), all); got != want {
			t.Errorf("%q: got settled %t, want %t", modes, got, want)
		}
	}
	if !Settled(state("leader dead follower"), func(n int) bool { return n != 1 }) {
		t.Error("got not settled because of a node that should not run, want settled")
	}
}

func TestOfTwoLeadersTheNewerEpochLeads(t *testing.T) {
	states := []Status{{Mode: "leader", Zxid: 1<<32 + 900}, {Mode: "follower", Zxid: 2<<32 + 1}, {Mode: "leader", Zxid: 2 << 32}}
	if n, err := Newest(states); n != 2 || err != nil {
		t.Errorf("got leader %d, %v; want 2", n, err)
	}
	if _, err := Newest(states[1:2]); !errors.Is(err, ErrNoLeader) {
		t.Errorf("without a leader: got %v, want %v", err, ErrNoLeader)
	}
}

func TestASilentNodeIsGivenUpAfterTwoSeconds(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		dial := func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go io.Copy(io.Discard, far)
			return near, nil
		}
		start := time.Now()
		if _, err := Ask(t.Context(), dial, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got error %v, want %v", err, context.DeadlineExceeded)
		}
		if took := time.Since(start); took != askTimeout {
			t.Errorf("took %v, want %v", took, askTimeout)
		}
	})
}

// The function `answering` returns a function that dials a node whose answer to wchp has n bytes.
func answering(n int64) DialFunc {
	return func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			io.ReadFull(far, make([]byte, len("wchp")))
			io.Copy(far, io.LimitReader(slashes{}, n))
		}()
		return near, nil
	}
}

// The type `slashes` is an endless stream of slashes.
type slashes struct{}

func (slashes) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '/'
	}
	return len(p), nil
}

// The answer to wchp may be long, because it lists every watch.
//
// Regression: if an answer was longer than the limit, its end was missing without an error.
func TestALongAnswerIsReadWhole(t *testing.T) {
	for _, n := range []int64{160_000, longestAnswer, longestAnswer + 1} {
		virtual.Test(t, func(t *testing.T) { // so that the answer is never too slow
			got, err := FourLetters(t.Context(), answering(n), "a", "wchp")
			if want := min(n, longestAnswer); int64(len(got)) != want || (err != nil) != (n > longestAnswer) {
				t.Errorf("an answer of %d bytes: got %d bytes, error %v; want %d bytes, and an error only above %d bytes",
					n, len(got), err, want, longestAnswer)
			}
		})
	}
}

func TestWaitingForAQuorumEndsWithTheContextAndTellsStates(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		refused := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("nobody there") }
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("long enough"))
		defer cancel()
		err := AwaitQuorum(ctx, refused, []string{"a", "b"}, func(n int) bool { return n == 1 }, nil)
		if want := "node 0: not running; node 1: nobody there: long enough"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want one that contains %q", err, want)
		}
		died := errors.New("died")
		err = AwaitQuorum(t.Context(), refused, []string{"a"}, func(int) bool { return true }, func() error { return died })
		if !errors.Is(err, died) {
			t.Errorf("got error %v, want %v", err, died)
		}
	})
}
