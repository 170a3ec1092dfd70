package container

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/client"
	"golang.org/x/sync/errgroup"

	"github.com/zkcoord/zkcoord/harness/ensemble"
)

// Cut drops the packets of the edges with iptables inside the containers. For each cut edge, one
// rule is at the sender and one at the receiver. No rule can be set in a paused node, but then the
// rule at the other node suffices. The rules match the addresses of the nodes. Clients have other
// addresses, so a cut does not affect them.
func (e *cluster) Cut(ctx context.Context, edges ...ensemble.Edge) error {
	return e.rule(ctx, "cut", edges, func(l ensemble.Edge) { e.cuts[l] = true })
}

// Lose drops a share of the packets of the edges, at the receiver.
func (e *cluster) Lose(ctx context.Context, share float64, edges ...ensemble.Edge) error {
	return e.rule(ctx, "lose packets", edges, func(l ensemble.Edge) {
		if share > 0 {
			e.loss[l] = min(share, 1)
		} else { // zero, negative or no number
			delete(e.loss, l)
		}
	})
}

// The method `rule` calls `note` for each edge. The function `note` changes e.cuts or e.loss. The
// method then applies the resulting iptables rules.
func (e *cluster) rule(ctx context.Context, what string, edges []ensemble.Edge, note func(ensemble.Edge)) error {
	if err := ensemble.CheckEdges(what, edges, len(e.nodes)); err != nil {
		return err
	}
	release, err := e.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	for _, l := range edges {
		note(l)
	}
	return e.applyCuts(ctx)
}

// Mend removes the cuts of the edges, or all cuts if no edge is given. It does not affect losses.
func (e *cluster) Mend(ctx context.Context, edges ...ensemble.Edge) error {
	if len(edges) > 0 {
		return e.rule(ctx, "mend", edges, func(l ensemble.Edge) { delete(e.cuts, l) })
	}
	release, err := e.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	clear(e.cuts)
	err = e.applyCuts(ctx)
	e.mu.Lock()
	e.dropped = 0
	e.mu.Unlock()
	return err
}

// Dropped returns the number of packets that were dropped at cut edges. If a node was killed, the
// number does not include the packets that the node dropped between the last count and the kill.
func (e *cluster) Dropped(ctx context.Context) (int64, error) { return e.counted(ctx, &e.dropped) }

// Lost returns the number of packets that were lost. If a node was killed, the number does not
// include the packets that the node lost between the last count and the kill.
func (e *cluster) Lost(ctx context.Context) (int64, error) { return e.counted(ctx, &e.lost) }

