package container

import (
	"context"
	"fmt"

	"github.com/zkcoord/zkcoord/harness/ensemble"
)

// confDir is the directory in which a node stores the configuration of the members, if the
// ensemble's members can change.
const confDir = dataDir + "/conf"

// The function `member` returns a node's entry in a configuration.
func member(node int, role ensemble.Role) string {
	return fmt.Sprintf("node%d:2888:3888:%s;%d", node, role, clientPort)
}

// SetRole changes the configuration with the operation reconfig of ZooKeeper.
func (e *Ensemble) SetRole(ctx context.Context, node int, role ensemble.Role) error {
	if err := ensemble.CheckNode("set the role of", node, len(e.nodes)); err != nil {
		return err
	}
	if !e.config.Members {
		return errFixedMembers
	}
	return ensemble.Reconfigure(ctx, e, node, role, member(node, role))
}

// Roles reads the configuration of the servers.
func (e *Ensemble) Roles(ctx context.Context) (roles []ensemble.Role, version string, err error) {
	if !e.config.Members {
		return nil, "", errFixedMembers
	}
	return ensemble.ReadRoles(ctx, e)
}

var errFixedMembers = fmt.Errorf("roles of nodes need Config.Members: %w", ensemble.ErrUnable)
