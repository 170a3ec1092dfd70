package process

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/zkcoord/zkcoord/harness/ensemble"
)

// chooseMembers chooses the ports of all nodes once, because the ports are part of a configuration
// that all servers share. An ensemble with such a configuration has no relays, because relays
// need a different configuration for each node.
func (e *Ensemble) chooseMembers() error {
	members := make([]string, len(e.nodes))
	for _, n := range e.nodes {
		if err := n.choosePorts(e.config); err != nil {
			return fmt.Errorf("choose the ports of node %d: %w", n.index, err)
		}
		members[n.index] = n.member(e.config.RoleOf(n.index))
	}
	for _, n := range e.nodes {
		n.members = members
	}
	return nil
}

// The method `member` returns the node's entry in a configuration.
func (n *node) member(role ensemble.Role) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return fmt.Sprintf("127.0.0.1:%d:%d:%s;%s", n.quorum, n.election, role, n.clientLocked())
}

// The method `wipe` deletes the data. If servers can change the configuration, `wipe` also deletes
// the node's copy of the configuration, because the node may be missing in this copy. A server
// refuses to start with a configuration that does not contain the server.
func (n *node) wipe() error {
	files := []string{n.data()}
	if n.members != nil {
		files = append(files, glob(n.dir, "zoo.cfg*")...)
	}
	var errs []error
	for _, file := range files {
		errs = append(errs, os.RemoveAll(file))
	}
	return errors.Join(errs...)
}

// SetRole changes the configuration with the operation reconfig of ZooKeeper.
func (e *Ensemble) SetRole(ctx context.Context, i int, role ensemble.Role) error {
	if err := ensemble.CheckNode("set the role of", i, len(e.nodes)); err != nil {
		return err
	}
	if !e.config.Members {
		return errFixedMembers
	}
	return ensemble.Reconfigure(ctx, e, i, role, e.nodes[i].member(role))
}

// Roles reads the configuration of the servers.
func (e *Ensemble) Roles(ctx context.Context) (roles []ensemble.Role, version string, err error) {
	if !e.config.Members {
		return nil, "", errFixedMembers
	}
	return ensemble.ReadRoles(ctx, e)
}

var errFixedMembers = fmt.Errorf("roles of nodes need Config.Members: %w", ensemble.ErrUnable)