// The method `counted` updates the counts of dropped and lost packets, and returns the count to
// which the argument points.
func (e *cluster) counted(ctx context.Context, which *int64) (int64, error) {
	release, err := e.take(ctx)
	if err != nil {
		return 0, err
	}
	defer release()
	if err := e.eachNode(func(node int) error { return e.countThen(ctx, node, "") }); err != nil {
		return 0, fmt.Errorf("count packets of %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return *which, nil
}

// applyCuts replaces our iptables rules in every live node. It makes the new rules from e.cuts,
// e.loss and the current addresses of the nodes.
func (e *cluster) applyCuts(ctx context.Context) error {
	addresses, err := e.addresses(ctx)
	if err != nil {
		return err
	}
	return e.eachNode(func(node int) error {
		rules := rulesFor(node, e.cuts, e.loss, addresses)
		if len(rules) == 0 && !e.ruled[node] {
			return nil
		}
		e.ruled[node] = true
		then := remove()
		if len(rules) > 0 {
			then = replace(rules)
		}
		if err := e.countThen(ctx, node, then); err != nil {
			return fmt.Errorf("set the iptables rules of %w", err)
		}
		e.ruled[node] = len(rules) > 0
		return nil
	})
}

// eachNode runs f for all live nodes concurrently.
func (e *cluster) eachNode(f func(node int) error) error {
	var g errgroup.Group
	for _, node := range e.live() {
		g.Go(func() error { return f(node) })
	}
	return g.Wait()
}

// Our rules are in separate chains, so that one step can replace them without affecting other
// rules.
const (
	chainIn  = "ZKCOORD-IN"
	chainOut = "ZKCOORD-OUT"
)

// rulesFor returns the rules of one node. If another node has no address, that node is down and
// sends nothing, so the edges to and from it need no rule.
func rulesFor(node int, cuts map[ensemble.Edge]bool, loss map[ensemble.Edge]float64, addresses []netip.Addr) []string {
	var rules []string
	for l := range cuts {
		if l.To == node && addresses[l.From].IsValid() {
			rules = append(rules, fmt.Sprintf("-A %s -s %s -j DROP", chainIn, addresses[l.From]))
		}
		if l.From == node && addresses[l.To].IsValid() {
			rules = append(rules, fmt.Sprintf("-A %s -d %s -j DROP", chainOut, addresses[l.To]))
		}
	}
	for l, share := range loss {
		if l.To == node && addresses[l.From].IsValid() && !cuts[l] {
			rules = append(rules, fmt.Sprintf("-A %s -s %s -m statistic --mode random --probability %.4f -j DROP", chainIn, addresses[l.From], share))
		}
	}
	return rules
}

// The function `replace` returns the shell commands that replace our rules in a node with the given
// rules in one step.
func replace(rules []string) string {
	return "set -e\niptables-restore -w --noflush <<'EOF'\n*filter\n:" + chainIn + " - [0:0]\n:" + chainOut + " - [0:0]\n" +
		strings.Join(append(rules, "COMMIT"), "\n") + "\nEOF\n" +
		"iptables -w -C INPUT -j " + chainIn + " 2>/dev/null || iptables -w -I INPUT -j " + chainIn + "\n" +
		"iptables -w -C OUTPUT -j " + chainOut + " 2>/dev/null || iptables -w -I OUTPUT -j " + chainOut + "\n"
}

// The function `remove` returns the shell commands that empty our chains in a node in one step, and
// then remove them. They fail if a chain remains.
func remove() string {
	return replace(nil) + `set +e
iptables -w -D INPUT -j ` + chainIn + `; iptables -w -D OUTPUT -j ` + chainOut + `; iptables -w -X ` + chainIn + `; iptables -w -X ` + chainOut + `
rules=$(iptables -w -S) && [[ $rules != *ZKCOORD-* ]] || { echo "$rules"; exit 1; }
`
}

// countThen counts the packets that the rules of a node have dropped since the last call, and then
// runs the script `then` in the node. One request to the engine does both. If a node has no rules
// of ours, countThen does nothing.
func (e *cluster) countThen(ctx context.Context, node int, then string) error {
	if !e.ruled[node] {
		return nil
	}
	out, err := e.exec(ctx, node, "iptables -w -nvxL "+chainIn+" -Z 2>/dev/null; iptables -w -nvxL "+chainOut+" -Z 2>/dev/null\n"+then)
	e.mu.Lock()
	dropped, lost := packets(out)
	e.dropped += dropped
	e.lost += lost
	e.mu.Unlock()
	if err != nil {
		return fmt.Errorf("node %d: %w", node, err)
	}
	return nil
}

// The function `packets` sums the numbers of packets in the list of rules that iptables prints:
// separately for cuts and for losses.
func packets(list string) (dropped, lost int64) {
	for line := range strings.Lines(list) {
		f := strings.Fields(line)
		if len(f) < 3 || f[2] != "DROP" {
			continue
		}
		n, _ := strconv.ParseInt(f[0], 10, 64)
		if slices.Contains(f, "statistic") {
			lost += n
		} else {
			dropped += n
		}
	}
	return dropped, lost
}

// exec runs a shell script as root in a node and returns its output.
func (e *cluster) exec(ctx context.Context, node int, script string) (string, error) {
	return e.engine.exec(ctx, e.nodes[node], script)
}

// exec runs a shell script as root in a container and returns its output.
func (e *engine) exec(ctx context.Context, id, script string) (string, error) {
	run, err := e.ExecCreate(ctx, id, client.ExecCreateOptions{
		User: "root", TTY: true, AttachStdout: true, AttachStderr: true, Cmd: []string{"bash", "-c", script},
	})
	if err != nil {
		return "", err
	}
	stream, err := e.ExecAttach(ctx, run.ID, client.ExecAttachOptions{TTY: true})
	if err != nil {
		return "", err
	}
	defer stream.Close()
	defer context.AfterFunc(ctx, stream.Close)()
	var out bytes.Buffer
	if _, err := io.Copy(&out, stream.Reader); err != nil {
		return "", err
	}
	end, err := e.ExecInspect(ctx, run.ID, client.ExecInspectOptions{})
	if err != nil {
		return "", err
	}
	said := strings.Join(strings.Fields(out.String()), " ")
	if end.ExitCode == 127 {
		return "", fmt.Errorf("status 127, a command is missing: "+
			"use the image of docker/zookeeper, which has bash and iptables: %s", said)
	}
	if end.ExitCode != 0 {
		return out.String(), fmt.Errorf("status %d: %s", end.ExitCode, said)
	}
	return out.String(), nil
}

// The method `addresses` returns, for each node, the node's current address in the network of the
// containers. For a node that is down, it returns the zero address.
func (e *cluster) addresses(ctx context.Context) ([]netip.Addr, error) {
	all := make([]netip.Addr, len(e.nodes))
	var g errgroup.Group
	for node, id := range e.nodes {
		g.Go(func() error {
			c, err := e.engine.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
			if err != nil {
				return fmt.Errorf("find the address of node %d: %w", node, err)
			}
			if c.Container.NetworkSettings == nil {
				return nil
			}
			for _, n := range c.Container.NetworkSettings.Networks {
				all[node] = n.IPAddress
			}
			return nil
		})
	}
	return all, g.Wait()
}
