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

// Status is the answer of a node to the four-letter word srvr.
type Status struct {
	Mode string // "leader", "follower", "observer", "standalone", or another answer in place of a mode
	Zxid int64  // the last transaction that the node applied

	Version string // such as "3.9.6"; empty if the answer has none

	// Answered is false if Mode contains an error instead of an answer, or if the node was not
	// queried.
	Answered bool
}

// Serves reports whether the node answers clients' requests.
func (s Status) Serves() bool { return s.Leads() || s.Mode == "follower" || s.Mode == "observer" }

// Leads reports whether the node is a leader or runs alone.
func (s Status) Leads() bool { return s.Mode == "leader" || s.Mode == "standalone" }

const askTimeout = 2 * time.Second

// longestAnswer limits the number of bytes of an answer, because the program at an address is
// possibly not ZooKeeper. This number is enough for the answer to wchp, which lists every watch.
const longestAnswer = 16 << 20

// Ask sends srvr to the node at address. A running node without a quorum answers too. The Mode of
// its Status shows that the node does not serve.
func Ask(ctx context.Context, dial DialFunc, address string) (Status, error) {
	text, err := FourLetters(ctx, dial, address, "srvr")
	// A node may reset the connection after a complete answer. The answer still counts.
	if s, ok := parseSrvr(text); ok {
		return s, nil
	}
	if err == nil {
		err = fmt.Errorf("srvr to %s: %w", address, io.ErrUnexpectedEOF)
	}
	return Status{}, err
}

// FourLetters sends a four-letter word to the node at address and returns the whole answer. If
// there is an error, it returns the part of the answer before the error, too. An answer of more
// than 16 MiB is an error. FourLetters waits at most two seconds, because a paused node accepts the
// connection and does not answer.
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
		text, err = io.ReadAll(io.LimitReader(conn, longestAnswer+1))
	}
	if len(text) > longestAnswer {
		text, err = text[:longestAnswer], fmt.Errorf("the answer has more than %d bytes", longestAnswer)
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		err = fmt.Errorf("%s to %s: %w", word, address, err)
	}
	return string(text), err
}

// parseSrvr parses the answer to srvr. ok is false if the answer is empty.
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

// Survey concurrently queries all nodes for which the function `want` returns true. If a node does
// not answer, its Mode is the error. The Mode of a node that was not queried is empty.
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

// Settled reports whether, according to a survey, the nodes for which the function `want` returns
// true are one quorum under one leader.
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

// Newest returns the node that leads according to a survey. If two nodes claim to lead, it returns
// the one with the newer epoch.
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

// ReadyWithin waits for Ready, at most for the given time.
func ReadyWithin(ctx context.Context, e Ensemble, limit time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("gave up after %v", limit))
	defer cancel()
	return e.Ready(ctx)
}

// AwaitQuorum surveys until the nodes for which the function `want` returns true are settled. If
// the function `dead` is not nil, AwaitQuorum calls it between two surveys, at most twice a second.
// If `dead` returns an error, AwaitQuorum returns that error. If ctx ends first, the error lists
// the state of each node.
func AwaitQuorum(ctx context.Context, dial DialFunc, servers []string, want func(node int) bool, dead func() error) error {
	var all []Status
	for asked := time.Now(); ; {
		now := Survey(ctx, dial, servers, want)
		if Settled(now, want) {
			return nil
		}
		if all == nil || ctx.Err() == nil {
			all = now // A survey that ctx cut short is no evidence about the nodes.
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
