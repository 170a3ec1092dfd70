package scenarios

import (
	"context"
	"testing"

	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/internal/client"
	"github.com/zkcoord/zkcoord/internal/peers"
)

// The test runs every scenario that has a protocol and whose field Needs is empty. The clients use
// zkcoord's own packages through that protocol. The runs are in virtual time, under the faults of
// some seeds.
func TestProtocolsInVirtualTime(t *testing.T) {
	for _, p := range protocols() {
		s := p.scenario()
		if s.Needs != "" {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			remote := withProgram(s, p, func(context.Context) (client.Program, error) { return peers.Zkcoord.Inside(), nil })
			for i := range uint64(max(1, *seeds/10)) {
				r := virtually(t, remote, VirtualOptions(s, *seed+i))
				if r.Verdict != checker.Valid {
					t.Errorf("seed %d: got %v, want %v:\n%s", r.Seed, r.Verdict, checker.Valid, r.Summary())
					return
				}
			}
		})
	}
}
