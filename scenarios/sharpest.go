package scenarios

import (
	"fmt"
	"slices"
	"strings"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/fault"
)

// Each entry of the list `sharpest` has families of faults, named as in fault.Named. It also has
// the scenario whose claim depends most on what these faults break. For example, link-cut can lose
// the reply to a change, and the scenario counter detects a change that is made twice. If several
// entries contain a fault, the first of them applies.
var sharpest = []struct{ faults, scenario string }{
	// A change whose reply is lost must not be made twice.
	{"link-cut", "counter"},
	// No event may be lost together with its connection.
	{"link-reset", "watch"},
	// A hold must end before its session expires.
	{"session,expiry-storm,timers-double", "lock-session-loss"},
	// The clients of this scenario can be separate processes.
	{"client", "lock"},
	// One client at a time may lead, whichever servers answer.
	{"member-observe,pause,partition-clients", "election"},
	// Nothing that a server acknowledged may be lost.
	{"kill,member-replace,wipe,truncate,bit-flip,old-data,power-loss", "queue-claims"},
	{"disk", "queue-fifo"},
	// No server may forget an ephemeral znode.
	{"rolling", "group"},
	// No read may be older than an acknowledged write.
	{"partition,loss", "register"},
	// A lock stays correct and is granted again.
	{"link,edge,member,clock,timers,slow-sync,data", "lock"},
}

// Sharpest returns the scenario that depends most on what the named fault breaks. The returned
// scenario has only this fault.
func Sharpest(name string) (harness.Scenario, error) {
	named := func(f harness.Fault) bool { return f.Name() == name }
	for _, one := range sharpest {
		family := faults(one.faults)
		i := slices.IndexFunc(family, named)
		if i < 0 {
			continue
		}
		s, err := Named(one.scenario)
		s.Faults, s.ClientProcesses = family[i:i+1], strings.HasPrefix(name, "client-")
		return s, err
	}
	return harness.Scenario{}, fmt.Errorf("no fault %q: the faults are %s", name, strings.Join(fault.Names(fault.Every()), ", "))
}
