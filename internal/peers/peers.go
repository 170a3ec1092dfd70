// Package peers runs clients of other libraries, Curator and kazoo, as
// processes beside a run: for scenarios in which they share a lock with
// zkcoord, and as a measure of what they hold to under the same faults.
//
// A peer is given a loopback address for each server, behind which is the
// client's own link: what breaks the link of a client of zkcoord breaks theirs.
package peers

import (
	"context"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

//go:embed Curator.java
var curatorSource []byte

//go:embed kazoo_peer.py
var kazooSource []byte

// lockers are the programs of peers, by library.
var lockers = map[Library]Program{
	Curator: {Curator, "Curator", curatorSource, []string{"-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"}},
	Kazoo:   {Kazoo, "kazoo_peer", kazooSource, nil},
	Zkcoord: {Zkcoord, "zkcoord", nil, nil},
}

// Dial is the form of net.Dialer.DialContext.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// A Recipe is one of a library.
type Recipe string

// The recipes, with what they are called in Curator and in kazoo.
const (
	Mutex  Recipe = "mutex"  // InterProcessMutex, Lock
	RWLock Recipe = "rwlock" // InterProcessReadWriteLock; kazoo's has names that Curator does not know
	Leader Recipe = "leader" // LeaderLatch, Election
)

// Semaphore is Curator's InterProcessSemaphoreV2, of that many permits.
func Semaphore(permits int) Recipe { return Recipe(fmt.Sprintf("semaphore=%d", permits)) }

// A Peer is one client of a library, with one session and one recipe.
type Peer struct {
	ID       int64 // of its session
	Password []byte

	process *Process
	lost    context.Context
	lose    context.CancelCauseFunc
	ways    []*Way
}

// Start starts a peer that uses the recipe at path on the servers, which it
// reaches through dial. The caller closes it.
func Start(ctx context.Context, l Library, servers []string, dial Dial, timeout time.Duration, path string, r Recipe) (_ *Peer, err error) {
	p := &Peer{}
	p.lost, p.lose = context.WithCancelCause(context.Background())
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	var addresses []string
	for _, server := range servers {
		w, err := NewWay(server, dial)
		if err != nil {
			return nil, err
		}
		p.ways = append(p.ways, w)
		addresses = append(addresses, w.Address())
	}
	p.process, err = lockers[l].Start(ctx, p.aboutLoss, strings.Join(addresses, ","), strconv.FormatInt(timeout.Milliseconds(), 10), path, string(r))
	if err != nil {
		return nil, err
	}
	context.AfterFunc(p.process.Ended(), func() { p.lose(errors.New("the process ended")) })
	words, err := p.process.Answer(ctx, "ready", 2)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", l, err)
	}
	if p.ID, err = strconv.ParseInt(words[0], 10, 64); err != nil {
		return nil, err
	}
	p.Password, err = hex.DecodeString(words[1])
	return p, err
}

func (p *Peer) aboutLoss(line string) bool {
	how, lost := strings.CutPrefix(line, "lost ")
	if lost {
		p.lose(fmt.Errorf("connection state %s", how))
	}
	return lost
}

// Acquire waits for what is wanted of the recipe ("read" or "write" of a RWLock)
// and returns the czxid and the path of its node.
func (p *Peer) Acquire(ctx context.Context, want string) (czxid int64, node string, err error) {
	words, err := p.ask(ctx, "acquire "+want, "acquired", 2)
	if err != nil {
		return 0, "", err
	}
	czxid, err = strconv.ParseInt(words[0], 10, 64)
	return czxid, words[1], err
}

// Release gives it up.
func (p *Peer) Release(ctx context.Context) error {
	_, err := p.ask(ctx, "release", "released", 0)
	return err
}

// ask sends a command and waits for its answer. A peer that is not waited for any longer is lost: it goes on with what it was
// asked for, and its answer would be taken for that to the next command.
func (p *Peer) ask(ctx context.Context, command, name string, n int) ([]string, error) {
	words, err := p.process.Ask(ctx, command, name, n)
	if err != nil && ctx.Err() != nil {
		p.lose(fmt.Errorf("%s: not waited for any longer: %w", command, context.Cause(ctx)))
	}
	return words, err
}

// Process is the process that the peer runs in.
func (p *Peer) Process() *Process { return p.process }

// Lost ends when the library said that the connection is suspended or the
// session lost, which is when its manual says not to trust the lock any more.
func (p *Peer) Lost() context.Context { return p.lost }

// Close ends the process, which closes its session, and everything of it.
func (p *Peer) Close() {
	if p.process != nil {
		p.process.Close()
	}
	for _, w := range p.ways {
		w.Close()
	}
}
