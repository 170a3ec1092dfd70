package ensemble

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Status is what a node says of itself to the four-letter word srvr.
type Status struct {
	Mode string // "leader", "follower", "observer", "standalone", or what it said instead of a mode
	Zxid int64  // the last transaction that it applied

	Version string // such as "3.9.6", empty if it does not say

	// Answered is false if Mode is an error that came in place of an answer, or if nobody asked.
	Answered bool
}

// Serves reports whether the node answers clients' requests.
func (s Status) Serves() bool { return s.Leads() || s.Mode == "follower" || s.Mode == "observer" }

// Leads reports whether the node is a leader, or alone.
func (s Status) Leads() bool { return s.Mode == "leader" || s.Mode == "standalone" }

const askTimeout = 2 * time.Second

// longestAnswer is room for wchp, which lists every watch, and a bound for what is no ZooKeeper.
const longestAnswer = 16 << 20

// Ask sends srvr to the node at address. A node that runs but looks for a quorum answers, with a Mode that tells so.
func Ask(ctx context.Context, dial DialFunc, address string) (Status, error) {
	text, err := FourLetters(ctx, dial, address, "srvr")
	// A node may reset the connection behind a whole answer: what counts is the answer.
	if s, ok := parseSrvr(text); ok {
		return s, nil
	}
	if err == nil {
		err = fmt.Errorf("srvr to %s: %w", address, io.ErrUnexpectedEOF)
	}
	return Status{}, err
}

// FourLetters sends a four-letter word to the node at address and returns all that it answers, which may come with an error.
// It waits two seconds at most: a paused node accepts and says nothing.
func FourLetters(ctx context.Context, dial DialFunc, address, word string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	conn, err := dial(ctx, "tcp", address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	var text []byte
	if _, err = io.WriteString(conn, word); err == nil {
		text, err = io.ReadAll(io.LimitReader(conn, longestAnswer))
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		err = fmt.Errorf("%s to %s: %w", word, address, err)
	}
	return string(text), err
}

// parseSrvr reads the answer to srvr; ok is false if there is none.
func parseSrvr(text string) (s Status, ok bool) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if mode, found := strings.CutPrefix(line, "Mode: "); found {
			s.Mode = mode
		}
		if version, found := strings.CutPrefix(line, "Zookeeper version: "); found {
			s.Version, _, _ = strings.Cut(version, ",")
			s.Version, _, _ = strings.Cut(s.Version, "-")
		}
		if zxid, found := strings.CutPrefix(line, "Zxid: "); found {
			s.Zxid, _ = strconv.ParseInt(strings.TrimPrefix(zxid, "0x"), 16, 64)
		}
	}
	if s.Mode == "" {
		s.Mode = strings.TrimSpace(text)
	}
	s.Answered = s.Mode != ""
	return s, s.Answered
}

// Survey asks all nodes that want says should answer, at once. A node that does not answer has its error for a Mode, and
// one that want skips has an empty one.
func Survey(ctx context.Context, dial DialFunc, servers []string, want func(node int) bool) []Status {
	all := make([]Status, len(servers))
	var wg sync.WaitGroup
	for i, address := range servers {
		if !want(i) {
			continue
		}
		wg.Go(func() {
			s, err := Ask(ctx, dial, address)
			if err != nil {
				s.Mode = err.Error()
			}
			all[i] = s
		})
	}
	wg.Wait()
	return all
}

// Settled decides from a survey whether the nodes that want names are one quorum under one leader.
func Settled(all []Status, want func(node int) bool) bool {
	leaders, serving, wanted := 0, 0, 0
	for i, s := range all {
		if !want(i) {
			continue
		}
		wanted++
		if s.Serves() {
			serving++
		}
		if s.Leads() {
			leaders++
		}
	}
	return leaders == 1 && serving == wanted
}

// Newest returns the node that leads, going by a survey: of two that say so, the one of the newer epoch.
func Newest(all []Status) (node int, err error) {
	node = -1
	for i, s := range all {
		if s.Leads() && (node < 0 || s.Zxid>>32 > all[node].Zxid>>32) {
			node = i
		}
	}
	if node < 0 {
		return 0, ErrNoLeader
	}
	return node, nil
}

// AwaitQuorum surveys until the nodes that want names are settled. It stops early with the error of dead, which is asked
// every half second and may be nil. If ctx ends first, the error tells the state of each node.
func AwaitQuorum(ctx context.Context, dial DialFunc, servers []string, want func(node int) bool, dead func() error) error {
	var all []Status
	for asked := time.Now(); ; {
		now := Survey(ctx, dial, servers, want)
		if Settled(now, want) {
			return nil
		}
		if all == nil || ctx.Err() == nil {
			all = now // One that was cut short by ctx says nothing about the nodes.
		}
		if dead != nil && ctx.Err() == nil && time.Since(asked) > 500*time.Millisecond {
			asked = time.Now()
			if err := dead(); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no quorum: %s: %w", describe(all), context.Cause(ctx))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func describe(all []Status) string {
	var b strings.Builder
	for i, s := range all {
		if i > 0 {
			b.WriteString("; ")
		}
		mode := s.Mode
		if mode == "" {
			mode = "not running"
		}
		fmt.Fprintf(&b, "node %d: %s", i, mode)
	}
	return b.String()
}
