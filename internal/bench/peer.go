package bench

import (
	"context"
	_ "embed"
	"fmt"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/internal/client"
	"github.com/zkcoord/zkcoord/internal/peers"
)

//go:embed CuratorBench.java
var curatorSource []byte

//go:embed kazoo_bench.py
var kazooSource []byte

// The variable `programs` has the drivers of the libraries in other languages.
var programs = map[peers.Library]peers.Source{
	peers.Curator: {Library: peers.Curator, Name: "CuratorBench", Text: curatorSource, Flags: []string{"-Xmx1g", "-XX:+UseSerialGC"}},
	peers.Kazoo:   {Library: peers.Kazoo, Name: "kazoo_bench", Text: kazooSource},
}

// A peer is a library that runs in a separate process. One process runs all jobs of the library,
// because a JVM becomes faster with use.
type peer struct {
	library peers.Library
	process *client.Client // nil before the first fleet
}

func (p *peer) name() string { return p.library.String() }

// The method `does` returns false for jobs whose field Relaxed is true. For kazoo, it also returns
// false for two kinds of jobs, because it is possible that such a job never returns:
//
//   - ReadWrite: kazoo's readers and writers can deadlock if there are several of both (kazoo#649).
//   - Barrier: a member can create the znode "ready" again after another member has deleted it. If
//     a member leaves after that, it can wait forever for the deletion of "ready".
//
// The queues of Curator and kazoo have no batches, so these libraries put and take the items of a
// batch one by one.
func (p *peer) does(j Job) bool {
	return !j.Relaxed && (p.library != peers.Kazoo || j.Kind != ReadWrite && j.Kind != Barrier)
}

func (p *peer) close() {
	if p.process != nil {
		p.process.Close()
		p.process = nil
	}
}

func (p *peer) open(ctx context.Context, servers []string, n int) (_ fleet, err error) {
	if p.process == nil {
		program, err := programs[p.library].Program(ctx)
		if err != nil {
			return nil, err
		}
		// The process connects to the servers directly, so that our code is not measured.
		if p.process, err = client.Start(ctx, program, client.Setup{}, client.Options{AnswerTime: answerTime}); err != nil {
			return nil, err
		}
	}
	_, err = p.do(ctx, "open", fmt.Sprintf("%s %d %d", strings.Join(servers, ","), sessionTimeout.Milliseconds(), n))
	return peerFleet{p}, err
}

// answerTime is the time limit for a request to the process. It is longer than any job takes, so
// that only ctx limits a job.
const answerTime = time.Hour

// The method `do` sends a request to the process. If the request fails, the method ends the
// process.
func (p *peer) do(ctx context.Context, op, value string) (string, error) {
	if p.process == nil {
		return "", fmt.Errorf("%s: the process was ended because an earlier request to it failed", p.name())
	}
	reply, err := p.process.Do(ctx, client.Request{Op: op, Value: value})
	if err != nil {
		p.close()
		return "", fmt.Errorf("%s: %w", p.name(), err)
	}
	return reply.Value, nil
}

// A peerFleet consists of the clients in the process of a peer.
type peerFleet struct{ *peer }

func (f peerFleet) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, _ = f.peer.do(ctx, "close", "") // if this fails, the process has been ended
}

func (f peerFleet) do(ctx context.Context, j Job) (s Sample, err error) {
	ran, err := f.peer.do(ctx, "run", fmt.Sprint(j.Kind, " ", j.Path, " ", j.Clients, " ", j.Width, " ",
		j.Warm.Milliseconds(), " ", j.Time.Milliseconds(), " ", j.Each, " ", j.Items, " ", j.Batch))
	if err != nil {
		return s, err
	}
	if _, err := fmt.Sscan(ran, &s.Ops, &s.Took, &s.Latency); err != nil {
		return s, fmt.Errorf("%s: want operations, time and latency, got %q: %w", f.name(), ran, err)
	}
	return s, nil
}
