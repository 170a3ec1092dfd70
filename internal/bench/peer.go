package bench

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/internal/peers"
)

//go:embed CuratorBench.java
var curatorSource []byte

//go:embed kazoo_bench.py
var kazooSource []byte

// programs are the drivers of the other languages' libraries.
var programs = map[peers.Library]peers.Program{
	peers.Curator: {Library: peers.Curator, Name: "CuratorBench", Source: curatorSource, Flags: []string{"-Xmx1g", "-XX:+UseSerialGC"}},
	peers.Kazoo:   {Library: peers.Kazoo, Name: "kazoo_bench", Source: kazooSource},
}

// peer is a library that runs in a process of its own, the same one all the
// time: a JVM gets quicker with use.
type peer struct {
	library peers.Library
	process *peers.Process // nil before the first fleet
}

func (p *peer) name() string { return p.library.String() }

// does leaves out what kazoo does not come back from: its readers and writers
// wait for each other for ever when several of both are about (kazoo#649), and
// a barrier's node "ready" that is made late, when another member has deleted
// it already, is waited for by those who leave. The queues of both libraries
// have no batches, and do one by one what a row says.
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
		if p.process, err = programs[p.library].Start(ctx, nil); err != nil {
			return nil, err
		}
	}
	command := fmt.Sprintf("open %s %d %d", strings.Join(servers, ","), sessionTimeout.Milliseconds(), n)
	_, err = p.ask(ctx, command, "opened", 0)
	return peerFleet{p}, err
}

// ask ends the process when it does not answer: what it would say later would
// be taken for another answer.
func (p *peer) ask(ctx context.Context, command, name string, n int) ([]string, error) {
	if p.process == nil {
		return nil, fmt.Errorf("%s: the process had to be ended", p.name())
	}
	words, err := p.process.Ask(ctx, command, name, n)
	if err != nil {
		p.close()
		return nil, fmt.Errorf("%s: %w", p.name(), err)
	}
	return words, nil
}

// peerFleet are the clients that the process has.
type peerFleet struct{ *peer }

func (f peerFleet) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, _ = f.ask(ctx, "close", "closed", 0) // else the process is ended
}

func (f peerFleet) do(ctx context.Context, j Job) (s Sample, err error) {
	command := fmt.Sprintf("run %s %s %d %d %d %d %d %d %d", j.Kind, j.Path, j.Clients, j.Width,
		j.Warm.Milliseconds(), j.Time.Milliseconds(), j.Each, j.Items, j.Batch)
	words, err := f.ask(ctx, command, "ran", 3)
	if err != nil {
		return s, err
	}
	var numbers [3]int
	for i, word := range words {
		if numbers[i], err = strconv.Atoi(word); err != nil {
			return s, fmt.Errorf("%s: %w", f.name(), err)
		}
	}
	return Sample{Ops: numbers[0], Took: time.Duration(numbers[1]), Latency: time.Duration(numbers[2])}, nil
}
